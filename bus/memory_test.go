package bus

import (
	"fmt"
	"runtime"
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
	done := make(chan struct{}, 1)
	for i := range b.hub.shards {
		ms := b.Join(g, &discard{}, uint32(i), func(error) { done <- struct{}{} })
		<-done
		b.Leave(ms)
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

// A publisher must not queue messages for a shard whose members have left.
func TestPartsGo(t *testing.T) {
	b := newLocal(t, LocalConfig{Shards: 3})
	g, m := mustGroup(t, "app_1"), &discard{}
	var all []*Membership
	for i := range uint32(6) {
		all = append(all, b.Join(g, m, i, nil))
	}
	for i, want := range []int{3, 3, 3, 3, 2} {
		if parts, ok := b.hub.parts(g); len(parts) != want || !ok {
			t.Errorf("after %d leaves: %d parts, %t; want %d", i, len(parts), ok, want)
		}
		b.Leave(all[i])
	}
	before, _ := b.hub.parts(g)
	b.Leave(all[5])
	if parts, _ := b.hub.parts(g); len(parts) != 0 || len(before) != 1 || before[0] == nil {
		t.Errorf("%d parts when all have left; a publisher that looked before has %v", len(parts), before)
	}
}

// A shard that is idle lets whoever joins or leaves do it: nobody is woken for it.
func TestJoinOfAnIdleShard(t *testing.T) {
	b := newLocal(t, LocalConfig{Shards: 1})
	g := mustGroup(t, "g")
	joins := 0
	for range 1000 {
		ms := b.Join(g, &discard{}, 0, func(error) { joins++ }) // no lock: it is this goroutine, or the race detector tells
		if joins == 0 {
			t.Fatal("an idle shard was woken")
		}
		b.Leave(ms)
		if n := len(ms.part.slots); n != 0 {
			t.Fatalf("%d members after a leave", n)
		}
	}
}
