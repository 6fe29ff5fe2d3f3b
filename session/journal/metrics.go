package journal

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/session"
)

// kindUnknown is the label of records whose kind this version does not know.
const kindUnknown session.Kind = "unknown"

type metrics struct {
	records map[session.Kind]prometheus.Counter // a child for each known kind, and one for the others
	evicted prometheus.Counter

	// Of a journal in JetStream only.
	appends   prometheus.Counter
	retries   prometheus.Counter
	batch     prometheus.Histogram
	seconds   prometheus.Histogram
	dropped   prometheus.Counter
	gaps      map[string]prometheus.Counter // a child for each reason
	purged    prometheus.Counter
	connected prometheus.Gauge

	collectors []prometheus.Collector
}

// newMetrics returns the metrics, registered with r unless that is nil: those of a journal in memory, and those of one in
// JetStream if it says how many bytes wait.
func newMetrics(r prometheus.Registerer, buffered func() float64) (*metrics, error) {
	m := &metrics{records: make(map[session.Kind]prometheus.Counter), gaps: make(map[string]prometheus.Counter)}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.collectors = append(m.collectors, c)
		return c
	}
	records := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_journal_records_total",
		Help: "Records appended to the journal, by the kind of their event.",
	}, []string{"kind"})
	for _, kind := range append(session.Kinds(), kindUnknown) {
		m.records[kind] = records.WithLabelValues(string(kind))
	}
	m.collectors = append(m.collectors, records)
	m.evicted = counter("fairlead_journal_evicted_total", "Records that the journal in memory dropped, oldest first, to stay within its bound.")
	if buffered != nil {
		m.ofLog(counter, buffered)
	}
	if r == nil {
		return m, nil
	}
	for i, c := range m.collectors {
		if err := r.Register(c); err != nil {
			for _, c := range m.collectors[:i] {
				r.Unregister(c)
			}
			return nil, err
		}
	}
	return m, nil
}

// ofLog makes the metrics of a journal in JetStream.
func (m *metrics) ofLog(counter func(name, help string) prometheus.Counter, buffered func() float64) {
	m.appends = counter("fairlead_journal_appends_total", "Messages that the journal's log took, each with one or many records.")
	m.retries = counter("fairlead_journal_retries_total", "Times that the journal's log did not take a message, which was tried again.")
	m.dropped = counter("fairlead_journal_dropped_total", "Records that the journal did not keep: its buffer was full while the log was away, or it was closed.")
	m.purged = counter("fairlead_journal_purged_total", "Epochs of nodes that ended long ago, which this node removed from the journal's log.")
	m.batch = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "fairlead_journal_batch_records", Help: "Records of a message that the journal's log took.",
		Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500}, NativeHistogramBucketFactor: 1.1,
	})
	m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "fairlead_journal_append_seconds", Help: "Time until the journal's log had a message, from the first attempt.",
		Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 30}, NativeHistogramBucketFactor: 1.1,
	})
	gaps := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_journal_gaps_total",
		Help: "Gaps that this node marked in the journal's log, by reason.",
	}, []string{"reason"})
	for _, reason := range []string{GapBufferFull, GapStoreLost, GapRejected} {
		m.gaps[reason] = gaps.WithLabelValues(reason)
	}
	m.connected = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fairlead_journal_connected", Help: "1 while the journal's log takes what it is given, else 0.",
	})
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fairlead_journal_buffered_bytes", Help: "Bytes of records that wait for the journal's log.",
	}, buffered)
	m.collectors = append(m.collectors, m.batch, m.seconds, gaps, m.connected, waiting)
}

func (m *metrics) count(kind session.Kind) {
	c, ok := m.records[kind]
	if !ok {
		c = m.records[kindUnknown]
	}
	c.Inc()
}
