package bustest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/bus"
)

func testJoinBarrier(t *testing.T, open opener) {
	b := open(Options{Shards: 1})
	g, early, late := group(t, "room"), &recorder{}, &recorder{}
	join(t, b, g, early, 0)
	release := held(t, b)
	for _, p := range numbered(10) {
		publish(t, b, g, p)
	}
	// All of this is in the shard's inbox together: the join must not slip through between the messages.
	done := make(chan error, 1)
	b.Join(g, late, 0, func(err error) { done <- err })
	publish(t, b, g, "during")
	release()
	if err := receive(t, done, "done"); err != nil {
		t.Fatal(err)
	}
	publish(t, b, g, "after")
	fence(t, b, g, 1)
	if got := early.payloads(); !slices.Equal(got, append(numbered(10), "during", "after")) {
		t.Errorf("the early member got %q", got)
	}
	got := late.payloads()
	if len(got) > 0 && got[0] == "during" { // published before the join was effective: either is right
		got = got[1:]
	}
	if !slices.Equal(got, []string{"after"}) {
		t.Errorf("the late member got %q", late.payloads())
	}
}

func testNothingBeforeDone(t *testing.T, open opener) {
	b := open(Options{Shards: 2})
	g := group(t, "room")
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			publish(t, b, g, fmt.Sprint(i))
			runtime.Gosched()
		}
	})
	for i := range 200 {
		var ready atomic.Bool
		m := &recorder{look: func(*bus.Batch) {
			if !ready.Load() {
				t.Error("a delivery before done has returned")
			}
		}}
		done := make(chan struct{})
		ms := b.Join(g, m, uint32(i), func(error) {
			for range 10 {
				runtime.Gosched() // leave room for a delivery that must not come
			}
			ready.Store(true)
			close(done)
		})
		receive(t, done, "done")
		b.Leave(ms)
	}
	stop.Store(true)
	wg.Wait()
}

func testLeaveBarrier(t *testing.T, open opener) {
	b := open(Options{Shards: 1})
	g, stays, goes := group(t, "room"), &recorder{}, &recorder{}
	join(t, b, g, stays, 0)
	ms := join(t, b, g, goes, 0)
	release := held(t, b)
	publish(t, b, g, "before")
	b.Leave(ms)
	publish(t, b, g, "after")
	release()
	fence(t, b, g, 1)
	if got := goes.payloads(); !slices.Equal(got, []string{"before"}) {
		t.Errorf("the member that left got %q", got)
	}
	if got := stays.payloads(); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("the member that stays got %q", got)
	}
}

func testLeaveTwice(t *testing.T, open opener) {
	b := open(Options{Shards: 1})
	g, stays := group(t, "room"), &recorder{}
	ms := join(t, b, g, &recorder{}, 0)
	join(t, b, g, stays, 0)
	b.Leave(ms)
	b.Leave(ms)
	fence(t, b, g, 1)
	b.Leave(ms)
	publish(t, b, g, "x")
	fence(t, b, g, 1)
	if got := stays.payloads(); !slices.Equal(got, []string{"x"}) {
		t.Errorf("the other member got %q, want x", got)
	}
}

func testLeaveAtOnce(t *testing.T, open opener) {
	b := open(Options{Shards: 2})
	m := &recorder{}
	var calls atomic.Int32
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Add(1)
		g := group(t, fmt.Sprintf("room_%d", i%7))
		ms := b.Join(g, m, uint32(i), func(err error) {
			if err != nil && !errors.Is(err, bus.ErrLeft) {
				t.Errorf("done(%v)", err)
			}
			calls.Add(1)
			wg.Done()
		})
		b.Leave(ms)
	}
	b.Leave(b.Join(group(t, "room_0"), m, 0, nil)) // nobody wants to know
	wg.Wait()
	for i := range 7 {
		g := group(t, fmt.Sprintf("room_%d", i))
		fence(t, b, g, 2)
		publish(t, b, g, "x")
		fence(t, b, g, 2)
	}
	if calls.Load() != 100 || len(m.payloads()) != 0 {
		t.Errorf("done was called %d times of 100; a member that left got %q", calls.Load(), m.payloads())
	}
}

func testManyMembersLeave(t *testing.T, open opener) {
	const members = 500
	b := open(Options{Shards: 1})
	g := group(t, "room")
	all, stays := make([]*recorder, members), make([]*bus.Membership, members)
	for i := range all {
		all[i] = &recorder{}
		stays[i] = join(t, b, g, all[i], 0)
	}
	// Front, back and middle, down to a few: each leave moves another member's place.
	for i := range members - 10 {
		at := [3]int{0, len(stays) - 1, len(stays) / 2}[i%3]
		b.Leave(stays[at])
		stays, all = slices.Delete(stays, at, at+1), slices.Delete(all, at, at+1)
	}
	publish(t, b, g, "x")
	fence(t, b, g, 1)
	for i, m := range all {
		if got := m.payloads(); !slices.Equal(got, []string{"x"}) {
			t.Errorf("member %d of those who stay got %q, want x", i, got)
		}
	}
}

func testEmptyGroupsAreGone(t *testing.T, open opener) {
	reg := prometheus.NewRegistry()
	b := open(Options{Shards: 2, Registerer: reg})
	var all []*bus.Membership
	for i := range 100 {
		all = append(all, join(t, b, group(t, fmt.Sprintf("g_%d", i/2)), &recorder{}, uint32(i)))
	}
	for i := 0; i < 100; i += 2 {
		b.Leave(all[i])
	}
	if n := metric(t, reg, "fairlead_groups", ""); n != 50 {
		t.Errorf("groups = %v while each has a member, want 50", n)
	}
	for i := 1; i < 100; i += 2 {
		b.Leave(all[i])
	}
	eventually(t, "no groups", func() bool { return metric(t, reg, "fairlead_groups", "") == 0 })
	m := &recorder{}
	join(t, b, group(t, "g_7"), m, 1)
	publish(t, b, group(t, "g_7"), "again")
	fence(t, b, group(t, "g_7"), 2)
	if got := m.payloads(); !slices.Equal(got, []string{"again"}) {
		t.Errorf("a member of a group that came back got %q", got)
	}
}
