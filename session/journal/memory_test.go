package journal_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
	"github.com/fairlead-ws/fairlead/session/journal/journaltest"
)

func open(t testing.TB, c journal.MemoryConfig) *journal.Memory {
	t.Helper()
	m, err := journal.NewMemory(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestMemory(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) journaltest.Journal { return open(t, journal.MemoryConfig{}) })
}

// The contract holds on a ring that goes round in chunks that do not divide it, too.
func TestMemoryWithOddBound(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) journaltest.Journal {
		m := open(t, journal.MemoryConfig{MaxRecords: 4099})
		other := session.ID{Epoch: session.Epoch{9}, Number: 1}
		for i := range uint64(4099 + 4000) {
			if err := m.Append(t.Context(), left(other, i+1)); err != nil {
				t.Fatal(err)
			}
		}
		return m
	})
}

var group = func() session.Group {
	g, err := session.ParseGroup("app_1")
	if err != nil {
		panic(err)
	}
	return g
}()

func left(id session.ID, seq uint64) session.Record {
	return session.Record{Time: time.Unix(int64(seq), 0), Session: id, Seq: seq, Event: session.Left{Group: group}}
}

func TestNewMemoryRefuses(t *testing.T) {
	if _, err := journal.NewMemory(journal.MemoryConfig{MaxRecords: -1}); err == nil || !strings.Contains(err.Error(), "MaxRecords is -1") {
		t.Errorf("NewMemory with MaxRecords -1: %v", err)
	}
	for _, taken := range []string{"fairlead_journal_records_total", "fairlead_journal_evicted_total"} {
		registry := prometheus.NewRegistry()
		registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: taken, Help: "Something else."}))
		if _, err := journal.NewMemory(journal.MemoryConfig{Registerer: registry}); err == nil {
			t.Errorf("NewMemory where %s is registered: no error", taken)
		}
		if n, err := testutil.GatherAndCount(registry); err != nil || n != 1 {
			t.Errorf("after the failed NewMemory the registry has %d metrics (%v), want 1", n, err)
		}
	}
}

func TestMemoryEvictsTheOldest(t *testing.T) {
	for _, bound := range []int{1, 2, 3, 255, 256, 257, 600} {
		for _, batch := range []int{1, 2, 7, 601} { // the last is more than the whole bound
			t.Run(fmt.Sprintf("%d in batches of %d", bound, batch), func(t *testing.T) {
				registry := prometheus.NewRegistry()
				m := open(t, journal.MemoryConfig{MaxRecords: bound, Registerer: registry})
				id := session.ID{Epoch: session.Epoch{1}, Number: 1}
				seq := uint64(0)
				for seq < uint64(2*bound+batch) {
					var records []session.Record
					for range batch {
						seq++
						records = append(records, left(id, seq))
					}
					if err := m.Append(t.Context(), records...); err != nil {
						t.Fatal(err)
					}
				}
				next := seq - uint64(bound) + 1
				for r, err := range m.Epoch(t.Context(), id.Epoch) {
					if err != nil || r.Seq != next || !r.Time.Equal(time.Unix(int64(next), 0)) {
						t.Fatalf("read %+v, %v; want sequence %d", r, err, next)
					}
					next++
				}
				if next != seq+1 {
					t.Fatalf("the last record read is %d, want %d", next-1, seq)
				}
				want := fmt.Sprintf(`
					# HELP fairlead_journal_evicted_total Records that the journal in memory dropped, oldest first, to stay within its bound.
					# TYPE fairlead_journal_evicted_total counter
					fairlead_journal_evicted_total %d
				`, seq-uint64(bound))
				if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "fairlead_journal_evicted_total"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestMemoryDefaultBound(t *testing.T) {
	m := open(t, journal.MemoryConfig{})
	id := session.ID{Epoch: session.Epoch{1}, Number: 1}
	for seq := range uint64(journal.DefaultMaxRecords + 10) {
		if err := m.Append(t.Context(), left(id, seq+1)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, err := range m.Session(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 8192 {
		t.Errorf("kept %d records, want 8192", n)
	}
}

// A node's numbers go on when the records that had the earlier ones are gone.
func TestMemoryNumbersOutliveRecords(t *testing.T) {
	m := open(t, journal.MemoryConfig{MaxRecords: 1})
	node := session.ID{Epoch: session.Epoch{1}}
	for range 5 {
		if err := m.Append(t.Context(), session.Record{Session: node, Event: session.Refused{Count: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	for r, err := range m.Session(t.Context(), node) {
		if err != nil || r.Seq != 5 {
			t.Errorf("the record left has sequence %d (%v), want 5", r.Seq, err)
		}
	}
}

func TestMemoryMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := open(t, journal.MemoryConfig{MaxRecords: 2, Registerer: registry})
	id := session.ID{Epoch: session.Epoch{1}, Number: 1}
	err := m.Append(t.Context(),
		session.Record{Session: session.ID{Epoch: id.Epoch}, Event: session.NodeStarted{Node: "n"}},
		session.Record{Session: id, Seq: 1, Event: session.Opened{Identity: session.Anonymous()}},
		session.Record{Session: id, Seq: 2, Event: session.Unknown{Name: "anything", Data: []byte("{}")}},
		session.Record{Session: id, Seq: 3, Event: session.Unknown{Name: "unknown", Data: []byte("{}")}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Append(t.Context(), left(id, 4), session.Record{Session: id}); err == nil { // refused, so not counted
		t.Fatal("a record without an event is taken")
	}
	const want = `
		# HELP fairlead_journal_evicted_total Records that the journal in memory dropped, oldest first, to stay within its bound.
		# TYPE fairlead_journal_evicted_total counter
		fairlead_journal_evicted_total 2
		# HELP fairlead_journal_records_total Records appended to the journal, by the kind of their event.
		# TYPE fairlead_journal_records_total counter
		fairlead_journal_records_total{kind="closed"} 0
		fairlead_journal_records_total{kind="gap"} 0
		fairlead_journal_records_total{kind="joined"} 0
		fairlead_journal_records_total{kind="left"} 0
		fairlead_journal_records_total{kind="node_draining"} 0
		fairlead_journal_records_total{kind="node_sealed"} 0
		fairlead_journal_records_total{kind="node_started"} 1
		fairlead_journal_records_total{kind="opened"} 1
		fairlead_journal_records_total{kind="refreshed"} 0
		fairlead_journal_records_total{kind="refused"} 0
		fairlead_journal_records_total{kind="unknown"} 2
	`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestMemoryAppendMakesNoGarbage(t *testing.T) {
	m := open(t, journal.MemoryConfig{MaxRecords: 256})
	opened := session.Record{Session: session.ID{Number: 1}, Seq: 1, Event: session.Opened{Identity: session.Anonymous()}}
	for range 256 { // the one chunk is made, and full
		if err := m.Append(t.Context(), opened); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		if err := m.Append(ctx, opened); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("an append makes %v allocations, want 0", n)
	}
}

func BenchmarkMemoryAppend(b *testing.B) {
	m := open(b, journal.MemoryConfig{})
	opened := session.Record{Time: time.Now(), Session: session.ID{Number: 1}, Seq: 1, Event: session.Opened{Identity: session.Anonymous()}}
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Append(b.Context(), opened); err != nil {
			b.Fatal(err)
		}
	}
}
