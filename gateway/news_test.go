package gateway

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// gated is an authorizer that says nothing until it may.
type gated struct {
	*people
	gate chan struct{}
}

func (g gated) Authorize(ctx context.Context, q *authn.Question) (string, error) {
	select {
	case <-g.gate:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return g.people.Authorize(ctx, q)
}

// connectDuring connects a client for each token. Between their verification and their authorization, meanwhile happens.
func connectDuring(t *testing.T, p *people, recheck time.Duration, meanwhile func(n *lasting), tokens ...string) (*lasting, []*user) {
	t.Helper()
	route, gate := p.route(t, recheck), make(chan struct{})
	route.Authorizer = gated{p, gate}
	n := newLasting(t, route)
	type numbered struct {
		i int
		*user
	}
	got := make(chan numbered, len(tokens))
	for i, token := range tokens {
		go func() { got <- numbered{i, n.connect(token, "app_1")} }()
	}
	synctest.Wait()
	meanwhile(n)
	close(gate)
	users := make([]*user, len(tokens))
	for range tokens {
		u := <-got
		users[u.i] = u.user
	}
	return n, users
}

func subject(s string) func(*session.Identity, *authn.Kept) bool {
	return func(id *session.Identity, kept *authn.Kept) bool { return id.Subject == s && kept != nil }
}

// News that comes while a handshake goes on, when who it is has been found out, is news about its connection, and about no
// other.
func TestNewsDuringHandshake(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tell   func(n *lasting) int
		within time.Duration
		age    time.Duration // how old the answer may be
	}{
		{"now", func(n *lasting) int { return n.Recheck(subject("of a")) }, 0, 0},
		{"soon", func(n *lasting) int { return n.RecheckSoon(subject("of a")) }, minRecheckSoon, 1000 * time.Hour},
		{"both", func(n *lasting) int { return n.RecheckSoon(subject("of a")) + n.Recheck(subject("of a")) }, 0, 0},
		{"and more of no concern", func(n *lasting) int {
			told := n.Recheck(subject("of a"))
			for range maxNews - 1 {
				told += n.Recheck(subject("of nobody"))
			}
			return told
		}, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPeople()
			n, users := connectDuring(t, p, 10000*time.Hour, func(n *lasting) {
				p.with(func(p *people) { p.tokens["a"], p.tokens["b"] = errGoneToken, errGoneToken })
				if got := tt.tell(n); got != 0 {
					t.Errorf("%s: %d are looked at, before they are there", tt.name, got)
				}
			}, "a", "b")
			a, b := users[0], users[1]
			start := time.Now()
			time.Sleep(tt.within)
			if synctest.Wait(); a.open() || a.code != 4401 || a.at.Sub(start) > tt.within {
				t.Errorf("%s: open %v, closed with %d", tt.name, a.open(), a.code)
			}
			time.Sleep(minRecheckSoon)
			synctest.Wait()
			if !b.open() || p.count("b") != 1 {
				t.Errorf("%s: who is not concerned was looked at %d times", tt.name, p.count("b")-1)
			}
			p.with(func(p *people) {
				if !slices.Equal(p.ages, []time.Duration{tt.age}) {
					t.Errorf("%s: answers may be so old: %v", tt.name, p.ages)
				}
				p.tokens["c"] = nil
			})
			n.connect("c", "app_1") // it comes after all of that
			time.Sleep(minRecheckSoon)
			synctest.Wait()
			if p.count("c") != 1 {
				t.Errorf("%s: one who came later was looked at %d times", tt.name, p.count("c")-1)
			}
		})
	}
}

// Of a handshake that has missed some news anything may be true: it is looked at at once.
func TestNewsIsBounded(t *testing.T) {
	for _, tt := range []struct{ pieces, looks int }{{maxNews, 0}, {maxNews + 1, 1}} {
		synctest.Test(t, func(t *testing.T) {
			p := newPeople()
			n, _ := connectDuring(t, p, 1000*time.Hour, func(n *lasting) {
				for range tt.pieces {
					n.Recheck(subject("of nobody"))
				}
			}, "a")
			synctest.Wait()
			if got := p.count("a") - 1; got != tt.looks {
				t.Errorf("looked at %d times after %d pieces of news, want %d", got, tt.pieces, tt.looks)
			}
			n.rechecks.mu.Lock()
			defer n.rechecks.mu.Unlock()
			if got := len(n.rechecks.news.recent); got != maxNews {
				t.Errorf("%d pieces are kept", got)
			}
		})
	}
}

// What no handshake can have missed is not kept, and nothing is after Close.
func TestNewsIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		n := newLasting(t, p.route(t, 1000*time.Hour))
		kept := func() int {
			n.rechecks.mu.Lock()
			defer n.rechecks.mu.Unlock()
			return len(n.rechecks.news.recent)
		}
		for range 3 {
			n.Recheck(subject("of nobody"))
		}
		time.Sleep(n.timeout)
		if n.RecheckSoon(subject("of nobody")); kept() != 4 {
			t.Errorf("%d are kept for as long as a handshake may take, want 4", kept())
		}
		time.Sleep(time.Nanosecond)
		if n.Recheck(subject("of nobody")); kept() != 2 {
			t.Errorf("%d are kept when it is over for three, want 2", kept())
		}
		time.Sleep(2 * n.timeout)
		if n.connect("a", "app_1"); kept() != 0 || p.count("a") != 1 {
			t.Errorf("%d are kept when somebody comes much later, who is looked at %d times", kept(), p.count("a")-1)
		}
		n.Recheck(subject("of nobody"))
		if n.Close(); kept() != 0 {
			t.Errorf("%d are kept after Close", kept())
		}
	})
}

// A database that is heard again, with many handshakes under way, is not asked about all of them at once.
func TestNewsIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		var tokens []string
		for i := range 200 {
			tokens = append(tokens, "t"+strconv.Itoa(i))
		}
		n, _ := connectDuring(t, p, 24*time.Hour, func(n *lasting) {
			for range 3 { // the connection to the database comes and goes
				n.RecheckSoon(all)
			}
			p.with(func(p *people) { p.delay, p.most = 100*time.Millisecond, 0 })
		}, tokens...)
		time.Sleep(minRecheckSoon + time.Second)
		synctest.Wait()
		if got := n.results()["ok"]; got != len(tokens) {
			t.Errorf("%d of %d were looked at", got, len(tokens))
		}
		p.with(func(p *people) {
			if p.most > 20 {
				t.Errorf("%d were asked about at once", p.most)
			}
		})
	})
}
