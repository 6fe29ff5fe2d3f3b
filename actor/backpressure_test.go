package actor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// busyBus is a bus that says ErrBusy when the test wants it.
type busyBus struct {
	Bus
	// Guarded by mu.
	mu      sync.Mutex
	busy    bool
	room    int // busy, but for so many
	every   int // also each so many publishes, and then BusReady comes at once
	early   bool
	calls   int
	waiters []bus.Waiter
}

func (b *busyBus) Publish(m bus.Message, w bus.Waiter) error {
	b.mu.Lock()
	b.calls++
	soon := b.every > 0 && b.calls%b.every == 0
	busy, early := b.busy && b.room == 0, b.early
	if busy {
		b.waiters = append(b.waiters, w)
	} else if b.busy {
		b.room--
	}
	b.mu.Unlock()
	switch {
	case busy:
		return bus.ErrBusy
	case soon && early:
		w.BusReady() // before Publish has returned
		return bus.ErrBusy
	case soon:
		go w.BusReady()
		return bus.ErrBusy
	}
	return b.Bus.Publish(m, w)
}

// set makes the bus busy, or ready: then whoever waits is told.
func (b *busyBus) set(busy bool) {
	b.mu.Lock()
	b.busy = busy
	b.mu.Unlock()
	if !busy {
		b.wake()
	}
}

// take makes room for so many messages in a bus that is busy.
func (b *busyBus) take(room int) {
	b.mu.Lock()
	b.room = room
	b.mu.Unlock()
	b.wake()
}

func (b *busyBus) wake() {
	b.mu.Lock()
	waiters := b.waiters
	b.waiters = nil
	b.mu.Unlock()
	for _, w := range waiters {
		w.BusReady()
	}
}

func (b *busyBus) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiters)
}

// onAll is onBoth, and TLS.
func onAll(t *testing.T, c Config, f func(t *testing.T, n *node, b *busyBus, connect func(Birth) *client)) {
	onBoth(t, c, f)
	t.Run("secure", func(t *testing.T) {
		b := &busyBus{}
		c.Bus = b
		n := overTLS.newNode(t, c)
		b.Bus = n.bus
		f(t, n, b, n.connect)
	})
}

// onBoth runs f over a socket and over the stream transport, on a node whose bus can be busy.
func onBoth(t *testing.T, c Config, f func(t *testing.T, n *node, b *busyBus, connect func(Birth) *client)) {
	for _, name := range []string{"socket", "stream"} {
		t.Run(name, func(t *testing.T) {
			b := &busyBus{}
			c.Bus = b
			n := newNode(t, c)
			b.Bus = n.bus
			f(t, n, b, func(birth Birth) *client {
				if name == "socket" {
					return n.connect(birth)
				}
				client := n.connectPipe(birth)
				client.wait = patience
				return client
			})
		})
	}
}

// While the bus is busy the client is not read: its socket fills. Nothing is lost, and the order is kept.
func TestBackpressure(t *testing.T) {
	onBoth(t, Config{OutboxBytes: 64 << 20, PingInterval: time.Hour}, func(t *testing.T, n *node, b *busyBus, connect func(Birth) *client) {
		g := mustGroup(t, "g")
		member := n.connect(Birth{Groups: []session.Group{g}})
		c := connect(Birth{Handler: Broadcast, Groups: []session.Group{g}})
		b.set(true)
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)) // long enough for sockets to fill
		padding := strings.Repeat(".", 2000)
		sent, rest := 0, []byte(nil)
		for ; ; sent++ {
			m := masked(text, fmt.Sprint(sent, padding))
			n, err := c.Write(m)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				rest = m[n:]
				break
			}
			if err != nil || sent > 50_000 {
				t.Fatalf("after %d messages: %v", sent, err)
			}
		}
		if received, pauses := n.value("fairlead_messages_received_total", ""), n.value("fairlead_read_pauses_total", ""); received != 1 || pauses != 1 {
			t.Errorf("%v messages are received and %v pauses counted, want 1 and 1", received, pauses)
		}
		b.mu.Lock()
		b.every = 7
		b.mu.Unlock()
		b.set(false)
		var wg sync.WaitGroup
		wg.Go(func() {
			c.SetWriteDeadline(time.Now().Add(patience))
			if _, err := c.Write(append(rest, masked(text, "last")...)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { // it hears itself too
			for i := range sent + 2 {
				if _, _, err := c.next(); err != nil {
					t.Errorf("message %d comes back: %v", i, err)
					return
				}
			}
		})
		for i := range sent + 1 {
			member.want(text, fmt.Sprint(i, padding))
		}
		member.want(text, "last")
		wg.Wait()
		if v := n.value("fairlead_messages_unpublished_total", ""); v != 0 {
			t.Errorf("messages_unpublished = %v, want 0", v)
		}
	})
}

