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
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	records := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_journal_records_total",
		Help: "Records appended to the journal, by the kind of their event.",
	}, []string{"kind"})
	m := &metrics{
		records: make(map[session.Kind]prometheus.Counter),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fairlead_journal_evicted_total",
			Help: "Records that the journal in memory dropped, oldest first, to stay within its bound.",
		}),
	}
	for _, kind := range append(session.Kinds(), kindUnknown) {
		m.records[kind] = records.WithLabelValues(string(kind))
	}
	if r == nil {
		return m, nil
	}
	if err := r.Register(records); err != nil {
		return nil, err
	}
	if err := r.Register(m.evicted); err != nil {
		r.Unregister(records)
		return nil, err
	}
	return m, nil
}

func (m *metrics) count(kind session.Kind) {
	c, ok := m.records[kind]
	if !ok {
		c = m.records[kindUnknown]
	}
	c.Inc()
}
