package bustest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/bus"
)

func numbered(n int) []string {
	var s []string
	for i := range n {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

func testEachMemberOnce(t *testing.T, open opener) {
	const shards, members, messages = 3, 50, 200
	reg := prometheus.NewRegistry()
	b := open(Options{Shards: shards, Registerer: reg})
	if !b.Connected() {
		t.Error("Connected() = false")
	}
	g := group(t, "app_1")
	all := make([]*recorder, members)
	for i := range all {
		all[i] = &recorder{}
		join(t, b, g, all[i], uint32(i))
	}
	for _, p := range numbered(messages) {
		publish(t, b, g, p)
	}
	fence(t, b, g, shards)
	for i, m := range all {
		if got := m.payloads(); !slices.Equal(got, numbered(messages)) {
			t.Errorf("member %d got %d messages, %q ...; want each of %d once, in order", i, len(got), got[:min(3, len(got))], messages)
		}
	}
	if n := metric(t, reg, "fairlead_deliveries_total", ""); n != members*messages {
		t.Errorf("deliveries_total = %v, want %d", n, members*messages)
	}
	if n := metric(t, reg, "fairlead_bus_published_total", "local"); n != messages {
		t.Errorf("published_total = %v, want %d", n, messages)
	}
}

func testGroupsApart(t *testing.T, open opener) {
	const shards, groups = 2, 1000
	reg := prometheus.NewRegistry()
	b := open(Options{Shards: shards, Registerer: reg})
	all := make([]*recorder, groups)
	for i := range all {
		all[i] = &recorder{}
		join(t, b, group(t, fmt.Sprintf("g.%d", i)), all[i], uint32(i))
	}
	if n := metric(t, reg, "fairlead_groups", ""); n != groups {
		t.Errorf("groups = %v, want %d", n, groups)
	}
	for round := range 3 {
		for i := range all {
			publish(t, b, group(t, fmt.Sprintf("g.%d", i)), fmt.Sprintf("%d in %d", round, i))
		}
	}
	publish(t, b, group(t, "g-0"), "to nobody")
	for i, m := range all {
		fence(t, b, group(t, fmt.Sprintf("g.%d", i)), shards) // nothing is said about the order across groups
		want := []string{fmt.Sprintf("0 in %d", i), fmt.Sprintf("1 in %d", i), fmt.Sprintf("2 in %d", i)}
		if got := m.payloads(); !slices.Equal(got, want) {
			t.Errorf("member of g.%d got %q, want %q", i, got, want)
		}
	}
}

func testOrderPerPublisher(t *testing.T, open opener) {
	const shards, publishers, messages = 2, 4, 2000
	b := open(Options{Shards: shards, InboxBytes: 16 << 10})
	g := group(t, "room")
	all := make([]*recorder, 4)
	for i := range all {
		all[i] = &recorder{}
		join(t, b, g, all[i], uint32(i))
	}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range messages {
				publish(t, b, g, fmt.Sprintf("%d:%d", p, i))
			}
		})
	}
	wg.Wait()
	fence(t, b, g, shards)
	for i, m := range all {
		var next [publishers]int
		for _, payload := range m.payloads() {
			var p, n int
			if _, err := fmt.Sscanf(payload, "%d:%d", &p, &n); err != nil {
				t.Fatal(err)
			}
			if n != next[p] {
				t.Fatalf("member %d: publisher %d: got %d, want %d", i, p, n, next[p])
			}
			next[p]++
		}
		if next != [publishers]int{messages, messages, messages, messages} {
			t.Errorf("member %d got %v messages of the publishers, want %d of each", i, next, messages)
		}
	}
}

func testTwiceInAGroup(t *testing.T, open opener) {
	b := open(Options{Shards: 1})
	g, m := group(t, "room"), &recorder{}
	first := join(t, b, g, m, 0)
	join(t, b, g, m, 0)
	publish(t, b, g, "a")
	fence(t, b, g, 1)
	b.Leave(first)
	publish(t, b, g, "b")
	fence(t, b, g, 1)
	if got := m.payloads(); !slices.Equal(got, []string{"a", "a", "b"}) {
		t.Errorf("got %q, want a twice, then b once", got)
	}
}

func testRefusedIsCounted(t *testing.T, open opener) {
	reg := prometheus.NewRegistry()
	b := open(Options{Shards: 1, Registerer: reg})
	g, good, bad := group(t, "room"), &recorder{}, &recorder{refuse: true}
	join(t, b, g, good, 0)
	join(t, b, g, bad, 0)
	for _, p := range numbered(5) {
		publish(t, b, g, p)
	}
	fence(t, b, g, 1)
	if n := metric(t, reg, "fairlead_bus_dropped_total", "member"); n != 5 {
		t.Errorf(`dropped_total{reason="member"} = %v, want 5`, n)
	}
	if n := metric(t, reg, "fairlead_deliveries_total", ""); n != 5 {
		t.Errorf("deliveries_total = %v, want 5", n)
	}
	if got := bad.payloads(); len(got) != 5 {
		t.Errorf("the member that refuses was asked for %d messages, want 5: it stays one until it leaves", len(got))
	}
}