// The bus may say that it is ready before it has said that it is busy.
func TestBusReadyComesFirst(t *testing.T) {
	onAll(t, Config{PingInterval: time.Hour}, func(t *testing.T, n *node, b *busyBus, connect func(Birth) *client) {
		b.every, b.early = 2, true
		g := mustGroup(t, "g")
		c := connect(Birth{Handler: Broadcast, Groups: []session.Group{g}})
		for i := range 500 {
			c.send(text, fmt.Sprint(i))
			c.want(text, fmt.Sprint(i))
		}
	})
}

// What waits for the bus is bounded, not what has ever waited: a bus that is always a little behind closes nobody.
func TestBacklogShrinks(t *testing.T) {
	b := &busyBus{}
	n := newNode(t, Config{Bus: b, OutboxBytes: 64 << 10})
	b.Bus = n.bus
	g := mustGroup(t, "g")
	member := n.connect(Birth{Groups: []session.Group{g}})
	c := n.connect(Birth{})
	publish := func(i int) {
		c.on(func(a *Actor) {
			a.Publish(g, Message{Payload: fmt.Appendf(nil, "%6d%s", i, strings.Repeat(".", 10<<10))})
		})
	}
	b.set(true)
	for i := range 3 {
		publish(i)
	}
	for i := range 50 {
		b.take(1)
		_, payload, err := member.next()
		if err != nil || !strings.HasPrefix(payload, fmt.Sprintf("%6d", i)) {
			t.Fatalf("message %d is %.10q, %v", i, payload, err)
		}
		eventually(t, "the bus was asked again", func() bool { return b.waiting() == 1 })
		publish(i + 3)
	}
	for i := range 10 { // more than may wait
		publish(i)
	}
	if b0, payload, err := c.next(); err != nil || b0 != closeBit || payload[:2] != code(CloseTryAgainLater, "") {
		t.Fatalf("got %#x %q, %v", b0, payload, err)
	}
	c.send(closeBit, "")
	c.wantEOF()
	n.wantClosed(c, CloseTryAgainLater, "the bus does not take what this connection publishes")
	if v := n.value("fairlead_messages_unpublished_total", ""); v != 3+10 {
		t.Errorf("messages_unpublished = %v, want those 3 that wait, and 10", v)
	}
}

// A message for many groups has one payload: it may wait for all of them, though they would be over the bound together.
func TestOneMessageMayWait(t *testing.T) {
	b := &busyBus{}
	n := newNode(t, Config{Bus: b, OutboxBytes: 64 << 10})
	b.Bus = n.bus
	var groups []session.Group
	for i := range 20 {
		groups = append(groups, mustGroup(t, fmt.Sprint("g", i)))
	}
	c := n.connect(Birth{Handler: Broadcast, Groups: groups})
	member := n.connect(Birth{Groups: groups[19:]})
	b.set(true)
	c.send(text, strings.Repeat("x", 10<<10))
	eventually(t, "the bus was asked", func() bool { return b.waiting() == 1 })
	b.set(false)
	member.want(text, strings.Repeat("x", 10<<10))
	if v := n.value("fairlead_messages_unpublished_total", ""); v != 0 {
		t.Errorf("messages_unpublished = %v, want 0", v)
	}
}

