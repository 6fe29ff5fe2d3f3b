package bus

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// peersMetrics is what the Peers count.
type peersMetrics struct {
	asksAnswered, asksFailed, asksMissing                               prometheus.Counter
	answersOK, answersError, answersUnknown, answersTooLarge, malformed prometheus.Counter

	all []prometheus.Collector
}

func newPeersMetrics(peers func() int) *peersMetrics {
	asks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_peer_asks_total", Help: "Questions to other nodes, one for each node asked, by what came of it.",
	}, []string{"result"})
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_peer_answers_total", Help: "Questions of other nodes that this one answered, by how.",
	}, []string{"result"})
	m := &peersMetrics{
		asksAnswered: asks.WithLabelValues("answered"), asksFailed: asks.WithLabelValues("failed"),
		asksMissing: asks.WithLabelValues("missing"),
		answersOK:   answers.WithLabelValues(resultOK), answersError: answers.WithLabelValues(resultError),
		answersUnknown: answers.WithLabelValues(resultUnknown), answersTooLarge: answers.WithLabelValues(resultTooLarge),
		malformed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fairlead_peer_malformed_total", Help: "Messages on the nodes' subjects that no node would send.",
		}),
	}
	m.all = []prometheus.Collector{asks, answers, m.malformed, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fairlead_peers", Help: "Other nodes of the cluster that this node hears of.",
	}, func() float64 { return float64(peers()) })}
	return m
}

// answered counts one answer by its result.
func (m *peersMetrics) answered(result string) {
	switch result {
	case resultOK:
		m.answersOK.Inc()
	case resultError:
		m.answersError.Inc()
	case resultTooLarge:
		m.answersTooLarge.Inc()
	default:
		m.answersUnknown.Inc()
	}
}

// register registers all, or none. r may be nil.
func (m *peersMetrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.all {
		if err := r.Register(c); err != nil {
			for _, done := range m.all[:i] {
				r.Unregister(done)
			}
			return fmt.Errorf("bus: register metrics: %w", err)
		}
	}
	return nil
}
