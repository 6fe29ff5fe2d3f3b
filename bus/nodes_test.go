package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

func group(t testing.TB, name string) session.Group {
	t.Helper()
	g, err := session.ParseGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// listener is a member that keeps what it gets, a text message as t:PAYLOAD and a binary one as b:PAYLOAD.
type listener struct {
	mu  sync.Mutex
	got []string
}

func (l *listener) Deliver(b *bus.Batch) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range b.Messages() {
		kind := "t:"
		if m.Binary {
			kind = "b:"
		}
		l.got = append(l.got, kind+string(m.Payload))
	}
	return true
}

func (l *listener) messages() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (l *listener) has(want ...string) func() bool {
	return func() bool { return slices.Equal(l.messages(), want) }
}

// join joins and waits until that is effective.
func join(t testing.TB, b *bus.NATS, g session.Group, m bus.Member) *bus.Membership {
	t.Helper()
	done := make(chan error, 1)
	ms := b.Join(g, m, 0, func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the join is not done")
	}
	return ms
}

func publish(t testing.TB, b *bus.NATS, g session.Group, payload string) {
	t.Helper()
	if err := b.Publish(bus.Message{Group: g, Payload: []byte(payload)}, nil); err != nil {
		t.Fatal(err)
	}
}

// node is a bus that is connected by TCP, as each of several nodes is, with its metrics.
type node struct {
	*bus.NATS
	metrics *prometheus.Registry
}

func startNode(t testing.TB, c bus.NATSConfig) node {
	t.Helper()
	reg := prometheus.NewRegistry()
	c.Registerer = reg
	return node{startNATS(t, c), reg}
}

// value returns the value of a counter or gauge; with a label value, of that child.
func (n node) value(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, label)
	return 0
}

func TestNodesDeliverOnce(t *testing.T) {
	const publishers, messages = 4, 1000
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	nodes := [2]node{startNode(t, bus.NATSConfig{URL: url}), startNode(t, bus.NATSConfig{URL: url})}
	g := group(t, "app.1234")
	var members [4]listener
	for i := range members {
		join(t, nodes[i%2].NATS, g, &members[i])
	}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range messages {
				publish(t, nodes[p%2].NATS, g, fmt.Sprintf("%d %d", p, i))
			}
		})
	}
	wg.Wait()
	for i := range members {
		m := &members[i]
		eventually(t, fmt.Sprintf("member %d has all messages", i), func() bool { return len(m.messages()) >= publishers*messages })
		var next [publishers]int
		for _, s := range m.messages() {
			var p, n int
			if _, err := fmt.Sscanf(s, "t:%d %d", &p, &n); err != nil {
				t.Fatal(err)
			}
			if n != next[p] {
				t.Fatalf("member %d: publisher %d: got %d, want %d", i, p, n, next[p])
			}
			next[p]++
		}
	}
	for i, n := range nodes {
		if v := n.value(t, "fairlead_bus_published_total", "remote"); v != publishers*messages/2 {
			t.Errorf("node %d: %v messages came from elsewhere, want %d: NATS gave some back, or twice", i, v, publishers*messages/2)
		}
	}
}

// A join is done when the server has the subscription: what is published elsewhere right after must come.
func TestJoinIsConfirmed(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	a, b := startNode(t, bus.NATSConfig{URL: url, Pending: 10_000}), startNode(t, bus.NATSConfig{URL: url})
	var members [200]listener
	for i := range members {
		g := group(t, fmt.Sprintf("g_%d", i))
		join(t, a.NATS, g, &members[i])
		publish(t, b.NATS, g, "x")
	}
	for i := range members {
		eventually(t, fmt.Sprintf("member %d has its message", i), members[i].has("t:x"))
	}
	// All at once: the round trips are shared.
	var all listener
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range 5000 {
		wg.Add(1)
		a.Join(group(t, fmt.Sprintf("h_%d", i)), &all, 0, func(error) { wg.Done() })
	}
	wg.Wait()
	t.Logf("5000 joins to new groups in %v", time.Since(begun))
	for i := range 5000 {
		publish(t, b.NATS, group(t, fmt.Sprintf("h_%d", i)), "x")
	}
	eventually(t, "each of 5000 groups has its message", func() bool { return len(all.messages()) == 5000 })
}

