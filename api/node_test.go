package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// patience is how long a test waits for what must happen.
const patience = 15 * time.Second

// testNode is a node with real parts: actors, a bus in memory and a journal in memory.
type testNode struct {
	*API
	t        *testing.T
	name     string
	epoch    session.Epoch
	actors   *actor.System
	bus      *bus.Local
	journal  *journal.Memory
	registry *prometheus.Registry
	log      *logs
	away     bool // the bus says that NATS is away
}

// logs is where a logger writes that a test reads.
type logs struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Connected overlays the bus's.
func (n *testNode) Connected() bool { return !n.away }

// Publish is the bus's.
func (n *testNode) Publish(m bus.Message, w bus.Waiter) error { return n.bus.Publish(m, w) }

// newTestNode makes a node whose epoch begins with first. change, which may be nil, changes the configuration.
func newTestNode(t *testing.T, name string, first byte, cluster Cluster, change func(*Config)) *testNode {
	t.Helper()
	n := &testNode{t: t, name: name, epoch: session.Epoch{first, 1}, registry: prometheus.NewRegistry(), log: &logs{}}
	var err error
	if n.bus, err = bus.NewLocal(bus.LocalConfig{MaxPayload: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	if n.journal, err = journal.NewMemory(journal.MemoryConfig{}); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(n.log, nil))
	n.actors, err = actor.New(actor.Config{
		Bus: n.bus, Journal: n.journal, Epoch: n.epoch, Logger: slog.New(slog.DiscardHandler), CloseTimeout: 50 * time.Millisecond,
		Limits: actor.Limits{GroupsPerConnection: 1000},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Backend: &Backend{
			Self: func() bus.Peer {
				return bus.Peer{Name: name, Epoch: n.epoch, Version: "v1", Connections: n.actors.Len()}
			},
			Publisher: n, Sessions: n.actors, Groups: n.bus, Journal: n.journal, Cluster: cluster, Tickets: newTickets(t, bus.NewLocalRegister()),
		},
		Metrics:  http.NotFoundHandler(),
		Loopback: true, Logger: logger, Registerer: n.registry,
	}
	if change != nil {
		change(&c)
	}
	if n.API, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(n.actors.Close(), n.bus.Close(ctx), n.journal.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// member is the other end of a connection.
type member struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
	id session.ID
}

// spy catches the session's id.
type spy struct {
	actor.Handler
	id *session.ID
}

func (s spy) Open(a *actor.Actor) { *s.id = a.ID() }

// connect opens a connection of the user, "" for an anonymous one.
func (n *testNode) connect(user, route string, h actor.Handler, groups ...string) *member {
	n.t.Helper()
	ours, theirs := net.Pipe()
	m := &member{Conn: theirs, t: n.t, in: bufio.NewReader(theirs)}
	n.t.Cleanup(func() { theirs.Close() })
	theirs.SetDeadline(time.Now().Add(patience))
	const response = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
	b := actor.Birth{
		Identity: session.Anonymous(), Route: route, Response: []byte(response), Remote: netip.MustParseAddr("192.0.2.7"),
		Handler: spy{h, &m.id},
	}
	if user != "" {
		b.Identity = &session.Identity{Subject: user, Name: "name of " + user, Source: "test"}
	}
	for _, g := range groups {
		b.Groups = append(b.Groups, group(n.t, g))
	}
	opened := make(chan error, 1)
	go func() {
		err := n.actors.Open(context.Background(), ours, b)
		if err != nil {
			ours.Close()
		}
		opened <- err
	}()
	_, read := io.ReadFull(m.in, make([]byte, len(response)))
	if err := errors.Join(<-opened, read); err != nil {
		n.t.Fatal(err)
	}
	return m
}

func group(t *testing.T, name string) session.Group {
	t.Helper()
	g, err := session.ParseGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// want reads one frame.
func (m *member) want(op ws.OpCode, payload string) {
	m.t.Helper()
	h, err := ws.ReadHeader(m.in)
	if err != nil {
		m.t.Fatal(err)
	}
	got := make([]byte, min(h.Length, 1<<20))
	if _, err := io.ReadFull(m.in, got); err != nil || h.OpCode != op || string(got) != payload {
		m.t.Fatalf("got %v %.100q, %v; want %v %.100q", h.OpCode, got, err, op, payload)
	}
}

// wantClose reads a close frame.
func (m *member) wantClose(code ws.StatusCode, reason string) {
	m.t.Helper()
	m.want(ws.OpClose, string(ws.NewCloseFrameBody(code, reason)))
}

// reply is an answer of the API.
type reply struct {
	*httptest.ResponseRecorder
	t *testing.T
}

// ask asks the API as a program on this machine does, and holds the answer against openapi.json.
func (n *testNode) ask(method, target, body string, header ...string) reply {
	n.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(n.t.Context(), method, "http://127.0.0.1:9000"+target, in)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	w := httptest.NewRecorder()
	n.Handler().ServeHTTP(w, r)
	checkAnswer(n.t, r, w)
	return reply{w, n.t}
}

// as reads the answer, which must have the status, into v.
func (r reply) as(status int, v any) {
	r.t.Helper()
	if r.Code != status {
		r.t.Fatalf("%d %s, want %d", r.Code, r.Body, status)
	}
	if err := json.Unmarshal(r.Body.Bytes(), v); err != nil {
		r.t.Fatalf("%v: %s", err, r.Body)
	}
}

// refused wants an error with that code whose message says that.
func (r reply) refused(status int, code, says string) {
	r.t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(r.Body.Bytes(), &body); err != nil {
		r.t.Fatalf("%v: %d %s", err, r.Code, r.Body)
	}
	if r.Code != status || body.Error.Code != code || !strings.Contains(body.Error.Message, says) {
		r.t.Errorf("%d %s, want %d %s that says %q", r.Code, bytes.TrimSpace(r.Body.Bytes()), status, code, says)
	}
}

// eventually asks ok until it is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// wires is a cluster in memory: what a node asks, the other ones answer at once.
type wires struct {
	mu    sync.Mutex
	nodes map[session.Epoch]*testNode // guarded by mu
	fails map[session.Epoch]error     // guarded by mu: how a node answers instead
}

func newWires() *wires {
	return &wires{nodes: make(map[session.Epoch]*testNode), fails: make(map[session.Epoch]error)}
}

// of returns the cluster as the node of that epoch sees it.
func (w *wires) of(epoch session.Epoch) Cluster { return view{w, epoch} }

func (w *wires) add(n *testNode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[n.epoch] = n
}

func (w *wires) fail(n *testNode, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails[n.epoch] = err
}

type view struct {
	*wires
	self session.Epoch
}

func (v view) List() (peers []bus.Peer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for epoch, n := range v.nodes {
		if epoch != v.self {
			peers = append(peers, bus.Peer{Name: n.name, Epoch: epoch, Version: "v1", Connections: n.actors.Len(), Seen: time.Now()})
		}
	}
	return peers
}

func (v view) Ask(ctx context.Context, op string, payload []byte) (replies []bus.Reply, missing []bus.Peer, err error) {
	for _, p := range v.List() {
		switch b, err := v.AskNode(ctx, p.Epoch, op, payload); {
		case errors.Is(err, bus.ErrNoPeer):
			missing = append(missing, p)
		default:
			replies = append(replies, bus.Reply{Peer: p, Payload: b, Err: err})
		}
	}
	return replies, missing, nil
}

func (v view) AskNode(ctx context.Context, node session.Epoch, op string, payload []byte) ([]byte, error) {
	v.mu.Lock()
	n, err := v.nodes[node], v.fails[node]
	v.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case n == nil:
		return nil, bus.ErrNoPeer
	}
	b, err := n.Answerers()[op](ctx, payload)
	if err != nil {
		return nil, errors.Join(bus.ErrAnswer, err)
	}
	return b, nil
}

// newPair makes two nodes of one cluster. Their buses are apart.
func newPair(t *testing.T) (w *wires, first, second *testNode) {
	t.Helper()
	w = newWires()
	first = newTestNode(t, "node-1", 1, w.of(session.Epoch{1, 1}), nil)
	second = newTestNode(t, "node-2", 2, w.of(session.Epoch{2, 1}), nil)
	w.add(first)
	w.add(second)
	return w, first, second
}
