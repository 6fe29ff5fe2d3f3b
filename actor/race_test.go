package actor

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// races is how often each race is run.
func races() int {
	if testing.Short() {
		return 100
	}
	return 1000
}

// A command that is posted while the actor parks is carried out: whoever posts, and whatever else wakes it.
func TestPostsAreNotLost(t *testing.T) { onWirings(t, testPostsAreNotLost) }

func testPostsAreNotLost(t *testing.T, w wiring) {
	n := w.newNode(t, Config{PingInterval: time.Hour})
	c := n.connect(Birth{Handler: Echo})
	for i := range w.races() {
		var ran atomic.Int32
		var wg sync.WaitGroup
		posters := 1 + i%4
		for range posters {
			wg.Go(func() {
				for range 1 + i%3 {
					c.actor.Do(func(*Actor) { ran.Add(1) })
				}
			})
		}
		if i%2 == 0 {
			c.send(text, "x") // bytes wake it too
			c.want(text, "x")
		}
		wg.Wait()
		want := int32(posters * (1 + i%3))
		eventually(t, fmt.Sprintf("round %d: all functions ran", i), func() bool { return ran.Load() == want })
	}
}

// Nothing is lost either while the closing begins: the close frame goes out, what was sent before it comes before it, and
// each function that was taken runs.
func TestPostsWhileClosing(t *testing.T) { onAllWirings(t, testPostsWhileClosing) }

func testPostsWhileClosing(t *testing.T, w wiring) {
	n := w.newNode(t, Config{CloseTimeout: time.Hour, PingInterval: time.Hour})
	for i := range w.races() {
		c := n.connect(Birth{Handler: Echo})
		var ran, taken, sent atomic.Int32
		var wg sync.WaitGroup
		wg.Go(func() { c.actor.Close(4000+CloseCode(i%2*400), "") })
		for range 2 {
			wg.Go(func() {
				if c.actor.Do(func(*Actor) { ran.Add(1) }) {
					taken.Add(1)
				}
				if c.actor.Send(Message{Payload: []byte("s")}) {
					sent.Add(1)
				}
			})
		}
		got := int32(0)
		b0, payload, err := c.next()
		for ; err == nil && b0 == text; b0, payload, err = c.next() {
			got++
		}
		if err != nil || b0 != closeBit || payload != code(4000+CloseCode(i%2*400), "") {
			t.Fatalf("round %d: got %#x %q, %v", i, b0, payload, err)
		}
		c.actor.Do(func(*Actor) { ran.Add(1) }) // right behind the close frame
		taken.Add(1)
		wg.Wait()
		if got != sent.Load() && (i%2 == 0 || got > sent.Load()) { // an urgent close may drop what waits
			t.Fatalf("round %d: %d messages came, %d were taken", i, got, sent.Load())
		}
		eventually(t, fmt.Sprintf("round %d: all functions ran", i), func() bool { return ran.Load() == taken.Load() })
		c.send(closeBit, "")
		c.wantEOF()
	}
	n.drained()
}

// A client that writes as fast as it can is kicked in bounded time.
func TestKickOfAFloodingClient(t *testing.T) { onWirings(t, testKickOfAFloodingClient) }

func testKickOfAFloodingClient(t *testing.T, w wiring) {
	const bound = 2 * time.Second // of a machine that has other things to do
	n := w.newNode(t, Config{CloseTimeout: time.Hour})
	flood := slices.Concat(masked(text, strings.Repeat("flood ", 50)), masked(begin, "fl"), masked(contin, "ood"))
	flood = slices.Concat(slices.Repeat(flood, 50), masked(ping, "p"))
	var longest time.Duration
	for i := range w.races() {
		var heard atomic.Int32
		ours, theirs := n.pair()
		ours.SetReadBuffer(32 << 10) // else each round reads megabytes in vain
		theirs.SetWriteBuffer(32 << 10)
		theirs.SetLinger(0)
		c := n.connectBy(ours, theirs, Birth{Handler: script{message: func(*Actor, Message) { heard.Add(1) }}})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				if _, err := c.Write(flood); err != nil {
					return
				}
			}
		})
		eventually(t, "the flood begins", func() bool { return heard.Load() > 0 })
		start := time.Now()
		c.actor.Close(CloseForbidden, "kicked")
		for {
			b0, payload, err := c.next()
			if err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			if b0 == closeBit {
				if payload != code(CloseForbidden, "kicked") {
					t.Fatalf("round %d: %q", i, payload)
				}
				break
			}
		}
		longest = max(longest, time.Since(start))
		after := heard.Load()
		c.SetReadDeadline(time.Now().Add(time.Millisecond)) // the flood goes on
		_, _ = io.Copy(io.Discard, c.r)
		if heard.Load() != after {
			t.Fatalf("round %d: messages are handled behind the close frame", i)
		}
		c.Conn.Close()
		wg.Wait()
		c.ended()
	}
	t.Logf("the longest kick took %v", longest)
	if longest > bound {
		t.Errorf("a kick took %v", longest)
	}
	n.drained()
}

