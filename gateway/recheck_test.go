package gateway

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

var errGoneToken = &authn.Error{Kind: authn.ErrRejected, Reason: authn.ReasonUnknownToken}

// Within Recheck of the end of a token its connections are closed, whenever that is, and nobody else's. The questions are
// spread over the time, and say how old an answer may be.
func TestRecheckIsInTime(t *testing.T) {
	for _, recheck := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			p := newPeople()
			n := newLasting(t, p.route(t, recheck))
			const many = 120
			var users []*user
			for i := range many { // as after a restart: all come at once
				users = append(users, n.connect("t"+strconv.Itoa(i), "app_1"))
			}
			if got := n.rechecks.count(); got != many {
				t.Fatalf("%d are watched", got)
			}
			ended := map[int]time.Time{}
			for i := range many / 2 {
				p.with(func(p *people) { p.tokens["t"+strconv.Itoa(i)] = errGoneToken })
				ended[i] = time.Now()
				time.Sleep(recheck / 7)
			}
			time.Sleep(recheck)
			synctest.Wait()
			for i, u := range users {
				at, gone := ended[i]
				switch {
				case gone && u.open():
					t.Errorf("%v: %d is open", recheck, i)
				case gone && (u.code != 4401 || u.at.Before(at) || u.at.After(at.Add(recheck))):
					t.Errorf("%v: %d was closed with %d, %v after its end", recheck, i, u.code, u.at.Sub(at))
				case !gone && !u.open():
					t.Errorf("%v: %d, whose token is good, was closed with %d", recheck, i, u.code)
				}
			}
			if got := n.results(); got["rejected"] != many/2 || got["ok"] < many/2*9 || len(got) != 2 || n.rechecks.count() != many/2 {
				t.Errorf("%v: the results are %v, and %d are watched", recheck, got, n.rechecks.count())
			}
			p.with(func(p *people) {
				for _, age := range p.ages {
					if age != recheck/10 {
						t.Errorf("%v: an answer may be %v old", recheck, age)
					}
				}
				if p.most > many/8 {
					t.Errorf("%v: %d of %d were looked at together", recheck, p.most, many)
				}
			})
		})
	}
}

// What a look comes to ends the connection as it would have kept it out, or does not end it.
func TestRecheckResults(t *testing.T) {
	unavailable := &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable, Err: errors.New("down")}
	token := func(err error) func(*people) { return func(p *people) { p.tokens["a"] = err } }
	group := func(err error) func(*people) { return func(p *people) { p.groups = err } }
	for _, tt := range []struct {
		name   string
		change func(*people)
		code   ws.StatusCode // 0: it stays
		result string
	}{
		{"nothing", func(*people) {}, 0, "ok"},
		{"rejected", token(errGoneToken), 4401, "rejected"},
		{"a bare rejection", token(authn.ErrRejected), 4401, "rejected"},
		{"logged out", token(authn.ErrAbsent), 4401, "rejected"},
		{"somebody else's", func(p *people) { p.subject["a"] = "7" }, 4401, "other_user"},
		{"forbidden by the verifier", token(&authn.Error{Kind: authn.ErrForbidden, Reason: authn.ReasonForbidden}), 4403, "forbidden"},
		{"forbidden", group(&authn.Error{Kind: authn.ErrForbidden, Reason: authn.ReasonForbidden}), 4403, "forbidden"},
		{"barely forbidden", group(authn.ErrForbidden), 4403, "forbidden"},
		{"nobody knows", token(unavailable), 0, "unavailable"},
		{"unavailable, though the cause says otherwise", token(&authn.Error{Kind: authn.ErrUnavailable, Err: errGoneToken}), 0, "unavailable"},
		{"unavailable, though nobody was there for the cause", token(&authn.Error{Kind: authn.ErrUnavailable, Err: authn.ErrAbsent}), 0, "unavailable"},
		{"a fault", token(errors.New("broken")), 0, "unavailable"},
		{"a fault of the authorizer", group(errors.New("broken")), 0, "unavailable"},
		{"a panic", func(p *people) { p.panics = true }, 0, "unavailable"},
		{"an answer that does not come", func(p *people) { p.delay = time.Hour }, 0, "unavailable"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPeople()
			n := newLasting(t, p.route(t, 10*time.Second))
			u := n.connect("a", "app_1")
			before := p.count("of a in app_1")
			p.with(tt.change)
			time.Sleep(14 * time.Second) // an answer that does not come is given up
			synctest.Wait()
			if u.open() != (tt.code == 0) || !u.open() && u.code != tt.code {
				t.Errorf("%s: open %v, code %d", tt.name, u.open(), u.code)
			}
			got := n.results()
			if tt.result != "ok" && got["ok"] == 1 { // a look that came before the change
				delete(got, "ok")
			}
			if len(got) != 1 || got[tt.result] == 0 {
				t.Errorf("%s: the results are %v", tt.name, got)
			}
			if tt.result == "ok" && p.count("of a in app_1") == before {
				t.Errorf("%s: the authorizer was not asked", tt.name)
			}
			if tt.result != "unavailable" {
				return
			}
			p.with(func(p *people) { p.tokens["a"], p.groups, p.panics, p.delay = errGoneToken, nil, false, 0 })
			time.Sleep(7 * time.Second) // it is tried again in 2, and one that goes on is given up after 5
			synctest.Wait()
			if u.open() || u.code != 4401 {
				t.Errorf("%s: when they know again: open %v, code %d", tt.name, u.open(), u.code)
			}
		})
	}
}

