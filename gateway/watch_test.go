package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// With the connection ends the watch, and its credential is forgotten, however that comes; with the last one the goroutine.
func TestWatchEnds(t *testing.T) {
	for name, end := range map[string]func(n *lasting, u *user){
		"the client leaves": func(_ *lasting, u *user) { u.conn.Close() },
		"it is disconnected": func(n *lasting, _ *user) {
			n.actors.Disconnect(n.t.Context(), actor.Filter{}, actor.CloseForbidden, "no")
		},
		"its Handler panics": func(_ *lasting, u *user) {
			_, _ = u.conn.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("panic")))))
		},
		"a function of its Handler panics": func(_ *lasting, u *user) {
			_, _ = u.conn.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("later")))))
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPeople()
			route := p.route(t, 10*time.Second)
			route.Handler = touchy{actor.Ignore}
			n := newLasting(t, route)
			u := n.connect("a", "app_1")
			w := n.rechecks.all[0]
			end(n, u)
			<-u.done
			if name == "a function of its Handler panics" { // nobody tells: it is found out
				time.Sleep(10 * time.Second)
			}
			synctest.Wait()
			n.rechecks.mu.Lock()
			if w.kept != nil || len(n.rechecks.all) != 0 || len(n.rechecks.queue) != 0 || n.rechecks.loops {
				t.Errorf("%s: %d are watched, the goroutine runs: %v", name, len(n.rechecks.all), n.rechecks.loops)
			}
			n.rechecks.mu.Unlock()
			n.connect("b", "app_1") // and begins again
			before := p.count("b")
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if p.count("b") == before {
				t.Errorf("%s: the next connection is not looked at", name)
			}
		})
	}
}

// touchy panics when it is told to.
type touchy struct{ actor.Handler }

func (touchy) Message(a *actor.Actor, m actor.Message) {
	if string(m.Payload) == "panic" {
		panic("as told")
	}
	a.Do(func(*actor.Actor) { panic("as told") })
}

// A Handler that panics at once leaves nothing behind.
func TestWatchOpenPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		route := p.route(t, 10*time.Second)
		route.Handler = hasty{actor.Ignore}
		n := newLasting(t, route)
		u := n.connect("a", "app_1")
		<-u.done
		if synctest.Wait(); u.code != 1011 || n.rechecks.count() != 0 {
			t.Errorf("closed with %d, %d are watched", u.code, n.rechecks.count())
		}
	})
}

type hasty struct{ actor.Handler }

func (hasty) Open(*actor.Actor) { panic("as ever") }

// After other routes are in force a connection is looked at by them: by the verifier of the same name, and the one from
// before is asked nothing more once it may be closed.
func TestWatchGoesByNewRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := newPeople(), newPeople()
		n := newLasting(t, before.route(t, 10*time.Second))
		good, bad := n.connect("a", "app_1"), n.connect("b", "app_1")
		time.Sleep(20 * time.Second)
		after.with(func(p *people) { p.tokens["b"] = errGoneToken })
		unused, err := n.SetRoutes([]Route{after.route(t, 5*time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !closed(unused) {
			t.Fatal("the routes from before are in use")
		}
		asked := before.count("a") + before.count("b")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !good.open() || bad.open() || bad.code != 4401 {
			t.Errorf("a is open: %v, b: %v, with %d", good.open(), bad.open(), bad.code)
		}
		if got := before.count("a") + before.count("b"); got != asked {
			t.Errorf("the verifier from before was asked %d times more", got-asked)
		}
		first := after.count("a")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := after.count("a") - first; got < 2 {
			t.Errorf("asked %d times in twice the new time", got)
		}
	})
}

