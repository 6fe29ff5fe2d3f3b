package bustest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// fill publishes small messages to g until the bus is busy, and returns how many it took.
func fill(t *testing.T, b Bus, g session.Group) (n int) {
	t.Helper()
	for ; n < 1_000_000; n++ {
		err := b.Publish(bus.Message{Group: g, Payload: []byte("x")}, nil)
		if errors.Is(err, bus.ErrBusy) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("a bus that nobody reads from took a million messages")
	return 0
}

func testBusy(t *testing.T, open opener) {
	const inbox = 64 << 10
	reg := prometheus.NewRegistry()
	b := open(Options{Shards: 2, InboxBytes: inbox, Registerer: reg})
	g, m := group(t, "room"), &recorder{}
	join(t, b, g, m, 0)
	release := held(t, b)
	took := fill(t, b, g)
	if most := inbox / 64; took < most/4 || took > most {
		t.Errorf("an inbox of %d bytes took %d messages of 1 byte, which count 65 each", inbox, took)
	}
	if n := metric(t, reg, "fairlead_bus_inbox_bytes", ""); n > inbox || n < inbox/2 {
		t.Errorf("inbox_bytes = %v, want at most and nearly %d", n, inbox)
	}

	var ws []waiter
	for range 10 {
		w := newWaiter()
		if err := b.Publish(bus.Message{Group: g, Payload: []byte("x")}, w); !errors.Is(err, bus.ErrBusy) {
			t.Fatalf("Publish = %v, want ErrBusy", err)
		}
		ws = append(ws, w)
	}
	for i, w := range ws {
		if len(w) != 0 {
			t.Errorf("waiter %d was called while the inbox is full", i)
		}
	}
	if n := metric(t, reg, "fairlead_bus_busy_total", "shard"); n != 11 {
		t.Errorf("busy_total = %v, want 11", n)
	}
	join(t, b, group(t, "elsewhere"), &recorder{}, 1) // the other shard goes on
	b.Leave(b.Join(g, &recorder{}, 0, nil))           // joins and leaves are not refused

	release()
	for _, w := range ws {
		receive(t, w, "BusReady")
	}
	publish(t, b, g, "last")
	fence(t, b, g, 1)
	if got := m.payloads(); len(got) != took+1 || got[took] != "last" {
		t.Errorf("the member got %d messages, want the %d that were taken and the last one", len(got), took)
	}
	for i, w := range ws {
		if len(w) != 0 {
			t.Errorf("waiter %d was called twice", i)
		}
	}
}

func testBusyIsAllOrNothing(t *testing.T, open opener) {
	reg := prometheus.NewRegistry()
	b := open(Options{Shards: 2, InboxBytes: 8 << 10, Registerer: reg})
	g, slow, quick := group(t, "room"), &recorder{}, &recorder{}
	join(t, b, g, quick, 1)
	join(t, b, g, slow, 0)
	release := held(t, b) // shard 0 only
	took := fill(t, b, g)
	fill(t, b, g)
	// A join to another group would not tell: a shard holds a group's messages back to the end of its window. Below it is
	// seen that no more come.
	eventually(t, "the member in the free shard has what was published", func() bool { return len(quick.payloads()) == took })
	release()
	fence(t, b, g, 2)
	if s, q := slow.payloads(), quick.payloads(); len(s) != took || !slices.Equal(s, q) {
		t.Errorf("%d messages in one shard, %d in the other, %d were published", len(s), len(q), took)
	}
	// What was refused must not take room either.
	eventually(t, "empty inboxes", func() bool { return metric(t, reg, "fairlead_bus_inbox_bytes", "") == 0 })
}

func testLargeMessageWaits(t *testing.T, open opener) {
	const inbox = 16 << 10
	b := open(Options{Shards: 1, InboxBytes: inbox})
	g, m := group(t, "room"), &recorder{}
	join(t, b, g, m, 0)
	release := held(t, b)
	publish(t, b, g, "small")
	// Larger than the inbox: it waits for an empty one, also when more than half of it is free.
	w := newWaiter()
	large := bus.Message{Group: g, Payload: []byte(strings.Repeat("L", 2*inbox))}
	if err := b.Publish(large, w); !errors.Is(err, bus.ErrBusy) {
		t.Fatalf("Publish of a large message to an inbox with a small one = %v, want ErrBusy", err)
	}
	if len(w) != 0 {
		t.Error("the waiter was called though its message does not fit")
	}
	release()
	receive(t, w, "BusReady")
	fence(t, b, g, 1)
	if err := b.Publish(large, nil); err != nil {
		t.Errorf("Publish of a large message to an empty inbox = %v", err)
	}
	fence(t, b, g, 1)
	if got := m.payloads(); len(got) != 2 || len(got[1]) != 2*inbox {
		t.Errorf("got %d messages", len(got))
	}
}

func testTooLarge(t *testing.T, open opener) {
	const most = 1000
	b := open(Options{Shards: 1, MaxPayload: most})
	g, m := group(t, "room"), &recorder{}
	join(t, b, g, m, 0)
	w := newWaiter()
	err := b.Publish(bus.Message{Group: g, Payload: make([]byte, most+1)}, w)
	if !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("Publish of %d bytes = %v, want ErrTooLarge", most+1, err)
	}
	publish(t, b, g, strings.Repeat("x", most))
	fence(t, b, g, 1)
	if got := m.payloads(); len(got) != 1 || len(got[0]) != most || len(w) != 0 {
		t.Errorf("got %d messages, BusReady %d times", len(got), len(w))
	}
}

func testZeroGroup(t *testing.T, open opener) {
	b := open(Options{})
	if err := b.Publish(bus.Message{Payload: []byte("x")}, nil); !errors.Is(err, session.ErrGroup) {
		t.Errorf("Publish = %v, want ErrGroup", err)
	}
	done := make(chan error, 1)
	ms := b.Join(session.Group{}, &recorder{}, 0, func(err error) { done <- err })
	if err := receive(t, done, "done"); !errors.Is(err, session.ErrGroup) || ms == nil {
		t.Errorf("Join = %v, done(%v), want ErrGroup", ms, err)
	}
	b.Leave(ms)
	b.Leave(b.Join(session.Group{}, &recorder{}, 0, nil))
}
