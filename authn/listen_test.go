package authn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// postgresTwin is as much of a PostgreSQL as a listener sees: it answers simple queries, and notifies.
type postgresTwin struct {
	listener net.Listener
	queries  chan string
	ready    chan *twinConn // one for each LISTEN

	// Guarded by mu.
	mu      sync.Mutex
	lacking []string // tables without a trigger
	conns   []net.Conn

	running sync.WaitGroup
}

// twinConn is one connection of it.
type twinConn struct {
	net.Conn
	mu      sync.Mutex // of writes
	backend *pgproto3.Backend
}

func newPostgresTwin(t *testing.T) *postgresTwin {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postgresTwin{listener: l, ready: make(chan *twinConn, 16), queries: make(chan string, 256)}
	p.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn)
			p.mu.Unlock()
			p.running.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.running.Wait()
	})
	return p
}

func (p *postgresTwin) dsn() string {
	return "postgres://u:hidden@" + p.listener.Addr().String() + "/d?sslmode=disable"
}

// cut ends every connection.
func (p *postgresTwin) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *postgresTwin) serve(conn net.Conn) {
	defer conn.Close()
	c := &twinConn{Conn: conn, backend: pgproto3.NewBackend(conn, conn)}
	if _, err := c.backend.ReceiveStartupMessage(); err != nil {
		return
	}
	c.send(&pgproto3.AuthenticationOk{}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	for {
		m, err := c.backend.Receive()
		if err != nil {
			return
		}
		q, ok := m.(*pgproto3.Query)
		if !ok {
			return
		}
		p.queries <- q.String
		answer := []pgproto3.BackendMessage{&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("n"), DataTypeOID: 25}}}}
		if strings.Contains(q.String, "pg_trigger") {
			p.mu.Lock()
			for _, table := range p.lacking {
				answer = append(answer, &pgproto3.DataRow{Values: [][]byte{[]byte(table)}})
			}
			p.mu.Unlock()
		}
		c.send(append(answer, &pgproto3.CommandComplete{CommandTag: []byte("OK")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
		if strings.HasPrefix(q.String, "LISTEN") {
			p.ready <- c
		}
	}
}

func (c *twinConn) send(messages ...pgproto3.BackendMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range messages {
		c.backend.Send(m)
	}
	_ = c.backend.Flush() // a connection that was cut is found by Receive
}

func (c *twinConn) notify(channel, payload string) {
	c.send(&pgproto3.NotificationResponse{PID: 1, Channel: channel, Payload: payload})
}

// ear is what a listener tells.
type ear struct {
	listening chan bool
	changes   chan Change
}

func newEar() *ear { return &ear{make(chan bool, 16), make(chan Change, 256)} }

// wait returns what comes, or fails.
func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s does not come", what)
		panic("not reached")
	}
}

