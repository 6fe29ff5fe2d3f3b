package actor

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// patience is how long a test waits for what must happen.
const patience = 5 * time.Second

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

// script is a Handler made of functions; one that is nil does nothing.
type script struct {
	open    func(*Actor)
	message func(*Actor, Message)
	close   func(*Actor, Closure)
}

func (s script) Open(a *Actor) {
	if s.open != nil {
		s.open(a)
	}
}

func (s script) Message(a *Actor, m Message) {
	if s.message != nil {
		s.message(a, m)
	}
}

func (s script) Close(a *Actor, c Closure) {
	if s.close != nil {
		s.close(a, c)
	}
}

// caught is a Handler that keeps the actor for the test, and how it ended.
type caught struct {
	Handler
	actor  *Actor
	closed chan Closure
}

func (h *caught) Open(a *Actor) {
	h.actor = a
	h.Handler.Open(a)
}

func (h *caught) Close(a *Actor, c Closure) {
	h.Handler.Close(a, c)
	h.closed <- c // two ends would block the second one for ever
}

// client is the other end of a connection. Its methods that fail the test are for the test's goroutine.
type client struct {
	net.Conn
	t      testing.TB
	r      *bufio.Reader
	actor  *Actor
	closed <-chan Closure // what the Handler was told at the end
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

// connectPipe is connect without a network: for synctest.
func (n *node) connectPipe(b Birth) *client {
	n.t.Helper()
	ours, theirs := net.Pipe()
	return n.connectBy(ours, theirs, b)
}

func (n *node) connectBy(ours, theirs net.Conn, b Birth) *client {
	n.t.Helper()
	h := &caught{Handler: b.Handler, closed: make(chan Closure, 1)}
	c := &client{Conn: theirs, t: n.t, r: bufio.NewReader(theirs), closed: h.closed}
	n.t.Cleanup(func() { theirs.Close() })
	if b.Identity == nil {
		b.Identity = session.Anonymous()
	}
	if b.Handler == nil {
		h.Handler = Ignore
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

// mask is what clients mask with.
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// masked returns a frame of a client with that first byte.
func masked(b0 byte, payload string) []byte {
	f := appendFrame(nil, 0, []byte(payload))
	head := len(f) - len(payload)
	f[0] = b0
	f[1] |= maskBit
	f = slices.Insert(f, head, mask[:]...)
	ws.Cipher(f[head+4:], mask, 0)
	return f
}

const (
	text      = finBit | byte(ws.OpText)
	bin       = finBit | byte(ws.OpBinary)
	contin    = finBit | byte(ws.OpContinuation)
	ping      = finBit | byte(ws.OpPing)
	pong      = finBit | byte(ws.OpPong)
	closeBit  = finBit | byte(ws.OpClose)
	begin     = byte(ws.OpText)         // of a fragmented text
	beginBin  = byte(ws.OpBinary)       // of a fragmented binary message
	contBegin = byte(ws.OpContinuation) // neither the first nor the last fragment
)

// code returns the payload of a close frame.
func code(c CloseCode, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(c))) + reason
}

func (c *client) write(b []byte) {
	c.t.Helper()
	c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) send(b0 byte, payload string) {
	c.t.Helper()
	c.write(masked(b0, payload))
}

// next reads a frame. The server's frames are final and not masked.
func (c *client) next() (b0 byte, payload string, err error) {
	c.SetReadDeadline(time.Now().Add(patience))
	h, err := ws.ReadHeader(c.r)
	if err != nil {
		return 0, "", err
	}
	if !h.Fin || h.Rsv != 0 || h.Masked {
		return 0, "", fmt.Errorf("a server must not send the header %+v", h)
	}
	p := make([]byte, h.Length)
	_, err = io.ReadFull(c.r, p)
	return finBit | byte(h.OpCode), string(p), err
}

func (c *client) want(b0 byte, payload string) {
	c.t.Helper()
	got, p, err := c.next()
	if err != nil || got != b0 || p != payload {
		c.t.Fatalf("got %#x %.200q, %v; want %#x %.200q", got, p, err, b0, payload)
	}
}

// wantClose wants a close frame with the code and then the orderly end of the connection, and nothing between the two.
func (c *client) wantClose(want CloseCode) (reason string) {
	c.t.Helper()
	got, p, err := c.next()
	if err != nil || got != closeBit || len(p) < 2 || CloseCode(binary.BigEndian.Uint16([]byte(p))) != want {
		c.t.Fatalf("got %#x %.200q, %v; want a close frame with %d", got, p, err, want)
	}
	c.wantEOF()
	return p[2:]
}

// wantEOF wants the orderly end of the connection, and ends it for its part.
func (c *client) wantEOF() {
	c.t.Helper()
	defer c.Close()
	if b0, p, err := c.next(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("got %#x %.200q, %v; want the orderly end of the connection", b0, p, err)
	}
}

// ended waits for the end of the actor, and returns what the Handler was told.
func (c *client) ended() Closure {
	c.t.Helper()
	select {
	case end := <-c.closed:
		return end
	case <-time.After(patience):
		c.t.Fatal("the actor does not end")
		panic("unreachable")
	}
}

// shut reports whether the actor sends nothing any more.
func (c *client) shut() bool {
	c.actor.mu.Lock()
	defer c.actor.mu.Unlock()
	return c.actor.shut
}
