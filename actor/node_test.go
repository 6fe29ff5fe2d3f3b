package actor

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// patience is how long a test waits for what must happen.
const patience = 15 * time.Second

// response is what stands for the 101 response: an actor does not look into it.
const response = "HTTP/1.1 101 Switching Protocols\r\n\r\n"

// node is a System on a real bus and a real journal. When the test ends it is closed, and what must hold then is checked.
type node struct {
	*System
	t        testing.TB
	bus      *bus.Local
	journal  *journal.Memory
	registry *prometheus.Registry
	own      bool // the System's journal is node.journal
	wiring   wiring

	// Guarded by mu: the two ends of a connection belong together.
	mu       sync.Mutex
	listener net.Listener
}

func newNode(t testing.TB, c Config) *node {
	t.Helper()
	n := &node{t: t, registry: prometheus.NewRegistry(), own: c.Journal == nil}
	var err error
	if n.journal, err = journal.NewMemory(journal.MemoryConfig{MaxRecords: 1 << 18}); err != nil {
		t.Fatal(err)
	}
	if n.bus, err = bus.NewLocal(bus.LocalConfig{Shards: 2, Registerer: n.registry}); err != nil {
		t.Fatal(err)
	}
	if c.Bus == nil {
		c.Bus = n.bus
	}
	if n.own {
		c.Journal = n.journal
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Epoch, c.Registerer = session.Epoch{1}, n.registry
	if n.System, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	return n
}

// close ends the node. Whatever the test did: nothing is left, and each session was closed once.
func (n *node) close() {
	if err := n.Close(); err != nil {
		n.t.Errorf("Close: %v", err)
	}
	for _, gauge := range []string{"fairlead_connections", "fairlead_outbox_bytes", "fairlead_groups"} {
		if v := n.value(gauge, ""); v != 0 {
			n.t.Errorf("%s = %v after Close, want 0", gauge, v)
		}
	}
	opened, closed := n.count()
	if n.own && (opened != closed || float64(closed) != n.value("fairlead_closes_total", "")) {
		n.t.Errorf("%d sessions opened, %d closed, %v counted", opened, closed, n.value("fairlead_closes_total", ""))
	}
	if n.listener != nil {
		n.listener.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.bus.Close(ctx); err != nil {
		n.t.Error(err)
	}
	n.journal.Close()
}

// count returns how many sessions the journal saw open and close. An event that the fold does not take is an error.
func (n *node) count() (opened, closed int) {
	states := make(map[session.ID]session.State)
	for r, err := range n.journal.Epoch(context.Background(), session.Epoch{1}) {
		if err != nil {
			n.t.Fatal(err)
		}
		before := states[r.Session]
		after := before.Apply(r)
		if n.own && (after.Seq != before.Seq+1 || r.Seq != after.Seq) {
			n.t.Errorf("session %s: event %d (%s) does not follow event %d (%s)", r.Session, r.Seq, r.Event.Kind(), before.Seq, before.Phase)
		}
		states[r.Session] = after
		switch r.Event.(type) {
		case session.Opened:
			opened++
		case session.Closed:
			closed++
		}
	}
	return opened, closed
}

// value returns the sum of the metric's values, of those with that label value if one is given.
func (n *node) value(name, label string) (sum float64) {
	n.t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
	if i < 0 {
		n.t.Fatalf("there is no metric %s", name)
	}
	for _, m := range families[i].GetMetric() {
		if label == "" || slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == label }) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// events returns what the journal has of a session.
func (n *node) events(id session.ID) (records []session.Record) {
	n.t.Helper()
	for r, err := range n.journal.Session(context.Background(), id) {
		if err != nil {
			n.t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// closing waits for the end of c's session and returns it.
func (n *node) closing(c *client) (end session.Closed) {
	n.t.Helper()
	eventually(n.t, "the journal has the end of the session", func() (ok bool) {
		records := n.events(c.actor.ID())
		end, ok = records[len(records)-1].Event.(session.Closed)
		return ok
	})
	return end
}

func (n *node) wantClosed(c *client, code CloseCode, reason string) {
	n.t.Helper()
	if end := n.closing(c); end.Code != uint16(code) || end.Reason != reason {
		n.t.Errorf("the journal says %d %q, want %d %q", end.Code, end.Reason, code, reason)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// drained waits until the node has no connections.
func (n *node) drained() {
	n.t.Helper()
	eventually(n.t, "all connections are gone", func() bool { return n.Len() == 0 })
}

func mustGroup(t testing.TB, name string) session.Group {
	t.Helper()
	g, err := session.ParseGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// pair returns the two ends of a TCP connection.
func (n *node) pair() (ours, theirs *net.TCPConn) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == nil {
		var err error
		if n.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			n.t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", n.listener.Addr().String())
	if err != nil {
		n.t.Fatal(err)
	}
	accepted, err := n.listener.Accept()
	if err != nil {
		n.t.Fatal(err)
	}
	return accepted.(*net.TCPConn), conn.(*net.TCPConn)
}

// connect opens a connection over TCP, as an anonymous client if b does not say who, and reads the response.
func (n *node) connect(b Birth) *client {
	n.t.Helper()
	ours, theirs := n.pair()
	return n.connectBy(ours, theirs, b)
}

// connectPipe is connect without a network: for synctest, where waiting costs nothing. The birth has no groups: what
// waits for their joins is pooled, and must not leave a bubble.
func (n *node) connectPipe(b Birth) *client {
	n.t.Helper()
	ours, theirs := net.Pipe()
	c := n.connectBy(ours, theirs, b)
	c.wait = 24 * time.Hour
	return c
}

func (n *node) connectBy(ours, theirs net.Conn, b Birth) *client {
	n.t.Helper()
	ours, theirs = n.wire(ours, theirs)
	h := &caught{Handler: b.Handler, closed: make(chan Closure, 1)}
	c := &client{Conn: theirs, t: n.t, r: bufio.NewReader(theirs), wait: patience, closed: h.closed}
	n.t.Cleanup(func() { theirs.Close() })
	if b.Identity == nil {
		b.Identity = session.Anonymous()
	}
	if b.Handler == nil {
		h.Handler = Ignore
	}
	if n.wiring.deflates() {
		b.Compressed, c.deflate = true, true
	}
	b.Handler, b.Response, b.Remote = h, []byte(response), netip.MustParseAddr("192.0.2.7")
	if err := n.Open(n.t.Context(), ours, b); err != nil {
		n.t.Fatal(err)
	}
	c.actor = h.actor
	head := make([]byte, len(response))
	if _, err := io.ReadFull(c.r, head); err != nil || string(head) != response {
		n.t.Fatalf("the response is %q, %v", head, err)
	}
	return c
}