// Where the route, or what it verified by, is gone the client is sent to connect again; where nothing is looked at any more
// it stays; and nobody who may not come in any more stays.
func TestWatchOfRoutesThatAreGone(t *testing.T) {
	header, err := authn.NewHeader("Authorization", "Token")
	if err != nil {
		t.Fatal(err)
	}
	chain := func(name string, e authn.Extractor, v authn.Verifier) *authn.Chain {
		c, err := authn.NewChain(authn.Source{Name: name, Extractor: e, Verifier: v})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	query, err := authn.NewQuery("token")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*Route, *people)
		code   ws.StatusCode // of alice's
		nobody ws.StatusCode
	}{
		{"the path", func(r *Route, _ *people) { r.Path = "/elsewhere/{group}" }, 1012, 1012},
		{"the pattern", func(r *Route, _ *people) { r.Path, r.Join = "/ws/{room}", []string{"{room}"} }, 1012, 1012},
		{"the verifier", func(r *Route, p *people) { r.Chain = chain("others", query, p) }, 1012, 0},
		{"the place", func(r *Route, p *people) { r.Chain = chain("people", header, p) }, 1012, 0},
		{"all credentials", func(r *Route, _ *people) { r.Chain = nil }, 1012, 0},
		{"nobody may come in", func(r *Route, _ *people) { r.AllowAnonymous = false }, 0, 4401},
		{"recheck", func(r *Route, _ *people) { r.Recheck = 0 }, 0, 0},
		{"nothing", func(*Route, *people) {}, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPeople()
			route := p.route(t, 10*time.Second)
			route.AllowAnonymous = true
			n := newLasting(t, route)
			alice, nobody := n.connect("a", "app_1"), n.connect("", "app_1")
			tt.change(&route, p)
			if _, err := n.SetRoutes([]Route{route}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			for _, u := range []struct {
				*user
				want ws.StatusCode
			}{{alice, tt.code}, {nobody, tt.nobody}} {
				if u.open() != (u.want == 0) || !u.open() && u.code != u.want {
					t.Errorf("%s: open %v, closed with %d, want %d", tt.name, u.open(), u.code, u.want)
				}
			}
			if tt.name == "recheck" && n.rechecks.count() != 0 {
				t.Errorf("%d are watched on a route that looks at nobody", n.rechecks.count())
			}
		})
	}
}

// An authorizer of other routes that looks at more of the request than was kept is no reason to tell a client that it may
// not come: it connects again, and is asked with all of it.
func TestWatchRetainsForTheAuthorizerFromBefore(t *testing.T) {
	for name, tt := range map[string]struct {
		reload bool
		code   ws.StatusCode
	}{"the same routes": {false, 4403}, "other routes": {true, 1012}} {
		synctest.Test(t, func(t *testing.T) {
			p := newPeople()
			route := p.route(t, 10*time.Second)
			route.Authorizer = &keeper{people: p}
			n := newLasting(t, route)
			u := n.connect("a", "app_1")
			if tt.reload {
				after := p.route(t, 10*time.Second)
				after.Authorizer = &keeper{people: p}
				if _, err := n.SetRoutes([]Route{after}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Second)
			if synctest.Wait(); !u.open() {
				t.Fatalf("%s: closed with %d", name, u.code)
			}
			p.with(func(p *people) { p.groups = &authn.Error{Kind: authn.ErrForbidden, Reason: authn.ReasonForbidden} })
			<-u.done
			if u.code != tt.code {
				t.Errorf("%s: closed with %d, want %d", name, u.code, tt.code)
			}
		})
	}
}

// Nor is one where none retained anything before.
func TestWatchRetainedNothingForTheAuthorizer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		n := newLasting(t, p.route(t, 10*time.Second))
		u := n.connect("a", "app_1")
		after := p.route(t, 10*time.Second)
		after.Authorizer = reader{&keeper{people: p}}
		if _, err := n.SetRoutes([]Route{after}); err != nil {
			t.Fatal(err)
		}
		if <-u.done; u.code != 1012 {
			t.Errorf("closed with %d, want 1012", u.code)
		}
		if u = n.connect("a", "app_1"); !u.open() {
			t.Fatal("it does not come in again")
		}
		time.Sleep(20 * time.Second)
		if synctest.Wait(); !u.open() {
			t.Errorf("closed with %d", u.code)
		}
	})
}

// reader forbids where it has nothing to look at.
type reader struct{ *keeper }

func (r reader) Authorize(ctx context.Context, q *authn.Question) (string, error) {
	if q.Request == nil || len(q.Request.RawQuery) == 0 {
		return "", &authn.Error{Kind: authn.ErrForbidden, Reason: authn.ReasonForbidden}
	}
	return r.keeper.Authorize(ctx, q)
}

// Close interrupts what goes on, waits for it, and asks nothing more; connections stay.
func TestGatewayClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		n := newLasting(t, p.route(t, time.Hour))
		u := n.connect("a", "app_1")
		p.with(func(p *people) { p.delay = time.Hour })
		n.Recheck(func(*session.Identity, *authn.Kept) bool { return true })
		synctest.Wait()
		start := time.Now()
		if err := errors.Join(n.Close(), n.Close()); err != nil || time.Since(start) != 0 {
			t.Errorf("Close took %v, and said %v", time.Since(start), err)
		}
		p.with(func(p *people) {
			if p.now != 0 {
				t.Error("a verifier is being asked")
			}
			p.delay = 0
		})
		asked := p.count("a")
		late := n.connect("b", "app_1")
		time.Sleep(time.Hour)
		synctest.Wait()
		if !u.open() || !late.open() || p.count("a") != asked || p.count("b") != 1 || n.rechecks.count() != 0 || len(n.results()) != 0 {
			t.Errorf("open %v %v, asked %d and %d times, results %v", u.open(), late.open(), p.count("a"), p.count("b"), n.results())
		}
	})
}
