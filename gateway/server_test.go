package gateway

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/actor"
)

// fakeActors is an Opener that writes the response and keeps the connection. A real actor does no more before its first frame.
type fakeActors struct {
	err   error // what Open returns
	panic any   // what it panics with

	mu     sync.Mutex
	births []actor.Birth
	conns  []net.Conn
}

func (f *fakeActors) Open(_ context.Context, conn net.Conn, b actor.Birth) error {
	if f.panic != nil {
		panic(f.panic)
	}
	if f.err != nil {
		return f.err
	}
	b.Response, b.Pending = bytes.Clone(b.Response), bytes.Clone(b.Pending)
	f.mu.Lock()
	f.births, f.conns = append(f.births, b), append(f.conns, conn)
	f.mu.Unlock()
	go func() { _, _ = conn.Write(b.Response) }() // a client that has left is the next Read's to notice
	return nil
}

// born returns the births so far.
func (f *fakeActors) born() []actor.Birth {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.births)
}

func (f *fakeActors) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
}

// syncBuffer is a log that may be written and read at once.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// logger logs everything into log.
func (s *syncBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// server is a gateway that serves.
type server struct {
	*Gateway
	addr   string
	actors *fakeActors
	stop   func() error // ends Serve and returns what that returned; may be called again
}

// serve starts a gateway for cfg on l, or on a free port of the loopback address when l is nil. It is stopped with the test.
func serve(t testing.TB, cfg Config, l net.Listener) *server {
	t.Helper()
	s := &server{}
	if cfg.Actors == nil {
		s.actors = &fakeActors{}
		cfg.Actors = s.actors
	} else {
		s.actors, _ = cfg.Actors.(*fakeActors)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Gateway = g
	ctx, cancel := context.WithCancel(context.Background())
	if l == nil {
		if l, err = Listen(ctx, "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	s.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, l) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if s.actors != nil {
			s.actors.close()
		}
	})
	return s
}

// count returns how many handshakes ended for r.
func (s *server) count(r reason) int { return int(testutil.ToFloat64(s.metrics.handshakes[r])) }

// waitFor polls until ok, which must come soon.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(5*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not come", what)
		}
	}
}

// dial connects to the server, for 5 s at most.
func (s *server) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// reply is what a client was answered.
type reply struct {
	status int
	header http.Header
	length int64
	close  bool // it says that the connection ends
}

// ask sends raw and returns the answer and its body. After a 101 the connection is left open.
func (s *server) ask(t testing.TB, raw string) (reply, string) {
	t.Helper()
	conn := s.dial(t)
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, conn)
}

// readAnswer reads a response and its body. After a refusal the connection must end, in order.
func readAnswer(t testing.TB, conn net.Conn) (r reply, body string) {
	t.Helper()
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	defer resp.Body.Close()
	r = reply{resp.StatusCode, resp.Header, resp.ContentLength, resp.Close}
	if r.status == http.StatusSwitchingProtocols {
		return r, ""
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
		t.Errorf("behind the refusal came %q, %v, want the end", rest, err)
	}
	conn.Close()
	return r, string(b)
}

// handshakeTo is the head of a handshake with path, and more lines.
func handshakeTo(path string, more ...string) string {
	return strings.Replace(withLines(more...), "/ws/app_1234", path, 1)
}