// serve lets a listener serve until the test ends.
func serveListener(t *testing.T, e *ear, c ListenerConfig) *Listener {
	t.Helper()
	c.Name = "drf"
	c.OnChange, c.OnListening = func(c Change) { e.changes <- c }, func(b bool) { e.listening <- b }
	l := must(NewListener(c))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := wait(t, "the end of Serve", done); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestListener(t *testing.T) {
	twin, e, r := newPostgresTwin(t), newEar(), prometheus.NewRegistry()
	serveListener(t, e, ListenerConfig{DSN: twin.dsn(), Tables: []string{`"authtoken_token"`, `"it's"`}, Registerer: r})
	if c := wait(t, "a change", e.changes); c.Kind != ChangeAll {
		t.Errorf("before it listens, %+v", c)
	}
	if !wait(t, "the state", e.listening) {
		t.Error("it listens, and says no")
	}
	if q := wait(t, "a query", twin.queries); q != "LISTEN fairlead_auth" {
		t.Errorf("it asks %s", q)
	}
	if q := wait(t, "a query", twin.queries); !strings.Contains(q, `ARRAY['"authtoken_token"', '"it''s"']`) {
		t.Errorf("it asks %s", q)
	}
	conn := wait(t, "a connection", twin.ready)
	conn.notify("another", "v1 user 9")
	conn.notify(NotifyChannel, "v1 user 1")
	conn.notify(NotifyChannel, "v1 token "+changeDigest)
	conn.notify(NotifyChannel, "v2 what")
	conn.notify(NotifyChannel, "v1 session "+changeDigest)
	for _, want := range []ChangeKind{ChangeUser, ChangeToken, ChangeAll, ChangeSession} {
		if c := wait(t, "a change", e.changes); c.Kind != want || want == ChangeUser && c.User != "1" {
			t.Errorf("got %+v, want kind %d", c, want)
		}
	}
	twin.cut()
	if wait(t, "the state", e.listening) {
		t.Error("it lost the connection, and says that it listens")
	}
	if c := wait(t, "a change", e.changes); c.Kind != ChangeAll || !wait(t, "the state", e.listening) {
		t.Errorf("after it lost the connection, %+v", c)
	}
	want := `
# HELP fairlead_auth_changes_total Changes that PostgreSQL told of, by what they are about.
# TYPE fairlead_auth_changes_total counter
fairlead_auth_changes_total{kind="all",verifier="drf"} 0
fairlead_auth_changes_total{kind="malformed",verifier="drf"} 1
fairlead_auth_changes_total{kind="session",verifier="drf"} 1
fairlead_auth_changes_total{kind="token",verifier="drf"} 1
fairlead_auth_changes_total{kind="user",verifier="drf"} 1
# HELP fairlead_auth_listen_failures_total Times that listening for changes ended or could not begin; it is tried again.
# TYPE fairlead_auth_listen_failures_total counter
fairlead_auth_listen_failures_total{verifier="drf"} 1
# HELP fairlead_auth_listening 1 while PostgreSQL tells of changes (LISTEN), 0 while it does not.
# TYPE fairlead_auth_listening gauge
fairlead_auth_listening{verifier="drf"} 1
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// TestListenerWithoutTriggers: to listen where nobody tells is not to listen.
func TestListenerWithoutTriggers(t *testing.T) {
	twin, e := newPostgresTwin(t), newEar()
	twin.lacking = []string{`"authtoken_token"`}
	l := serveListener(t, e, ListenerConfig{DSN: twin.dsn(), Tables: []string{`"authtoken_token"`}})
	wait(t, "the second attempt", twin.ready)
	wait(t, "the second attempt", twin.ready)
	select {
	case <-e.listening:
		t.Error("it says that it listens")
	case c := <-e.changes:
		t.Errorf("it tells of %+v", c)
	default:
	}
	if err := l.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `"authtoken_token"`) || !strings.Contains(err.Error(), "trigger-sql") {
		t.Errorf("Check: %v", err)
	}
	twin.mu.Lock()
	twin.lacking = nil
	twin.mu.Unlock()
	if !wait(t, "the state", e.listening) {
		t.Error("the trigger is there, and it does not listen")
	}
	if err := l.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestListenerWithoutServer(t *testing.T) {
	twin, e := newPostgresTwin(t), newEar()
	dsn := twin.dsn()
	twin.listener.Close()
	l := serveListener(t, e, ListenerConfig{DSN: dsn})
	err := l.Check(t.Context())
	if err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("Check: %v", err)
	}
	if len(e.listening)+len(e.changes) > 0 {
		t.Error("it tells of something")
	}
}

func TestNewListenerRefuses(t *testing.T) {
	for name, c := range map[string]ListenerConfig{
		"sqlite":    {DSN: "sqlite:x"},
		"mysql":     {DSN: "mysql://u:hidden@h/d"},
		"no scheme": {DSN: "hidden"},
		"bad":       {DSN: "postgres://u:hidden@h:port/d"},
		"name":      {DSN: "postgres://h/d", Name: "a b"},
	} {
		if _, err := NewListener(c); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, taken := range []string{"fairlead_auth_listening", "fairlead_auth_changes_total"} {
		r := prometheus.NewRegistry()
		r.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: taken, Help: "Another."}))
		if _, err := NewListener(ListenerConfig{DSN: "postgres://h/d", Registerer: r}); err == nil {
			t.Errorf("%s is taken: no error", taken)
		}
	}
	if l := must(NewListener(ListenerConfig{DSN: "postgres://h/d"})); l.lacking != "" {
		t.Errorf("without tables it asks %s", l.lacking)
	}
}

// TestListenerAndCache: what is cached for long is asked again as soon as there is news.
func TestListenerAndCache(t *testing.T) {
	twin := newPostgresTwin(t)
	v := newCounted(accept)
	cache := must(NewCache(CacheConfig{Verifier: v, TTL: time.Hour}))
	defer cache.Close()
	e := newEar()
	l := must(NewListener(ListenerConfig{
		DSN: twin.dsn(), OnChange: func(c Change) { cache.Apply(c); e.changes <- c }, OnListening: func(b bool) { e.listening <- b },
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = l.Serve(ctx) })
	conn := wait(t, "a connection", twin.ready)
	if !wait(t, "the state", e.listening) {
		t.Fatal("it does not listen")
	}
	var asked []int64
	for _, payload := range []string{"", "v1 user 2", "v1 user 1", "v1 token " + fmt.Sprintf("%x", CredentialDigest([]byte(aliceKey)))} {
		if payload != "" {
			conn.notify(NotifyChannel, payload)
		}
		wait(t, "a change", e.changes) // the first is that of everything
		if _, err := verify(t, cache, aliceKey); err != nil && !errors.Is(err, ErrRejected) {
			t.Fatal(err)
		}
		asked = append(asked, v.asked.Load())
	}
	if !slices.Equal(asked, []int64{1, 1, 2, 3}) {
		t.Errorf("asked %v times", asked)
	}
}
