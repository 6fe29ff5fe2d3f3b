package actor

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// nowhere is a transport that takes nothing and says nothing.
type nowhere struct{ transport }

func (nowhere) write([]byte) (int, error) { return 0, nil }
func (nowhere) interrupt()                {}
func (nowhere) closeWrite()               {}

// newHeld returns an actor whose outbox is held: what is sent is queued, and no writer takes it.
func newHeld(t rapid.TB, outboxBytes int) *Actor {
	t.Helper()
	m, err := newMetrics(nil, func() int { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	a := &Actor{system: &System{metrics: m, config: Config{OutboxBytes: outboxBytes}}, conn: nowhere{}, out: newOutbox()}
	a.out.held = true
	return a
}

// outboxModel is what an outbox must have in it.
type outboxModel struct {
	partial, pong, ping, last string
	data                      []string
	taken                     int // cost of what the writer has
}

func (m *outboxModel) cost() (n int) {
	for _, s := range append(m.data, m.partial, m.pong, m.ping, m.last) {
		if s != "" {
			n += cost([]byte(s))
		}
	}
	return n + m.taken
}

// take returns what is to be written next: the rest of what is on the wire, a pong, a ping, as much data as one write holds,
// the close frame.
func (m *outboxModel) take() (p string) {
	for _, first := range []*string{&m.partial, &m.pong, &m.ping} {
		if *first != "" {
			p, *first = *first, ""
			return p
		}
	}
	if len(m.data) == 0 {
		p, m.last = m.last, ""
		return p
	}
	p, m.data = m.data[0], m.data[1:]
	for joins := len(p) < gatherBytes/2; joins && len(m.data) > 0 && len(p)+len(m.data[0]) <= gatherBytes; {
		p, m.data = p+m.data[0], m.data[1:]
	}
	return p
}

// TestOutbox compares an actor's outbox with a simple model of it, through any sequence of what can happen to it.
func TestOutbox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 100_000
		a, m := newHeld(t, limit), &outboxModel{}
		if rapid.Bool().Draw(t, "a partial write") {
			m.partial = "rest of a frame"
			a.out.partial = []byte(m.partial)
			a.queuedLocked(cost(a.out.partial))
		}
		number, shut := 0, false
		size := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, 9_000), rapid.IntRange(0, 20_000))
		payload := func() string {
			number++
			return fmt.Sprint(number) + strings.Repeat(".", size.Draw(t, "size"))
		}
		var scratch *[gatherBytes]byte
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				p := payload()
				frame := string(appendFrame(nil, 1, []byte(p)))
				want := !shut && m.cost()+cost([]byte(frame)) <= limit
				if got := a.Send(Message{Payload: []byte(p)}); got != want {
					t.Fatalf("Send = %v, want %v", got, want)
				}
				switch {
				case want:
					m.data = append(m.data, frame)
				case !shut:
					*m, shut = outboxModel{}, true
					if !a.dead || !a.shut || a.out != nil || len(a.mail) != 1 || a.mail[0].(cut).slow != slowOutbox {
						t.Fatalf("the outbox is full: dead %v, shut %v, mail %v", a.dead, a.shut, a.mail)
					}
				}
			},
			"pong": func(*rapid.T) {
				a.sendPong([]byte("ping"))
				if !shut {
					m.pong = string(appendFrame(nil, 10, []byte("ping")))
				}
			},
			"ping": func(*rapid.T) {
				a.sendPing()
				if !shut {
					m.ping = string(pingFrame)
				}
			},
			"close": func(t *rapid.T) {
				urgent := rapid.Bool().Draw(t, "urgent")
				f := closeFrame(CloseNormal, "")
				a.sendClose(f, urgent, false)
				if shut {
					return
				}
				if shut = true; urgent {
					m.data = nil
				}
				m.last = string(f)
			},
			"write": func(t *rapid.T) {
				if a.out == nil {
					return
				}
				p, n := a.out.take(&scratch)
				if want := m.take(); string(p) != want {
					t.Fatalf("take = %d bytes %.50q, want %d bytes %.50q", len(p), p, len(want), want)
				}
				m.taken = n // while it is written
				checkOutbox(t, a, m)
				a.queuedLocked(-n)
				m.taken = 0
			},
			"": func(t *rapid.T) { checkOutbox(t, a, m) },
		})
		a.mu.Lock()
		a.dropLocked()
		a.mu.Unlock()
		if v := a.system.metrics.outboxBytes.Load(); v != 0 {
			t.Fatalf("outbox_bytes = %d at the end", v)
		}
	})
}

func checkOutbox(t *rapid.T, a *Actor, m *outboxModel) {
	got := 0
	if a.out != nil {
		got = a.out.bytes
	}
	if want := m.cost(); got != want || a.system.metrics.outboxBytes.Load() != int64(want) {
		t.Fatalf("the outbox costs %d, the metric says %d, want %d", got, a.system.metrics.outboxBytes.Load(), want)
	}
}