// A paused connection can be closed; what the bus has not taken is counted, and a bus that is ready later changes nothing.
func TestCloseWhilePaused(t *testing.T) {
	onAll(t, Config{CloseTimeout: time.Hour, PingInterval: time.Hour}, func(t *testing.T, n *node, b *busyBus, connect func(Birth) *client) {
		red, blue := mustGroup(t, "red"), mustGroup(t, "blue")
		c := connect(Birth{Handler: Broadcast, Groups: []session.Group{red, blue}})
		b.set(true)
		c.write(frames(masked(text, "one"), masked(text, "two"), masked(ping, "never answered")))
		eventually(t, "the bus was asked", func() bool { return b.waiting() == 1 })
		c.actor.Do(func(a *Actor) { a.Publish(red, Message{Payload: []byte("behind the others")}) })
		c.actor.Close(CloseForbidden, "kicked")
		c.want(closeBit, code(CloseForbidden, "kicked"))
		// Three wait: "one" for two groups, and what Do published. What is read but not taken apart is no message yet.
		eventually(t, "3 are counted", func() bool { return n.value("fairlead_messages_unpublished_total", "") == 3 })
		c.send(closeBit, "")
		c.wantEOF()
		n.wantClosed(c, CloseForbidden, "kicked")
		b.set(false)
		if v := n.value("fairlead_bus_published_total", ""); v != 0 {
			t.Errorf("%v messages are published after the end", v)
		}
	})
}

// A node that ends does not wait for a bus that is busy.
func TestNodeEndsWhilePaused(t *testing.T) {
	onAll(t, Config{}, func(t *testing.T, n *node, b *busyBus, connect func(Birth) *client) {
		c := connect(Birth{Handler: Broadcast, Groups: []session.Group{mustGroup(t, "g")}})
		b.set(true)
		c.send(text, "x")
		eventually(t, "the bus was asked", func() bool { return b.waiting() == 1 })
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		n.wantClosed(c, CloseServiceRestart, "the node ends")
		b.set(false)
	})
}

// A client that leaves while it is paused has said what it has said.
func TestPeerLeavesWhilePaused(t *testing.T) {
	onAll(t, Config{PingInterval: time.Hour}, func(t *testing.T, n *node, b *busyBus, connect func(Birth) *client) {
		g := mustGroup(t, "g")
		member := n.connect(Birth{Groups: []session.Group{g}})
		c := connect(Birth{Handler: Broadcast, Groups: []session.Group{g}})
		b.set(true)
		c.write(frames(masked(text, "one"), masked(text, "two")))
		eventually(t, "the bus was asked", func() bool { return b.waiting() == 1 })
		if tcp, ok := netConn(c.Conn).(*net.TCPConn); ok {
			c.write(frames(masked(text, "three"), masked(closeBit, code(1001, ""))))
			tcp.CloseWrite()
		} else {
			c.Conn.Close()
		}
		b.set(false)
		member.want(text, "one")
		member.want(text, "two")
		if _, ok := netConn(c.Conn).(*net.TCPConn); ok {
			member.want(text, "three")
			n.wantClosed(c, CloseGoingAway, "closed by the peer")
		} else if end := n.closing(c); end.Code != uint16(CloseAbnormal) {
			t.Errorf("closed = %+v", end)
		}
	})
}

// A client that is not read cannot answer pings: that is not its fault.
func TestNoPongTimeoutWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &busyBus{}
		n := newNode(t, Config{Bus: b, PingInterval: 10 * time.Second, PongTimeout: 5 * time.Second})
		b.Bus = n.bus
		g := mustGroup(t, "g")
		c := n.connectPipe(Birth{Handler: script{message: func(a *Actor, m Message) { a.Publish(g, m); a.Send(m) }}})
		b.set(true)
		c.send(text, "one")
		c.want(text, "one")
		c.SetWriteDeadline(time.Time{})
		go func() { _, _ = c.Write(masked(text, "two")) }() // the test fails if it does not arrive
		time.Sleep(10 * time.Minute)
		b.set(false)
		for {
			b0, payload, err := c.next()
			if err != nil {
				t.Fatalf("it was not read, and cut off: %v, %+v", err, c.ended())
			}
			if b0 == text && payload == "two" {
				break
			}
		}
		for range 3 { // and then it is pinged as before
			c.want(ping, "")
			c.send(pong, "")
		}
		c.want(ping, "")
		c.wantEOF() // it does not answer, and is read
	})
}
