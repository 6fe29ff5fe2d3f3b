package bus_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bus"
)

// freeAddress returns an address on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestServerRestart(t *testing.T) {
	first := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"})
	url := first.URL()
	a, b := startNode(t, bus.NATSConfig{URL: url}), startNode(t, bus.NATSConfig{URL: url})
	if !a.Connected() || !b.Connected() || a.value(t, "fairlead_bus_connected", "") != 1 {
		t.Fatal("not connected to begin with")
	}
	g := group(t, "g")
	var here, there listener
	join(t, a.NATS, g, &here)
	join(t, b.NATS, g, &there)
	many := make([]listener, 500)
	for i := range many {
		join(t, b.NATS, group(t, fmt.Sprintf("many_%d", i)), &many[i])
	}
	publish(t, a.NATS, g, "before")
	eventually(t, "the message before the outage is there", there.has("t:before"))

	stop(t, first)
	eventually(t, "both nodes notice", func() bool { return !a.Connected() && !b.Connected() })
	if v := a.value(t, "fairlead_bus_connected", ""); v != 0 {
		t.Errorf("bus_connected = %v while NATS is away", v)
	}
	var late listener
	join(t, a.NATS, g, &late)
	join(t, b.NATS, group(t, "new"), &late)
	publish(t, a.NATS, g, "during")
	eventually(t, "members of the node hear each other", func() bool { return here.has("t:before", "t:during")() && late.has("t:during")() })
	if v := a.value(t, "fairlead_bus_dropped_total", "disconnected"); v != 1 {
		t.Errorf("disconnected = %v, want 1", v)
	}

	startServer(t, bus.EmbeddedConfig{Listen: strings.TrimPrefix(url, "nats://")})
	back := time.Now()
	eventually(t, "both nodes are back", func() bool { return a.Connected() && b.Connected() })
	publish(t, a.NATS, g, "after")
	publish(t, a.NATS, group(t, "new"), "new")
	for i := range many {
		publish(t, a.NATS, group(t, fmt.Sprintf("many_%d", i)), "again")
	}
	eventually(t, "the other node hears again", there.has("t:before", "t:after"))
	if d := time.Since(back); d > 5*time.Second {
		t.Errorf("messages flow %v after the server is back, want at most 5 s", d)
	}
	for i := range many {
		eventually(t, fmt.Sprintf("group %d of 500 hears again", i), many[i].has("t:again"))
	}
	eventually(t, "the group that was joined during the outage hears", func() bool { return slices.Contains(late.messages(), "t:new") })
	for i, n := range []node{a, b} {
		if v := n.value(t, "fairlead_bus_reconnects_total", ""); v != 1 {
			t.Errorf("node %d: reconnects = %v, want 1", i, v)
		}
	}
	if got := here.messages(); !slices.Equal(got, []string{"t:before", "t:during", "t:after"}) {
		t.Errorf("the member that stayed got %q", got)
	}
}

