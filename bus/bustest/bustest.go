// Package bustest is the contract suite of package bus: whatever is a bus must pass [Run].
//
// It knows a bus by its methods and its metrics only. It relies on nothing but what the doc comments of bus.Local
// promise; in particular on the order in which one shard takes its joins and leaves, which lets a test wait for a
// delivery without a clock.
package bustest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// patience is how long the suite waits for what must come.
const patience = 20 * time.Second

// Bus is what is tested.
type Bus interface {
	Join(g session.Group, m bus.Member, shard uint32, done func(error)) *bus.Membership
	Leave(ms *bus.Membership)
	Publish(m bus.Message, w bus.Waiter) error
	Connected() bool
	Close(ctx context.Context) error
}

// Options are what a test asks of a bus. They mean what they mean in bus.LocalConfig.
type Options struct {
	Shards     int
	InboxBytes int
	MaxPayload int
	Registerer prometheus.Registerer
}

// Run runs the suite. open starts a new bus, connected to nobody but itself; the suite closes it.
func Run(t *testing.T, open func(t *testing.T, o Options) Bus) {
	for name, test := range map[string]func(*testing.T, opener){
		"EachMemberOnce":        testEachMemberOnce,
		"GroupsApart":           testGroupsApart,
		"OrderPerPublisher":     testOrderPerPublisher,
		"TwiceInAGroup":         testTwiceInAGroup,
		"RefusedIsCounted":      testRefusedIsCounted,
		"Coalescing":            testCoalescing,
		"BatchBytesBound":       testBatchBytesBound,
		"Encodings":             testEncodings,
		"JoinBarrier":           testJoinBarrier,
		"NothingBeforeDone":     testNothingBeforeDone,
		"LeaveBarrier":          testLeaveBarrier,
		"LeaveTwice":            testLeaveTwice,
		"LeaveAtOnce":           testLeaveAtOnce,
		"ManyMembersLeave":      testManyMembersLeave,
		"EmptyGroupsAreGone":    testEmptyGroupsAreGone,
		"Busy":                  testBusy,
		"BusyIsAllOrNothing":    testBusyIsAllOrNothing,
		"LargeMessageWaits":     testLargeMessageWaits,
		"TooLarge":              testTooLarge,
		"ZeroGroup":             testZeroGroup,
		"CloseDeliversFirst":    testCloseDeliversFirst,
		"CloseRefuses":          testCloseRefuses,
		"CloseGivesUp":          testCloseGivesUp,
		"CloseCallsWaiters":     testCloseCallsWaiters,
		"CloseDuringEverything": testCloseDuringEverything,
		"Simulation":            testSimulation,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func(o Options) Bus {
				t.Helper()
				b := open(t, o)
				t.Cleanup(func() { closeBus(t, b) })
				return b
			})
		})
	}
}

type opener func(o Options) Bus

func closeBus(t *testing.T, b Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func group(t testing.TB, name string) session.Group {
	t.Helper()
	g, err := session.ParseGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// recorder is a member that keeps what it gets.
type recorder struct {
	// Fixed before the recorder joins.
	refuse  bool               // Deliver returns false
	entered chan struct{}      // not nil: Deliver sends on it, ...
	resume  chan struct{}      // ... then waits until it is closed
	look    func(b *bus.Batch) // not nil: called with each batch

	mu      sync.Mutex
	got     []string // payloads
	batches []int    // messages of each batch
}

// blocker returns a recorder whose first Deliver waits for release. A test holds a shard still with it.
func blocker() (r *recorder, release func()) {
	r = &recorder{entered: make(chan struct{}, 1), resume: make(chan struct{})}
	return r, sync.OnceFunc(func() { close(r.resume) })
}

func (r *recorder) Deliver(b *bus.Batch) bool {
	if r.entered != nil {
		select {
		case r.entered <- struct{}{}:
		default:
		}
		<-r.resume
	}
	if r.look != nil {
		r.look(b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, len(b.Messages()))
	for _, m := range b.Messages() {
		r.got = append(r.got, string(m.Payload))
	}
	return !r.refuse
}

func (r *recorder) payloads() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.got...)
}

// waiter is a bus.Waiter as a channel.
type waiter chan struct{}

func newWaiter() waiter { return make(waiter, 1) }

func (w waiter) BusReady() { w <- struct{}{} }

// join joins and waits until that is effective.
func join(t testing.TB, b Bus, g session.Group, m bus.Member, shard uint32) *bus.Membership {
	t.Helper()
	done := make(chan error, 1)
	ms := b.Join(g, m, shard, func(err error) { done <- err })
	if err := receive(t, done, "the join's done"); err != nil {
		t.Fatalf("join: %v", err)
	}
	return ms
}

// fence returns when the first shards of the bus have taken everything that was there before: messages to g, joins and
// leaves.
func fence(t testing.TB, b Bus, g session.Group, shards int) {
	t.Helper()
	for i := range shards {
		b.Leave(join(t, b, g, &recorder{}, uint32(i)))
	}
}

// publish publishes, and tries again while the bus is busy.
func publish(t testing.TB, b Bus, g session.Group, payload string) {
	t.Helper()
	if err := publishErr(t, b, g, payload); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

func publishErr(t testing.TB, b Bus, g session.Group, payload string) error {
	t.Helper()
	for w := newWaiter(); ; {
		err := b.Publish(bus.Message{Group: g, Payload: []byte(payload)}, w)
		if err != bus.ErrBusy { //nolint:errorlint // the contract is this very value
			return err
		}
		receive(t, w, "BusReady")
	}
}

// receive waits for a value, and fails the test if none comes.
func receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-c:
	case <-timer.C:
		t.Errorf("no %s within %v", what, patience)
		panic(fmt.Sprintf("bustest: no %s", what)) // also right on a goroutine that is not the test's
	}
	return v
}

// eventually asks until ok, and fails the test if that takes too long.
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

// metric returns the value of a counter or gauge; with a label value, of that child.
func metric(t testing.TB, r prometheus.Gatherer, name, value string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if value == "" || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == value {
				if f.GetType() == dto.MetricType_GAUGE {
					return m.GetGauge().GetValue()
				}
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, value)
	return 0
}