// bystander exchanges messages over its own connection until the test ends: none may be lost, doubled, or another's.
func (n *node) bystander(name string) (stop func()) {
	c := n.connect(Birth{Handler: Echo})
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			want := fmt.Sprint(name, " ", i, strings.Repeat("-", i%300))
			if _, err := c.Write(masked(text, want)); err != nil {
				n.t.Errorf("%s: %v", name, err)
				return
			}
			if b0, got, err := c.next(); err != nil || b0 != text || got != want {
				n.t.Errorf("%s: got %#x %.50q, %v; want %.50q", name, b0, got, err, want)
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

var filler64 = []byte(noise(0, 64<<10))

// endings are the ways in which a connection ends while the temporary writer waits in the middle of a frame.
var endings = []struct {
	name string
	end  func(c *client)
	read bool // the client reads on, and must see whole frames and the close frame
	code CloseCode
}{
	{"an urgent close", func(c *client) { c.actor.Close(CloseForbidden, "") }, true, CloseForbidden},
	{"a close behind the data", func(c *client) { c.actor.Close(CloseNormal, "") }, true, CloseNormal},
	{"a close frame of the client", func(c *client) { c.send(closeBit, code(4001, "")) }, true, 4001},
	{"a fault", func(c *client) { c.send(0xff, "") }, true, CloseProtocolError},
	{"a reset", func(c *client) { c.tcp().SetLinger(0); c.Conn.Close() }, false, CloseAbnormal},
	{"a FIN", func(c *client) { c.tcp().CloseWrite() }, false, CloseAbnormal},
	{"a full outbox", func(c *client) {
		for c.actor.Send(Message{Payload: filler64}) {
		}
	}, false, CloseTryAgainLater},
	{"a cut", func(c *client) { c.actor.post(cut{CloseAbnormal, "cut", slowNone}) }, false, CloseAbnormal},
}

// However a connection ends during a partial write, it ends once, releases everything, and touches no other.
func TestCloseDuringPartialWrite(t *testing.T) { onAllWirings(t, testCloseDuringPartialWrite) }

func testCloseDuringPartialWrite(t *testing.T, w wiring) {
	n := w.newNode(t, Config{OutboxBytes: 512 << 10, PingInterval: time.Hour})
	filler := noise(0, 40_000)
	stop := []func(){n.bystander("red"), n.bystander("blue")}
	for i := range w.races() {
		how := endings[i%len(endings)]
		c := n.connect(Birth{})
		payload := func(k int) string { return fmt.Sprintf("%d %d ", i, k) + filler }
		sent := 0
		for ; c.queued() < 100<<10; sent++ {
			if !c.actor.Send(Message{Payload: []byte(payload(sent))}) {
				t.Fatalf("round %d: cut off too soon", i)
			}
		}
		how.end(c)
		if how.read {
			got := 0
			b0, p, err := c.next()
			for ; err == nil && b0 == text; b0, p, err = c.next() {
				if p != payload(got) {
					t.Fatalf("round %d, %s: message %d is %.50q", i, how.name, got, p)
				}
				got++
			}
			if err != nil || b0 != closeBit || p[:2] != code(how.code, "") {
				t.Fatalf("round %d, %s: got %#x %.50q, %v", i, how.name, b0, p, err)
			}
			if how.code != CloseForbidden && got != sent {
				t.Fatalf("round %d, %s: %d of %d messages came", i, how.name, got, sent)
			}
			c.actor.Do(func(*Actor) {}) // wakes must not disturb
			c.send(closeBit, "")
			c.wantEOF()
		}
		if end := c.ended(); end.Code != how.code {
			t.Fatalf("round %d, %s: the handler was told %+v", i, how.name, end)
		}
		c.Conn.Close()
	}
	for _, stop := range stop {
		stop()
	}
	eventually(t, "only the bystanders are left", func() bool { return n.Len() == 2 })
}

// Whoever still sends to an actor that has ended writes into nobody's descriptor: not into that of the next connection, which
// has the same number.
func TestNothingIsWrittenBehindTheEnd(t *testing.T) { onWirings(t, testNothingIsWrittenBehindTheEnd) }

func testNothingIsWrittenBehindTheEnd(t *testing.T, w wiring) {
	n := w.newNode(t, Config{OutboxBytes: 64 << 10})
	for i := range w.races() / 2 { // of four connections each
		c := n.connect(Birth{})
		var stop atomic.Bool
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for !stop.Load() {
					c.actor.Send(Message{Payload: []byte("poison")})
				}
			})
		}
		switch i % 4 {
		case 0:
			c.tcp().SetLinger(0)
			c.Conn.Close()
		case 1:
			c.actor.Close(CloseForbidden, "")
			c.Conn.Close()
		case 2:
			c.actor.post(cut{CloseAbnormal, "cut", slowNone})
		case 3: // it does not read
		}
		c.ended()
		c.Conn.Close()
		for k := range 3 {
			d := n.connect(Birth{Handler: Echo})
			d.send(text, fmt.Sprint(i, k))
			d.want(text, fmt.Sprint(i, k))
			d.send(closeBit, code(1000, ""))
			d.wantClose(1000)
		}
		stop.Store(true)
		wg.Wait()
	}
}

// The end of the node in the middle of partial writes, of closings and of openings.
func TestNodeEndsDuringPartialWrites(t *testing.T) { onAllWirings(t, testNodeEndsDuringPartialWrites) }

func testNodeEndsDuringPartialWrites(t *testing.T, w wiring) {
	for i := range w.races() / 20 {
		n := w.newNode(t, Config{OutboxBytes: 512 << 10})
		var clients []*client
		for range 6 {
			c := n.connect(Birth{})
			clients = append(clients, c)
			for c.queued() < 100<<10 {
				c.actor.Send(Message{Payload: filler64})
			}
		}
		var wg sync.WaitGroup
		for k, c := range clients {
			wg.Go(func() {
				if k%2 == 0 {
					_, _ = io.Copy(io.Discard, c.r)
				}
				for c.actor.Send(Message{Payload: filler64[:1000]}) {
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%5)*time.Millisecond)
		if err := n.Drain(ctx, DrainPlan{Window: 2 * time.Millisecond}); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		cancel()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		for _, c := range clients {
			if end := c.ended(); end.Code != CloseServiceRestart && end.Code != CloseTryAgainLater {
				t.Fatalf("the handler was told %+v", end)
			}
		}
	}
}
