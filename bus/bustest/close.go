package bustest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/fairlead-ws/fairlead/bus"
)

func testCloseDeliversFirst(t *testing.T, open opener) {
	b := open(Options{Shards: 2})
	g, all := group(t, "room"), [2]*recorder{{}, {}}
	for i, m := range all {
		join(t, b, g, m, uint32(i))
	}
	for _, p := range numbered(500) {
		publish(t, b, g, p)
	}
	closeBus(t, b)
	for i, m := range all {
		if got := m.payloads(); len(got) != 500 {
			t.Errorf("member %d had got %d of 500 messages when Close returned", i, len(got))
		}
	}
}

func testCloseRefuses(t *testing.T, open opener) {
	b := open(Options{Shards: 1})
	g, m := group(t, "room"), &recorder{}
	ms := join(t, b, g, m, 0)
	closeBus(t, b)
	closeBus(t, b)
	w := newWaiter()
	if err := b.Publish(bus.Message{Group: g, Payload: []byte("x")}, w); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Publish = %v, want ErrClosed", err)
	}
	done := make(chan error, 1)
	late := b.Join(g, m, 0, func(err error) { done <- err })
	if err := receive(t, done, "done"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("done(%v), want ErrClosed", err)
	}
	b.Leave(late)
	b.Leave(ms)
	if len(m.payloads()) != 0 || len(w) != 0 {
		t.Errorf("after Close: got %q, BusReady %d times", m.payloads(), len(w))
	}
}

func testCloseGivesUp(t *testing.T, open opener) {
	b := open(Options{Shards: 1})
	g, m := group(t, "room"), &recorder{}
	join(t, b, g, m, 0)
	release := held(t, b)
	publish(t, b, g, "never")
	done := make(chan error, 1)
	b.Join(g, &recorder{}, 0, func(err error) { done <- err })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close = %v while a member blocks, want the context's error", err)
	}
	release()
	closeBus(t, b)
	if got := m.payloads(); len(got) != 0 {
		t.Errorf("got %q after Close gave up", got)
	}
	if err := receive(t, done, "done"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("done(%v), want ErrClosed", err)
	}
}

func testCloseCallsWaiters(t *testing.T, open opener) {
	b := open(Options{Shards: 1, InboxBytes: 4 << 10})
	g := group(t, "room")
	join(t, b, g, &recorder{}, 0)
	release := held(t, b)
	fill(t, b, g)
	w := newWaiter()
	if err := b.Publish(bus.Message{Group: g, Payload: []byte("x")}, w); !errors.Is(err, bus.ErrBusy) {
		t.Fatalf("Publish = %v, want ErrBusy", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close = %v", err)
	}
	receive(t, w, "BusReady") // it would wait for ever
	release()
}

// testCloseDuringEverything closes while others join, leave and publish: each done and each BusReady must still come.
func testCloseDuringEverything(t *testing.T, open opener) {
	b := open(Options{Shards: 2, InboxBytes: 4 << 10})
	ready := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				g := group(t, fmt.Sprintf("g_%d", n%5))
				if err := publishErr(t, b, g, "x"); err != nil {
					if !errors.Is(err, bus.ErrClosed) {
						t.Errorf("Publish = %v", err)
					}
					return
				}
				runtime.Gosched()
			}
		})
		wg.Go(func() {
			for n := 0; ; n++ {
				done := make(chan error, 1)
				ms := b.Join(group(t, fmt.Sprintf("g_%d", n%5)), &recorder{}, uint32(i), func(err error) { done <- err })
				err := receive(t, done, "done")
				b.Leave(ms)
				if n == 20 {
					ready <- struct{}{}
				}
				if err != nil {
					if !errors.Is(err, bus.ErrClosed) {
						t.Errorf("done(%v)", err)
					}
					return
				}
			}
		})
	}
	for range 4 {
		receive(t, ready, "joins")
	}
	closeBus(t, b)
	wg.Wait()
}