func TestServerIsLate(t *testing.T) {
	address := freeAddress(t)
	var log logBuffer
	n := startNode(t, bus.NATSConfig{
		URL: "nats://fl:sesame@" + address, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	g := group(t, "g")
	var m listener
	join(t, n.NATS, g, &m)
	publish(t, n.NATS, g, "alone")
	eventually(t, "the node works alone", m.has("t:alone"))
	if n.Connected() || n.value(t, "fairlead_bus_dropped_total", "disconnected") != 1 {
		t.Error("connected, or not counted as dropped, without a server")
	}
	eventually(t, "the trouble is logged", func() bool { return strings.Contains(log.String(), "cannot connect to NATS") })

	startServer(t, bus.EmbeddedConfig{Listen: address, User: "fl", Password: "sesame"})
	eventually(t, "the node connects", n.Connected)
	nc := client(t, "nats://fl:sesame@"+address)
	if err := nc.Publish(bus.Subject(bus.Cluster{}, g), []byte("hi")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node hears others", m.has("t:alone", "t:hi"))
	if v := n.value(t, "fairlead_bus_reconnects_total", ""); v != 0 {
		t.Errorf("reconnects = %v after the first connection, want 0", v)
	}
	if text := log.String(); strings.Contains(text, "sesame") || strings.Count(text, "cannot connect") > 2 {
		t.Errorf("the log has the password, or the same trouble many times:\n%s", text)
	}
}

// A server that accepts but stands still: joins wait, but not for ever, publishers are told, and all ends well.
func TestServerStalls(t *testing.T) {
	t.Parallel()
	p := startProxy(t, startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL())
	peer := startNode(t, bus.NATSConfig{URL: p.url()})
	n := startNode(t, bus.NATSConfig{URL: p.url(), QueueBytes: 64 << 10})
	var m listener
	p.mu.Lock()
	stalled := true
	defer func() {
		if stalled {
			p.mu.Unlock()
		}
	}()
	w := make(waiter, 1)
	wait := func(what string, c <-chan error) {
		t.Helper()
		select {
		case err := <-c:
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(patience):
			t.Fatalf("no %s", what)
		}
	}
	large := bus.Message{Group: group(t, "nobody"), Payload: make([]byte, 60<<10)}
	for begun := time.Now(); n.Connected(); {
		if time.Since(begun) > patience {
			t.Fatal("a server that stands still took messages without end")
		}
		if v := n.value(t, "fairlead_publisher_queue_bytes", ""); v > 64<<10 {
			t.Fatalf("publisher_queue_bytes = %v, want at most %d", v, 64<<10)
		}
		if err := n.Publish(large, w); errors.Is(err, bus.ErrBusy) {
			wait("BusReady", w)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if v := n.value(t, "fairlead_bus_busy_total", "publisher"); v == 0 {
		t.Error("the publisher queue was never full")
	}
	if v := n.value(t, "fairlead_bus_dropped_total", "disconnected"); v == 0 {
		t.Error("what could not be written is not counted")
	}
	done := make(chan error, 1)
	peer.Join(group(t, "g"), &m, 0, func(err error) { done <- err })
	wait("done of the join", done)
	eventually(t, "both nodes notice", func() bool { return !n.Connected() && !peer.Connected() })
	p.mu.Unlock()
	stalled = false
	eventually(t, "both nodes are back", func() bool { return n.Connected() && peer.Connected() })
	publish(t, n.NATS, group(t, "g"), "hi")
	eventually(t, "the join that gave up waiting is good", m.has("t:hi"))
}

// A server that accepts and says nothing: no connection to it is left behind.
func TestServerNeverGreets(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 100)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	n := startNode(t, bus.NATSConfig{URL: "nats://" + l.Addr().String()})
	var conns []net.Conn
	for range 2 {
		select {
		case c := <-accepted:
			conns = append(conns, c)
		case <-time.After(patience):
			t.Fatal("the node does not try again")
		}
	}
	stop(t, n)
	l.Close()
	for c := range accepted {
		conns = append(conns, c)
	}
	for i, c := range conns {
		defer c.Close()
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection %d of %d is still open: %v", i, len(conns), err)
		}
	}
}

// waiter is a bus.Waiter as a channel.
type waiter chan error

func (w waiter) BusReady() { w <- nil }

// gate is a member that waits in Deliver until it is opened.
type gate struct {
	listener
	open chan struct{}
}

func (g *gate) Deliver(b *bus.Batch) bool {
	<-g.open
	return g.listener.Deliver(b)
}

// Messages that this node was too slow for are lost, but each is counted.
func TestSlowConsumer(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	n := startNode(t, bus.NATSConfig{URL: url, Shards: 1, InboxBytes: 1 << 10, Pending: 8})
	names := []string{"a", "b.b"}
	nc := client(t, url)
	sent := 0
	burst := func(count int) {
		for i := range count {
			if err := nc.Publish(bus.Subject(bus.Cluster{}, group(t, names[i%2])), make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		sent += count
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	var members [2]gate
	for i := range members {
		members[i].open = make(chan struct{})
		join(t, n.NATS, group(t, names[i]), &members[i])
	}
	dropped := func() int { return int(n.value(t, "fairlead_bus_dropped_total", "slow_consumer")) }
	burst(1000)
	eventually(t, "losses are counted", func() bool { return dropped() > 900 })
	burst(1000) // nats.go tells nothing more: not one message has come through since
	eventually(t, "later losses are counted", func() bool { return dropped() > 1900 })
	for i := range members {
		close(members[i].open)
	}
	got := func() int { return len(members[0].messages()) + len(members[1].messages()) }
	eventually(t, "each message is delivered or counted", func() bool { return got()+dropped() == sent })
	burst(4)
	eventually(t, "messages come again", func() bool { return got()+dropped() == sent })
	if got() < 4+1024/164 {
		t.Errorf("%d of %d messages were delivered", got(), sent)
	}
	if n.value(t, "fairlead_bus_errors_total", "other") != 0 {
		t.Error("losses are counted as other errors too")
	}
}

func TestLinger(t *testing.T) {
	const linger = 300 * time.Millisecond
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	n := startNode(t, bus.NATSConfig{URL: url, Linger: linger})
	peer := startNode(t, bus.NATSConfig{URL: url})
	g := group(t, "g")
	subscriptions := func() float64 { return n.value(t, "fairlead_bus_subscriptions", "") }
	var m listener
	begun := time.Now()
	for range 50 { // one subscription for all
		n.Leave(join(t, n.NATS, g, &m))
	}
	ms := join(t, n.NATS, g, &m)
	n.Leave(join(t, n.NATS, g, &listener{}))
	if v := subscriptions(); v != 1 && time.Since(begun) < linger {
		t.Errorf("subscriptions = %v, want 1", v)
	}
	var other listener
	n.Leave(join(t, n.NATS, group(t, "other"), &other))
	left := time.Now()
	eventually(t, "the other group's subscription ends", func() bool { return subscriptions() == 1 })
	if d := time.Since(left); d < linger {
		t.Errorf("it ended after %v, want %v", d, linger)
	}
	publish(t, peer.NATS, g, "hi")
	eventually(t, "the group with a member still hears", m.has("t:hi"))

	n.Leave(ms)
	left = time.Now()
	eventually(t, "the last subscription ends", func() bool { return subscriptions() == 0 && n.value(t, "fairlead_groups", "") == 0 })
	if d := time.Since(left); d < linger {
		t.Errorf("it ended after %v, want %v", d, linger)
	}
	join(t, n.NATS, g, &m)
	publish(t, peer.NATS, g, "back")
	eventually(t, "the group that came back hears", m.has("t:hi", "t:back"))
}

func TestCloseWhileAway(t *testing.T) {
	server := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"})
	n := startNode(t, bus.NATSConfig{URL: server.URL()})
	var m listener
	join(t, n.NATS, group(t, "g"), &m)
	stop(t, server)
	publish(t, n.NATS, group(t, "g"), "last")
	stop(t, n)
	if !m.has("t:last")() {
		t.Errorf("got %q", m.messages())
	}
	if n.Connected() || n.value(t, "fairlead_bus_connected", "") != 0 {
		t.Error("connected after Close")
	}
}

// What was published when Close is called still reaches the other nodes.
func TestCloseFlushes(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	n, peer := startNode(t, bus.NATSConfig{URL: url}), startNode(t, bus.NATSConfig{URL: url})
	g := group(t, "g")
	var m listener
	join(t, peer.NATS, g, &m)
	for range 1000 {
		publish(t, n.NATS, g, "x")
	}
	stop(t, n)
	eventually(t, "all messages are there", func() bool { return len(m.messages()) == 1000 })
}

func TestWrongPassword(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", User: "fl", Password: "sesame"}).URL()
	var log logBuffer
	n := startNode(t, bus.NATSConfig{URL: url, User: "fl", Password: "simsim", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	eventually(t, "the refusal is logged", func() bool { return strings.Contains(strings.ToLower(log.String()), "authorization violation") })
	if n.Connected() || strings.Contains(log.String(), "simsim") {
		t.Errorf("connected with a wrong password, or it is in the log:\n%s", log.String())
	}
	good := startNode(t, bus.NATSConfig{URL: url, User: "fl", Password: "sesame"})
	if !good.Connected() {
		t.Error("not connected with the right password")
	}
	embedded := startServer(t, bus.EmbeddedConfig{User: "fl", Password: "sesame"})
	if in := startNode(t, bus.NATSConfig{Embedded: embedded}); !in.Connected() {
		t.Error("not connected to the server in this process, which has a password")
	}
}