// An outbox that is never empty does not grow: what was taken makes room.
func TestOutboxRoom(t *testing.T) {
	o := newOutbox()
	p := make([]byte, gatherBytes)
	for range 100 {
		o.push(p)
	}
	var scratch *[gatherBytes]byte
	for range 10_000 {
		o.push(p)
		if got, _ := o.take(&scratch); len(got) != len(p) {
			t.Fatalf("take = %d bytes", len(got))
		}
	}
	if c := cap(o.frames); c > 1000 {
		t.Errorf("100 frames have room for %d", c)
	}
	for range 5000 {
		o.push(p)
	}
	o.discard()
	o.free()
	if c := cap(o.frames); c > 64 {
		t.Errorf("a free outbox keeps room for %d frames", c)
	}
	if o = newOutbox(); o.bytes != 0 || len(o.frames) != 0 || o.next != 0 || o.partial != nil || o.pong != nil || o.ping != nil || o.last != nil || o.fin || o.held {
		t.Errorf("a new outbox is %+v", o)
	}
	if slices.ContainsFunc(o.frames[:cap(o.frames)], func(f []byte) bool { return f != nil }) {
		t.Error("a new outbox holds on to frames")
	}
	o.free()
}

// gate is a transport whose writes fail, or wait for the test.
type gate struct {
	nowhere
	takes   int           // by each write
	err     error         // of each write
	allErr  error         // of each writeAll
	release chan struct{} // one writeAll for each

	mu      sync.Mutex
	written []byte
	fins    int
}

func (g *gate) write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(g.takes, len(p))
	g.written = append(g.written, p[:n]...)
	return n, g.err
}

func (g *gate) writeAll(p []byte, _ time.Time) error {
	<-g.release
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written = append(g.written, p...)
	return g.allErr
}

func (g *gate) closeWrite() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fins++
}

func (g *gate) got() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return string(g.written)
}

// One writer at a time writes, in order, and ends when there is nothing left; the half of the connection is closed once,
// behind the close frame.
func TestWriter(t *testing.T) {
	a := newHeld(t, 1<<20)
	g := &gate{takes: 3, release: make(chan struct{})}
	a.conn = g
	a.out.free()
	a.out = nil
	send := func(p string) {
		t.Helper()
		if !a.Send(Message{Payload: []byte(p)}) {
			t.Fatal("Send says no")
		}
	}
	send("a") // taken as a whole
	if got := g.got(); got != "\x81\x01a" || a.out != nil {
		t.Fatalf("written %q, outbox %v", got, a.out)
	}
	send("hello") // in part: the writer starts
	send("b")
	a.sendPong([]byte("old"))
	a.sendPong([]byte("new"))
	a.sendClose(closeFrame(CloseNormal, ""), false, true)
	if got := g.got(); got != "\x81\x01a\x81\x05h" {
		t.Fatalf("written %q while the writer waits", got)
	}
	for range 4 { // the rest of hello, the newest pong, b, the close frame
		g.release <- struct{}{}
	}
	a.system.running.Wait()
	if got, want := g.got(), "\x81\x01a\x81\x05hello\x8a\x03new\x81\x01b\x88\x02\x03\xe8"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
	if g.fins != 1 || a.out != nil || a.system.metrics.outboxBytes.Load() != 0 {
		t.Errorf("%d FINs, outbox %v of %d bytes", g.fins, a.out, a.system.metrics.outboxBytes.Load())
	}
	if a.Send(Message{}) {
		t.Error("something is sent behind the close frame")
	}
}

// A write that fails cuts the connection off, once, whoever wrote.
func TestWriteFails(t *testing.T) {
	for name, takes := range map[string]int{"at once": 0, "in part": 1} {
		a := newHeld(t, 1<<20)
		a.conn = &gate{takes: takes, err: io.ErrClosedPipe}
		a.out = nil
		if a.Send(Message{Payload: []byte("x")}) || a.Send(Message{Payload: []byte("y")}) {
			t.Errorf("%s: Send says that it sends", name)
		}
		if len(a.mail) != 1 || a.mail[0].(cut).code != CloseAbnormal {
			t.Errorf("%s: the mail is %v", name, a.mail)
		}
	}
	a := newHeld(t, 1<<20)
	g := &gate{release: make(chan struct{}), allErr: errors.New("no route to host")}
	a.conn, a.out = g, nil
	if !a.Send(Message{Payload: []byte("x")}) {
		t.Error("Send says no, and the writer has not tried")
	}
	g.release <- struct{}{}
	a.system.running.Wait()
	if len(a.mail) != 1 || a.mail[0].(cut).code != CloseAbnormal || a.out != nil || a.system.metrics.outboxBytes.Load() != 0 {
		t.Errorf("the mail is %v, the outbox %v", a.mail, a.out)
	}
}
