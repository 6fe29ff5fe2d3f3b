package bus

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fairlead-ws/fairlead/session"
)

// discard is a member that does nothing: what is left is the bus's own cost.
type discard struct{ _ int }

func (*discard) Deliver(*Batch) bool { return true }

// frame is an Encoding like a WebSocket text frame of the server's.
type frame struct{}

func (frame) AppendMessage(dst []byte, m *Message) []byte {
	return append(append(dst, 0x81, byte(len(m.Payload))), m.Payload...)
}

// taker is a member that takes the bytes of each batch, as an outbox does.
type taker struct{ n int }

func (t *taker) Deliver(b *Batch) bool {
	t.n += len(b.Bytes(frame{}))
	return true
}

// ready is a Waiter as a channel.
type ready chan struct{}

func (r ready) BusReady() { r <- struct{}{} }

func newLocal(t testing.TB, c LocalConfig) *Local {
	t.Helper()
	b, err := NewLocal(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return b
}

// settle returns when all shards have taken what was there before.
func settle(b *Local, g session.Group) {
	done := make(chan error)
	for i := range b.hub.shards {
		ms := b.Join(g, &discard{}, uint32(i), func(err error) { done <- err })
		<-done
		b.Leave(ms)
	}
}

// BenchmarkFanout is one message of 128 bytes to 5,000 members: alone, the next only when the last is delivered, and
// flooded, as fast as the bus takes them. ns/delivery is wall-clock over all shards together.
func BenchmarkFanout(b *testing.B) {
	const members = 5000
	payload := []byte(strings.Repeat("x", 128))
	g := mustGroup(b, "app_1")
	for name, member := range map[string]func() Member{
		"discard": func() Member { return &discard{} },
		"bytes":   func() Member { return &taker{} },
	} {
		for _, mode := range []string{"alone", "flooded"} {
			b.Run(name+"/"+mode, func(b *testing.B) {
				bus := newLocal(b, LocalConfig{})
				for i := range members {
					bus.Join(g, member(), uint32(i), nil)
				}
				settle(bus, g)
				w := make(ready, 1)
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					for bus.Publish(Message{Group: g, Payload: payload}, w) != nil {
						<-w
					}
					if mode == "alone" {
						settle(bus, g)
					}
				}
				settle(bus, g)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/members, "ns/delivery")
			})
		}
	}
}

// BenchmarkJoinLeave is a join, its done, and a leave: in a group that others are in, and in one of its own.
func BenchmarkJoinLeave(b *testing.B) {
	bus := newLocal(b, LocalConfig{})
	shared := mustGroup(b, "app_1")
	settle(bus, shared)
	bus.Join(shared, &discard{}, 0, nil)
	m := &discard{}
	names := make([]session.Group, 1024)
	for i := range names {
		names[i] = mustGroup(b, fmt.Sprintf("own_%d", i))
	}
	for name, group := range map[string]func(i int) session.Group{
		"shared": func(int) session.Group { return shared },
		"own":    func(i int) session.Group { return names[i%len(names)] },
	} {
		b.Run(name, func(b *testing.B) {
			done := make(chan error, 1)
			b.ReportAllocs()
			for i := range b.N {
				ms := bus.Join(group(i), m, uint32(i), func(err error) { done <- err })
				<-done
				bus.Leave(ms)
			}
		})
	}
}

// BenchmarkPublish is what a publisher pays for a message to a group with a member in each shard.
func BenchmarkPublish(b *testing.B) {
	bus := newLocal(b, LocalConfig{})
	g := mustGroup(b, "app_1")
	for i := range bus.hub.shards {
		bus.Join(g, &discard{}, uint32(i), nil)
	}
	settle(bus, g)
	payload := []byte(strings.Repeat("x", 128))
	w := make(ready, 1)
	b.ReportAllocs()
	for b.Loop() {
		for bus.Publish(Message{Group: g, Payload: payload}, w) != nil {
			<-w
		}
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory holds the bounds that a node with many connections lives by.
func TestMemory(t *testing.T) {
	m := &discard{}
	t.Run("membership", func(t *testing.T) {
		const members = 100_000
		b := newLocal(t, LocalConfig{Shards: 2})
		g := mustGroup(t, "app_1")
		kept := make([]*Membership, members)
		settle(b, g)
		before := heap()
		for i := range kept {
			kept[i] = b.Join(g, m, uint32(i), nil)
		}
		settle(b, g)
		each := float64(heap()-before) / members
		t.Logf("%.1f bytes per membership", each)
		if each > 48 {
			t.Errorf("a membership takes %.1f bytes, want at most 48", each)
		}
		runtime.KeepAlive(kept)
	})
	t.Run("group", func(t *testing.T) {
		const groups = 20_000
		b := newLocal(t, LocalConfig{Shards: 2})
		names := make([]session.Group, groups)
		for i := range names {
			names[i] = mustGroup(t, fmt.Sprintf("app_%d", i))
		}
		kept := make([]*Membership, groups)
		before := heap()
		for i := range kept {
			kept[i] = b.Join(names[i], m, uint32(i), nil)
		}
		settle(b, names[0])
		settle(b, names[1])
		each := float64(heap()-before) / groups
		t.Logf("%.1f bytes per group with its member", each)
		if each > 600 {
			t.Errorf("a group takes %.1f bytes, want at most 600", each)
		}
		for _, ms := range kept {
			b.Leave(ms)
		}
		settle(b, names[0])
		clear(kept)
		if after := float64(heap()-before) / groups; after > 150 {
			t.Errorf("%.1f bytes are left of each empty group", after)
		}
		runtime.KeepAlive(names)
	})
}

// TestNoAllocationPerMember delivers to many members with as little garbage as to few.
func TestNoAllocationPerMember(t *testing.T) {
	allocs := func(members int) float64 {
		s := newShard(1<<20, newMetrics(), new(atomic.Bool))
		p := &part{group: mustGroup(t, "app_1"), shard: s}
		for range members {
			s.execute(p, &command{membership: &Membership{part: p}, member: &taker{}})
		}
		w := []entry{{part: p, payload: []byte("a")}, {part: p, payload: []byte("b")}}
		return testing.AllocsPerRun(100, func() {
			s.inbox.bytes.Add(2 * cost(w[0].payload))
			s.window(w)
		})
	}
	if few, many := allocs(1), allocs(1000); many != few || few > 1 {
		t.Errorf("%v allocations for one member, %v for 1000; want the batch's buffer alone", few, many)
	}
}

// BenchmarkPublishNATS is a message of 128 bytes to a group with one member on another node, until it is there: ns/op is
// the time of both nodes and the server together, all in this process.
func BenchmarkPublishNATS(b *testing.B) {
	e := startServer(b, EmbeddedConfig{})
	from, to := startNATS(b, NATSConfig{Embedded: e}), startNATS(b, NATSConfig{Embedded: e, Pending: 1 << 20, InboxBytes: 256 << 20})
	g := mustGroup(b, "app_1")
	payload := []byte(strings.Repeat("x", 128))
	for _, binary := range []bool{false, true} {
		b.Run(fmt.Sprintf("binary=%t", binary), func(b *testing.B) {
			var m counter
			done := make(chan error, 1)
			ms := to.Join(g, &m, 0, func(err error) { done <- err })
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			w := make(ready, 1)
			b.ReportAllocs()
			for b.Loop() {
				for from.Publish(Message{Group: g, Binary: binary, Payload: payload}, w) != nil {
					<-w
				}
			}
			eventually(b, "all messages are there", func() bool { return m.Load() == int64(b.N) })
			to.Leave(ms)
		})
	}
}