// held joins a blocker to its own group in shard 0 and returns when that shard stands still.
func held(t *testing.T, b Bus) (release func()) {
	t.Helper()
	r, release := blocker()
	t.Cleanup(release)
	g := group(t, "held")
	join(t, b, g, r, 0)
	publish(t, b, g, "stop")
	receive(t, r.entered, "delivery to the blocker")
	return release
}

func testCoalescing(t *testing.T, open opener) {
	b := open(Options{Shards: 1})
	g, m := group(t, "room"), &recorder{}
	join(t, b, g, m, 0)
	publish(t, b, g, "alone")
	fence(t, b, g, 1)
	release := held(t, b)
	for _, p := range numbered(1000) {
		publish(t, b, g, p)
	}
	release()
	fence(t, b, g, 1)
	if got := m.payloads(); !slices.Equal(got, append([]string{"alone"}, numbered(1000)...)) {
		t.Errorf("got %d messages, want 1001 in order", len(got))
	}
	if most := slices.Max(m.batches); most < 2 || most > 64 {
		t.Errorf("the largest batch has %d messages, want 2 to 64", most)
	}
	if len(m.batches) > 1+1000/32 {
		t.Errorf("1000 waiting messages came in %d batches", len(m.batches)-1)
	}
}

func testBatchBytesBound(t *testing.T, open opener) {
	const most = 64 << 10
	b := open(Options{Shards: 1})
	g := group(t, "room")
	var sizes []int
	m := &recorder{look: func(b *bus.Batch) {
		n := len(b.Bytes(framed{}))
		sizes = append(sizes, n)
		if n > most && len(b.Messages()) > 1 {
			t.Errorf("a batch of %d messages has %d bytes", len(b.Messages()), n)
		}
	}}
	join(t, b, g, m, 0)
	release := held(t, b)
	for range 20 {
		publish(t, b, g, strings.Repeat("x", 10_000))
	}
	publish(t, b, g, strings.Repeat("x", 100_000))
	publish(t, b, g, "y")
	release()
	fence(t, b, g, 1)
	total := 0
	for _, n := range sizes {
		total += n
	}
	if want := 20*10_002 + 100_002 + 3; total != want || slices.Max(sizes) != 100_002 {
		t.Errorf("batches of %v bytes: %d together, want %d", sizes, total, want)
	}
}

// framed is an Encoding with a small header, quoted one with a large one.
type (
	framed struct{}
	quoted struct{ mark string }
)

func (framed) AppendMessage(dst []byte, m *bus.Message) []byte {
	dst = append(dst, '<')
	dst = append(dst, m.Payload...)
	return append(dst, '>')
}

func (q quoted) AppendMessage(dst []byte, m *bus.Message) []byte {
	return fmt.Appendf(dst, "%s%t %s %q%s", q.mark, m.Binary, m.Group, m.Payload, q.mark)
}

func testEncodings(t *testing.T, open opener) {
	b := open(Options{Shards: 1})
	g := group(t, "room")
	long := strings.Repeat("#", 50)
	var kept [2][][]byte
	var members [2]*recorder
	for i := range members {
		members[i] = &recorder{look: func(b *bus.Batch) {
			if b.Group() != g {
				t.Errorf("the batch is for %v", b.Group())
			}
			for _, e := range []bus.Encoding{framed{}, quoted{"|"}, quoted{long}, quoted{"|"}, quoted{"/"}, framed{}} {
				kept[i] = append(kept[i], b.Bytes(e))
			}
		}}
		join(t, b, g, members[i], 0)
	}
	release := held(t, b)
	for i, p := range []string{"a", "", "b"} {
		if err := b.Publish(bus.Message{Group: g, Payload: []byte(p), Binary: i == 2}, nil); err != nil {
			t.Fatal(err)
		}
	}
	release()
	fence(t, b, g, 1)
	publish(t, b, g, "later") // in another batch, which must not touch the first one's bytes
	fence(t, b, g, 1)

	q := func(mark string) string {
		return fmt.Sprintf(`%[1]sfalse room "a"%[1]s%[1]sfalse room ""%[1]s%[1]strue room "b"%[1]s`, mark)
	}
	want := []string{"<a><><b>", q("|"), q(long), q("|"), q("/"), "<a><><b>"}
	for i := range want {
		if got := string(kept[0][i]); got != want[i] {
			t.Errorf("encoding %d: %q, want %q", i, got, want[i])
		}
		if &kept[0][i][0] != &kept[1][i][0] {
			t.Errorf("encoding %d was made twice for one batch", i)
		}
		if cap(kept[0][i]) != len(kept[0][i]) {
			t.Errorf("encoding %d has room behind it that two holders would share", i)
		}
	}
	if !bytes.Equal(kept[0][6], []byte("<later>")) {
		t.Errorf("the second batch begins with %q", kept[0][6])
	}
}