func TestGroupsAndClustersApart(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	other, err := bus.ParseCluster("other")
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := startNode(t, bus.NATSConfig{URL: url}), startNode(t, bus.NATSConfig{URL: url}), startNode(t, bus.NATSConfig{URL: url, Cluster: other})
	names := []string{"a", "a.b", "a-b", "a.B", "a..b", "a.b.", "fl.fairlead.g.a"}
	members := make([]listener, len(names))
	for i, name := range names {
		join(t, a.NATS, group(t, name), &members[i])
	}
	var elsewhere listener
	join(t, c.NATS, group(t, "a"), &elsewhere)
	nc := client(t, url)
	for _, subject := range []string{
		"fl.fairlead.g.a.b", "fl.fairlead.g", "fl.fairlead.g.A", "fl.fairlead.h.a", "fl.fairlead.g.a~", "fl.fairlead.g.>", "fl.fairlead.g.*",
	} {
		if err := nc.Publish(subject, []byte("to "+subject)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		publish(t, b.NATS, group(t, name), name)
	}
	for i, name := range names {
		eventually(t, "the member of "+name+" has its message", func() bool { return len(members[i].messages()) > 0 })
	}
	for i, name := range names {
		if !members[i].has("t:" + name)() {
			t.Errorf("the member of %q got %q", name, members[i].messages())
		}
	}
	publish(t, c.NATS, group(t, "a"), "in other")
	if got := elsewhere.messages(); len(got) > 1 || !members[0].has("t:a")() {
		t.Errorf("across clusters: %q and %q", got, members[0].messages())
	}
}

func TestOutsidePublisher(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	n := startNode(t, bus.NATSConfig{URL: url})
	g := group(t, "app.1")
	var m listener
	join(t, n.NATS, g, &m)
	nc := client(t, url)
	kind := func(s string) nats.Header { return nats.Header{"Fairlead-Type": {s}} }
	for _, msg := range []nats.Msg{
		{Data: []byte("zoë")},
		{Data: []byte("\xff\x00")},
		{Data: []byte("ascii"), Header: kind("binary")},
		{Data: []byte("text"), Header: kind("text")},
		{Data: []byte("\xff"), Header: kind("text")},    // malformed
		{Data: []byte("new"), Header: kind("protobuf")}, // malformed: of a later version
		{Data: []byte("other header"), Header: nats.Header{"X-Trace": {"1"}}},
		{Data: nil},
		{Data: []byte("asks"), Reply: "inbox.1"},
	} {
		msg.Subject = bus.Subject(bus.Cluster{}, g)
		if err := nc.PublishMsg(&msg); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"t:zoë", "b:\xff\x00", "b:ascii", "t:text", "t:other header", "t:", "t:asks"}
	eventually(t, "the last message is there", func() bool { return len(m.messages()) >= len(want) })
	if got := m.messages(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if v := n.value(t, "fairlead_bus_dropped_total", "malformed"); v != 2 {
		t.Errorf("malformed = %v, want 2", v)
	}
}

func TestOutsideListener(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	n, peer := startNode(t, bus.NATSConfig{URL: url}), startNode(t, bus.NATSConfig{URL: url})
	g := group(t, "app.1")
	var m listener
	join(t, peer.NATS, g, &m)
	sub, err := client(t, url).SubscribeSync("fl.fairlead.g.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the subscription is there", func() bool { // it has a connection of its own
		publish(t, n.NATS, group(t, "probe"), "x")
		_, err := sub.NextMsg(10 * time.Millisecond)
		return err == nil
	})
	for _, binary := range []bool{false, true} {
		if err := n.Publish(bus.Message{Group: g, Binary: binary, Payload: []byte("hi")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for len(got) < 2 {
		msg, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if msg.Subject != "fl.fairlead.g.probe" {
			got = append(got, fmt.Sprintf("%s %s %q", msg.Subject, msg.Data, msg.Header.Get("Fairlead-Type")))
		}
	}
	want := []string{`fl.fairlead.g.app~1 hi ""`, `fl.fairlead.g.app~1 hi "binary"`}
	if !slices.Equal(got, want) {
		t.Errorf("a NATS client heard %q, want %q", got, want)
	}
	eventually(t, "the other node has both", m.has("t:hi", "b:hi"))
}

func TestServerLimit(t *testing.T) {
	const limit, header = 1000, len("NATS/1.0\r\nFairlead-Type: binary\r\n\r\n")
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", MaxPayload: limit}).URL()
	a, b := startNode(t, bus.NATSConfig{URL: url}), startNode(t, bus.NATSConfig{URL: url})
	g := group(t, "g")
	var here, there listener
	join(t, a.NATS, g, &here)
	join(t, b.NATS, g, &there)
	send := func(n int, binary bool) error {
		return a.Publish(bus.Message{Group: g, Binary: binary, Payload: []byte(strings.Repeat("x", n))}, nil)
	}
	for _, binary := range []bool{false, true} {
		most := limit
		if binary {
			most -= header
		}
		if err := send(most+1, binary); err != bus.ErrTooLarge { //nolint:errorlint // the contract is this very value
			t.Errorf("Publish of %d bytes, binary %t: %v, want ErrTooLarge", most+1, binary, err)
		}
		if err := send(most, binary); err != nil {
			t.Errorf("Publish of %d bytes, binary %t: %v", most, binary, err)
		}
	}
	eventually(t, "both messages of the largest size are there", func() bool { return len(there.messages()) == 2 })
	if got := here.messages(); len(got) != 2 {
		t.Errorf("%d messages on the publisher's node, want 2: one that is too large reaches nobody", len(got))
	}
	if v := a.value(t, "fairlead_bus_dropped_total", "rejected"); v != 0 {
		t.Errorf("rejected = %v, want 0", v)
	}
}

// A message that a shard has no room for must not take room in the queue to NATS.
func TestBusyShardLeavesTheQueueAlone(t *testing.T) {
	n := startNode(t, bus.NATSConfig{Embedded: startServer(t, bus.EmbeddedConfig{}), InboxBytes: 1 << 10, QueueBytes: 64 << 10})
	g, m := group(t, "g"), gate{open: make(chan struct{})}
	join(t, n.NATS, g, &m)
	published := 0
	for busy := 0; busy < 1000; {
		switch err := n.Publish(bus.Message{Group: g, Payload: make([]byte, 100)}, nil); {
		case err == nil:
			published++
		case errors.Is(err, bus.ErrBusy):
			busy++
		default:
			t.Fatal(err)
		}
	}
	eventually(t, "the queue is empty", func() bool { return n.value(t, "fairlead_publisher_queue_bytes", "") == 0 })
	if v := n.value(t, "fairlead_bus_busy_total", "publisher"); v != 0 {
		t.Errorf("the queue was full %v times, of %d messages", v, published)
	}
	close(m.open)
	eventually(t, "all messages are delivered", func() bool { return len(m.messages()) == published })
}

func TestMetricsOfBothAreTheSame(t *testing.T) {
	reg := prometheus.NewRegistry()
	b, err := bus.NewLocal(bus.LocalConfig{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, b)
	n := startNode(t, bus.NATSConfig{Embedded: startServer(t, bus.EmbeddedConfig{})})
	names := func(r *prometheus.Registry) (s []string) {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			s = append(s, f.GetName())
		}
		return s
	}
	if l, r := names(reg), names(n.metrics); !slices.Equal(l, r) {
		t.Errorf("Local has %q, NATS %q", l, r)
	}
	if problems, err := testutil.GatherAndLint(n.metrics); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