// An end that moved moves the end of the connection, and the journal knows.
func TestRecheckExtends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		begin := time.Now()
		until := func(d time.Duration) { p.with(func(p *people) { p.expires["a"] = begin.Add(d) }) }
		until(30 * time.Second)
		n := newLasting(t, p.route(t, 10*time.Second))
		u := n.connect("a", "app_1")
		time.Sleep(20 * time.Second)
		until(time.Minute)
		time.Sleep(25 * time.Second)
		if !u.open() {
			t.Fatalf("closed with %d after %v", u.code, u.at.Sub(begin))
		}
		<-u.done
		if late := u.at.Sub(begin.Add(time.Minute)); u.code != 4401 || late < 0 || late > time.Second {
			t.Errorf("closed with %d after %v, want 4401 after a minute", u.code, u.at.Sub(begin))
		}
		synctest.Wait()
		var ends []time.Time
		for r, err := range n.journal.Session(t.Context(), session.ID{Epoch: testEpoch, Number: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := r.Event.(session.Refreshed); ok {
				ends = append(ends, e.Expires)
			}
		}
		if !slices.EqualFunc(ends, []time.Time{begin.Add(time.Minute)}, time.Time.Equal) || n.results()["refreshed"] != 1 {
			t.Errorf("refreshed until %v, results %v", ends, n.results())
		}
	})
}

// Where there is nothing to ask, and on routes without Recheck, a connection has its route's own Handler.
func TestRecheckWatchesNobodyInVain(t *testing.T) {
	p := newPeople()
	checked, never, ticket, barred := p.route(t, time.Minute), p.route(t, 0), p.route(t, time.Minute), p.route(t, time.Minute)
	never.Path, ticket.Path, barred.Path = "/never/{group}", "/ticket/{group}", "/barred/{group}"
	checked.Authorizer, checked.AllowAnonymous = nil, true
	query, err1 := authn.NewQuery("token")
	chain, err2 := authn.NewChain(authn.Source{Extractor: query, Verifier: once{p}})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	ticket.Chain, ticket.Authorizer = chain, nil
	barred.Chain, barred.Authorizer = chain, once{p}
	s := serve(t, Config{Routes: []Route{checked, never, ticket, barred}}, nil)
	defer s.Close()
	for _, path := range []string{
		"/ws/app_1", "/never/app_1?token=a", "/ticket/app_1?token=a", "/barred/app_1?token=a", "/ws/app_1?token=a",
	} {
		if resp, body := s.ask(t, handshakeTo(path)); resp.status != 101 {
			t.Fatalf("%s: %d %s", path, resp.status, body)
		}
	}
	for i, b := range s.actors.born() {
		if _, ok := b.Handler.(*watched); ok != (i == 4) {
			t.Errorf("connection %d has a Handler of type %T", i+1, b.Handler)
		}
	}
	if n := s.rechecks.count(); n != 0 {
		t.Errorf("%d are watched, before their actors are there", n)
	}
}

// once is used up.
type once struct{ *people }

func (once) Retain(*authn.Request) (*authn.Request, bool) { return nil, false }

// What an authorizer retains of the request is what it is given again.
func TestRecheckRetains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		route := p.route(t, 10*time.Second)
		k := &keeper{people: p}
		route.Authorizer = k
		n := newLasting(t, route)
		n.connect("a", "app_1")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.queries) < 3 {
			t.Fatalf("it was asked %d times", len(k.queries))
		}
		for i, q := range k.queries {
			if q != "token=a" {
				t.Errorf("question %d was about the query %q", i, q)
			}
		}
	})
}

