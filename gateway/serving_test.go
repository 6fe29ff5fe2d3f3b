package gateway

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// gatedRoute is a route whose verifier waits until open is closed, and counts those that wait in waiting.
func gatedRoute(t testing.TB, waiting chan<- struct{}, open <-chan struct{}) Route {
	t.Helper()
	query, err := authn.NewQuery("token")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authn.NewChain(authn.Source{Extractor: query, Verifier: verifierFunc(
		func(ctx context.Context, token string) (*session.Identity, error) {
			waiting <- struct{}{}
			select {
			case <-open:
				return &session.Identity{Subject: token}, nil
			case <-ctx.Done():
				return nil, &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable, Err: ctx.Err()}
			}
		})})
	if err != nil {
		t.Fatal(err)
	}
	return Route{Path: "/", Chain: chain}
}

// So many handshakes go on at once; others wait for their turn with their requests, and beyond those nothing is accepted.
func TestServeBoundsHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waiting, open := make(chan struct{}, 100), make(chan struct{})
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{gatedRoute(t, waiting, open)}, Handshakes: 3, Heads: 4}, l)
		var clients []net.Conn
		for range 10 {
			client := l.dial(t)
			clients = append(clients, client)
			writeAll(client, handshakeTo("/?token=a"))
			synctest.Wait()
		}
		if len(waiting) != 3 || len(s.slots) != 3 || len(s.heads) != 4 || len(l.queue) != 2 {
			t.Fatalf("%d verify, %d and %d places are taken, %d are not accepted; want 3, 3, 4, and 2, the accept loop having one in its hands",
				len(waiting), len(s.slots), len(s.heads), len(l.queue))
		}
		close(open)
		for _, client := range clients {
			if resp, _ := readAnswer(t, client); resp.status != 101 {
				t.Errorf("status %d", resp.status)
			}
		}
		synctest.Wait()
		if len(s.slots) != 0 || len(s.heads) != 0 {
			t.Errorf("%d and %d places are taken, want none", len(s.slots), len(s.heads))
		}
	})
}

// Whose turn does not come within the handshake's time is told to come again.
func TestServeBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waiting, open := make(chan struct{}, 100), make(chan struct{})
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{gatedRoute(t, waiting, open)}, Handshakes: 1, HandshakeTimeout: 3 * time.Second}, l)
		first, second := l.dial(t), l.dial(t)
		writeAll(first, handshakeTo("/?token=a"))
		synctest.Wait()
		time.Sleep(time.Second)
		start := time.Now()
		send(t, second, handshakeTo("/?token=b"))
		go drain(first)
		resp, _ := readAnswer(t, second)
		// It came when the first did: the accept loop does not wait for bytes.
		if took := time.Since(start); resp.status != 503 || resp.header.Get("Retry-After") == "" || took != 2*time.Second {
			t.Errorf("status %d after %v, want 503 after 2 s", resp.status, took)
		}
		synctest.Wait()
		if s.count(reasonBusy)+s.count(reasonVerifierUnavailable) != 2 {
			t.Errorf("%d busy, %d unavailable", s.count(reasonBusy), s.count(reasonVerifierUnavailable))
		}
	})
}

// A stop also ends those that wait for their turn.
func TestServeStopsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waiting, open := make(chan struct{}, 100), make(chan struct{})
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{gatedRoute(t, waiting, open)}, Handshakes: 1, HandshakeTimeout: time.Hour}, l)
		var clients []net.Conn
		for range 3 {
			client := l.dial(t)
			clients = append(clients, client)
			writeAll(client, handshakeTo("/?token=a"))
			synctest.Wait()
		}
		stopped := make(chan error, 1)
		go func() { stopped <- s.stop() }()
		for _, client := range clients {
			if resp, body := readAnswer(t, client); resp.status != 503 || !strings.Contains(body, "stopping") {
				t.Errorf("status %d, %q", resp.status, body)
			}
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if len(s.slots) != 0 || len(s.heads) != 0 {
			t.Errorf("%d and %d places are taken", len(s.slots), len(s.heads))
		}
	})
}

// On real sockets: however many connect and say nothing, the next one that speaks comes in, and those that have been silent
// the longest are the ones that are told to go.
func TestServeSilentConnectionsStopNobody(t *testing.T) {
	s := serve(t, Config{Routes: []Route{memberRoute(t)}, Handshakes: 4, HandshakeTimeout: time.Minute}, nil)
	var silent []net.Conn
	for range 3 * cap(s.heads) {
		silent = append(silent, s.dial(t))
	}
	for range 10 {
		if resp, _ := s.ask(t, handshakeTo("/ws/app_1234?token=alice")); resp.status != 101 {
			t.Fatalf("status %d", resp.status)
		}
	}
	resp, body := readAnswer(t, silent[0])
	if resp.status != 408 || !strings.Contains(body, "others") {
		t.Errorf("the one that has been silent the longest: %d, %q", resp.status, body)
	}
	waitFor(t, "the others", func() bool { return s.count(reasonCrowded) >= 2*cap(s.heads) })
	if n := s.reading.Load(); n < 1 || int(n) > cap(s.heads) {
		t.Errorf("%d heads are being read, of %d at most", n, cap(s.heads))
	}
}

// The list has its elements in the order of their coming, whichever leaves.
func TestServingList(t *testing.T) {
	var s serving
	h := make([]*handshake, 4)
	for i := range h {
		h[i] = &handshake{}
		s.appendLocked(h[i])
	}
	want := func(order ...*handshake) {
		t.Helper()
		at, back := s.oldest, (*handshake)(nil)
		for _, w := range order {
			if at != w || at.older != back {
				t.Fatal("the list is in disorder")
			}
			at, back = at.newer, at
		}
		if at != nil || s.newest != back {
			t.Fatal("the list does not end where it should")
		}
	}
	want(h...)
	s.removeLocked(h[1])
	s.removeLocked(h[1])
	want(h[0], h[2], h[3])
	s.removeLocked(h[0])
	s.removeLocked(h[3])
	want(h[2])
	s.appendLocked(h[0])
	want(h[2], h[0])
	s.removeLocked(h[2])
	s.removeLocked(h[0])
	want()
}
