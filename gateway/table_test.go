package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// routeOf returns a route whose credential f verifies.
func routeOf(t testing.TB, path string, f verifierFunc) Route {
	t.Helper()
	query, err1 := authn.NewQuery("token")
	chain, err2 := authn.NewChain(authn.Source{Extractor: query, Verifier: f})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return Route{Path: path, Chain: chain}
}

// Whoever's request comes after SetRoutes goes by the new routes. A mistake in them changes nothing.
func TestSetRoutes(t *testing.T) {
	s := serve(t, Config{Routes: []Route{open("/old", "")}}, nil)
	status := func(path string) int {
		t.Helper()
		r, _ := s.ask(t, handshakeTo(path))
		return r.status
	}
	late := s.dial(t) // connected before, and asks after
	if got := status("/old"); got != 101 {
		t.Errorf("/old: %d before", got)
	}
	for _, wrong := range [][]Route{nil, {{Path: "/new"}}, {open("/new", ""), open("/new", "")}} {
		if unused, err := s.SetRoutes(wrong); err == nil || unused != nil {
			t.Errorf("SetRoutes(%v) = %v, %v", wrong, unused, err)
		}
	}
	if got := status("/old"); got != 101 {
		t.Errorf("/old: %d after a mistake", got)
	}
	unused, err := s.SetRoutes([]Route{open("/new", "")})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the old routes", func() bool { return closed(unused) })
	send(t, late, handshakeTo("/old"))
	if r, _ := readAnswer(t, late); r.status != 404 {
		t.Errorf("/old: %d afterwards, of a connection from before", r.status)
	}
	if got := status("/new"); got != 101 {
		t.Errorf("/new: %d afterwards", got)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// The routes from before are said to be unused when the last handshake that goes by them is over, whatever becomes of it.
func TestSetRoutesWaits(t *testing.T) {
	for name, answer := range map[string]verifierFunc{
		"accepted": tokenVerifier,
		"panics":   func(context.Context, string) (*session.Identity, error) { panic("a mistake") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipeListener()
				proceed := make(chan struct{})
				s := serve(t, Config{Routes: []Route{routeOf(t, "/ws/{group}", func(ctx context.Context, token string) (*session.Identity, error) {
					<-proceed
					return answer(ctx, token)
				})}}, l)
				client := l.dial(t)
				done := writeAll(client, handshakeTo("/ws/app_1234?token=alice"))
				synctest.Wait()
				first, err1 := s.SetRoutes([]Route{open("/a", "")})
				second, err2 := s.SetRoutes([]Route{open("/b", "")})
				if err := errors.Join(err1, err2); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if closed(first) || !closed(second) {
					t.Errorf("unused: %t and %t; want only those that nobody ever used", closed(first), closed(second))
				}
				close(proceed)
				if r, _ := readAnswer(t, client); r.status != 101 && r.status != 500 {
					t.Errorf("status %d", r.status)
				}
				synctest.Wait()
				if !closed(first) {
					t.Error("the first routes are in use for ever")
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Nobody ever asks what may be closed already, however often the routes change under load.
func TestSetRoutesRaces(t *testing.T) {
	// generation is what a reload closes.
	type generation struct{ closed, asked atomic.Bool }
	var late atomic.Int32
	routes := func(g *generation) []Route {
		return []Route{routeOf(t, "/ws/{group}", func(context.Context, string) (*session.Identity, error) {
			if g.closed.Load() {
				late.Add(1)
			}
			g.asked.Store(true)
			return session.Anonymous(), nil
		})}
	}
	now := &generation{}
	s := serve(t, Config{Routes: routes(now)}, nil)
	stop := make(chan struct{})
	var clients, closers sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r, _ := s.ask(t, handshakeTo("/ws/app_1234?token=alice")); r.status != 101 {
					t.Errorf("status %d", r.status)
					return
				}
			}
		})
	}
	used := 0
	for begin := time.Now(); used < 50 && time.Since(begin) < 20*time.Second; {
		old := now
		waitFor(t, "a handshake", func() bool { return old.asked.Load() })
		now = &generation{}
		unused, err := s.SetRoutes(routes(now))
		if err != nil {
			t.Fatal(err)
		}
		used++
		closers.Go(func() {
			<-unused
			old.closed.Store(true)
		})
	}
	close(stop)
	clients.Wait()
	closers.Wait()
	if used < 50 || late.Load() > 0 {
		t.Errorf("%d changes, %d questions to what was closed", used, late.Load())
	}
}