// keeper looks at the query.
type keeper struct {
	*people

	mu      sync.Mutex
	queries []string
}

func (k *keeper) Authorize(ctx context.Context, q *authn.Question) (string, error) {
	k.mu.Lock()
	k.queries = append(k.queries, string(q.Request.RawQuery))
	k.mu.Unlock()
	return k.people.Authorize(ctx, q)
}

func (k *keeper) Retain(r *authn.Request) (*authn.Request, bool) {
	return &authn.Request{RawQuery: slices.Clone(r.RawQuery)}, true
}

// Those that are asked for are looked at now, by nobody's cache, once however often they are asked for; and once more if
// it is asked for meanwhile.
func TestRecheckNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		n := newLasting(t, p.route(t, time.Hour))
		a, b := n.connect("a", "app_1"), n.connect("b", "app_1")
		of := func(subject string) func(*session.Identity, *authn.Kept) bool {
			return func(id *session.Identity, kept *authn.Kept) bool {
				return id.Subject == subject && kept.Digest() == authn.CredentialDigest([]byte(subject[len("of "):]))
			}
		}
		p.with(func(p *people) { p.delay = time.Second })
		if got := n.Recheck(of("nobody")); got != 0 {
			t.Errorf("%d match nobody", got)
		}
		for range 10 {
			if got := n.Recheck(of("of a")); got != 1 {
				t.Errorf("%d match", got)
			}
		}
		time.Sleep(time.Second / 2) // the look goes on
		for range 10 {
			n.Recheck(of("of a"))
		}
		p.with(func(p *people) { p.tokens["a"] = nil })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := p.count("a"); got != 1+2 || p.count("b") != 1 {
			t.Errorf("asked %d times for a, %d for b", got, p.count("b"))
		}
		p.with(func(p *people) {
			if !slices.Equal(p.ages, []time.Duration{0, 0}) {
				t.Errorf("answers may be so old: %v", p.ages)
			}
			p.tokens["a"], p.delay = errGoneToken, 0
		})
		start := time.Now()
		n.Recheck(of("of a"))
		<-a.done
		if a.code != 4401 || a.at != start || !b.open() {
			t.Errorf("a was closed with %d after %v; b is open: %v", a.code, a.at.Sub(start), b.open())
		}
	})
}

// Where nobody can say when a look is asked for, no cache answers the next ones either, until somebody has: what it has may be
// from before.
func TestRecheckNowUntilAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		n := newLasting(t, p.route(t, 20*time.Second))
		n.connect("a", "app_1")
		p.with(func(p *people) {
			p.tokens["a"] = &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable, Err: errors.New("down")}
		})
		n.Recheck(all)
		time.Sleep(10 * time.Second) // it is tried again every 4
		p.with(func(p *people) { p.tokens["a"] = nil })
		time.Sleep(20 * time.Second) // answered after 12, and looked at after 14 to 16 more
		synctest.Wait()
		p.with(func(p *people) {
			if want := []time.Duration{0, 0, 0, 0, 2 * time.Second}; !slices.Equal(p.ages, want) {
				t.Errorf("answers may be so old: %v, want %v", p.ages, want)
			}
		})
	})
}

// all is every connection.
func all(*session.Identity, *authn.Kept) bool { return true }

// So many are asked at the same time and no more, and that others wait is to be seen.
func TestRecheckIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		n := newLasting(t, p.route(t, 10000*time.Hour)) // so that nobody's first look comes by itself
		for i := range 2 * recheckMost {
			n.connect("t"+strconv.Itoa(i), "app_1")
		}
		p.with(func(p *people) { p.delay, p.most = 3*time.Second, 0 })
		n.Recheck(all)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		late := testutil.ToFloat64(n.metrics.recheckLate)
		p.with(func(p *people) {
			if p.now != recheckMost || p.most != recheckMost || late < 1.9 || late > 2.2 {
				t.Errorf("%d are asked, %d at once, the next is late by %v", p.now, p.most, late)
			}
		})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := n.results()["ok"]; got != 2*recheckMost || testutil.ToFloat64(n.metrics.recheckLate) != 0 {
			t.Errorf("%d were asked, the next is late by %v", got, testutil.ToFloat64(n.metrics.recheckLate))
		}
		if got := testutil.ToFloat64(n.metrics.rechecked); got != 2*recheckMost {
			t.Errorf("%v are watched", got)
		}
	})
}
