package api

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what comes to the paths under /api/v1.
type metrics struct {
	requests map[string]*[3]prometheus.Counter // by endpoint: 2xx, 4xx, 5xx
	denied   map[string]prometheus.Counter
	seconds  prometheus.Histogram
	evicted  prometheus.Counter

	collectors []prometheus.Collector
}

// newMetrics makes the metrics of these endpoints, as in "GET /api/v1/groups".
func newMetrics(endpoints []string) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_api_requests_total",
		Help: "Requests of the API, by endpoint and class of the status.",
	}, []string{"endpoint", "class"})
	denied := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_api_denied_total",
		Help: "Requests of the API and of profiles that were not let in, by reason.",
	}, []string{"reason"})
	m := &metrics{
		requests: make(map[string]*[3]prometheus.Counter),
		denied:   make(map[string]prometheus.Counter),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fairlead_api_request_seconds",
			Help:    "How long requests of the API took, questions to other nodes included.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10},
		}),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fairlead_api_idempotency_evicted_total",
			Help: "Idempotency keys forgotten before their time, since there were too many.",
		}),
	}
	for _, e := range endpoints {
		m.requests[e] = &[3]prometheus.Counter{
			requests.WithLabelValues(e, "2xx"), requests.WithLabelValues(e, "4xx"), requests.WithLabelValues(e, "5xx"),
		}
	}
	for _, reason := range []string{deniedNoKey, deniedBadKey, deniedClosed, deniedHost, deniedOrigin} {
		m.denied[reason] = denied.WithLabelValues(reason)
	}
	m.collectors = []prometheus.Collector{requests, denied, m.seconds, m.evicted}
	return m
}

// register registers all metrics or none.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.collectors {
		if err := r.Register(c); err != nil {
			for _, done := range m.collectors[:i] {
				r.Unregister(done)
			}
			return errors.Join(errors.New("api: metrics"), err)
		}
	}
	return nil
}

// answered counts one answer of an endpoint.
func (m *metrics) answered(endpoint string, status int, took time.Duration) {
	class := 0
	switch {
	case status >= 500:
		class = 2
	case status >= 400:
		class = 1
	}
	m.requests[endpoint][class].Inc()
	m.seconds.Observe(took.Seconds())
}
