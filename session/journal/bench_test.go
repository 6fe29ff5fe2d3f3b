package journal_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
	"github.com/fairlead-ws/fairlead/session/journal/journaltest"
)

// cpu returns the time that this process has had on processors: of the journal, of nats.go, and of the server inside.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// onFiles returns a journal in a server of this process, as a node with an embedded one has, on the file store.
func onFiles(b *testing.B, mode journal.Mode) node {
	o := options(b, 0)
	o.DontListen = true
	o.JetStreamMaxStore = 4 << 30
	s, _ := runServer(b, o)
	return start(b, journal.JetStreamConfig{Conn: connect(b, "", nats.InProcessServer(s)), Mode: mode})
}

// jwt is an opening as a node with tokens has it.
func (n node) jwt(number uint64) session.Record {
	now := time.Now()
	return session.Record{Time: now, Session: n.id(number), Seq: 1, Event: session.Opened{
		Identity: &session.Identity{Subject: "4242", Source: "jwt", Expires: now.Add(time.Hour), IssuedAt: now, TokenID: "b3e0"},
		Route:    "/ws/{group}", Protocol: "raw", Groups: []session.Group{group},
	}}
}

// BenchmarkJetStreamAppend writes as fast as the log takes it, and reports the processor's time of each event.
func BenchmarkJetStreamAppend(b *testing.B) {
	n := onFiles(b, journal.Degrade)
	number, before := uint64(0), cpu(b)
	for b.Loop() {
		number++
		n.append(b, n.jwt(number))
		if number%4096 == 0 { // do not outrun the log
			if err := n.Healthy(); err != nil {
				b.Fatal(err)
			}
			for n.value(b, "fairlead_journal_buffered_bytes", "") > 4<<20 {
				runtime.Gosched()
			}
		}
	}
	n.settle(b)
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1000, "cpu-us/event")
	b.ReportMetric(float64(number)/n.value(b, "fairlead_journal_appends_total", ""), "events/message")
	if v := n.value(b, "fairlead_journal_dropped_total", ""); v > 0 {
		b.Fatalf("%v events were dropped", v)
	}
}

// BenchmarkRate appends so many events in a second, half of them openings, and reports the processor's time of each. Most of
// it is that of a process that wakes up so often: the difference between the two journals is what the log costs.
func BenchmarkRate(b *testing.B) {
	for _, rate := range []int{100, 1000} {
		b.Run(fmt.Sprintf("memory/%d", rate), func(b *testing.B) {
			n := onFiles(b, journal.Degrade) // the server is there, too
			atRate(b, n, open(b, journal.MemoryConfig{}), rate)
		})
		b.Run(fmt.Sprintf("jetstream/%d", rate), func(b *testing.B) {
			n := onFiles(b, journal.Degrade)
			atRate(b, n, n, rate)
			b.ReportMetric(float64(b.N)/n.value(b, "fairlead_journal_appends_total", ""), "events/message")
		})
	}
}

func atRate(b *testing.B, n node, j journaltest.Journal, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	before, number := cpu(b), uint64(0)
	for b.Loop() {
		<-tick.C
		number++
		r := n.jwt(number)
		if number%2 == 0 {
			r = n.closed(number-1, 2)
		}
		if err := j.Append(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	n.settle(b)
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1000, "cpu-us/event")
}

// BenchmarkJetStreamRequire has each opening wait for the log, in 100 handshakes at once.
func BenchmarkJetStreamRequire(b *testing.B) {
	n := onFiles(b, journal.Require)
	before := cpu(b)
	b.SetParallelism(50)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n.append(b, n.jwt(1))
		}
	})
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1000, "cpu-us/event")
}

// BenchmarkJetStreamIdle reports what stays in memory, of the journal and the server together, when the log has so many
// open sessions and nothing has happened for some ten seconds: a few megabytes, in which the server has what came last, and
// no more with more sessions. Before, the server has all that was written in ten seconds.
func BenchmarkJetStreamIdle(b *testing.B) {
	for _, sessions := range []int{15_000, 60_000, 240_000} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			for b.Loop() {
				n := onFiles(b, journal.Degrade)
				n.append(b, n.jwt(1))
				n.settle(b)
				before := heap()
				for i := range uint64(sessions) { //nolint:gosec // a small number
					n.append(b, n.jwt(2+i))
					if i%4096 == 0 {
						n.settle(b)
					}
				}
				n.settle(b)
				b.ReportMetric((heap()-before)/(1<<20), "MiB-at-once")
				kept := 0.0
				eventually(b, "the server lets go of what it wrote", func() bool {
					kept = heap() - before
					return kept < 9<<20
				})
				b.ReportMetric(kept/(1<<20), "MiB")
				b.ReportMetric(kept/float64(sessions), "B/session")
			}
		})
	}
}

// heap returns the bytes that are in use.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// settle waits until everything is written.
func (n node) settle(t testing.TB) {
	t.Helper()
	eventually(t, "everything is written", func() bool { return n.value(t, "fairlead_journal_buffered_bytes", "") == 0 })
}
