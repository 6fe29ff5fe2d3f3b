package authn

import "github.com/prometheus/client_golang/prometheus"

// callbackMetrics are those of one callback.
type callbackMetrics struct {
	allowed, absent, rejected, forbidden                             prometheus.Counter // it answered
	malformed, badAnswer, badStatus, timeout, unreachable, abandoned prometheus.Counter
	breaker                                                          prometheus.Counter

	retries prometheus.Counter
	state   prometheus.Gauge
}

// newCallbackMetrics returns the children of a callback, whose kind and configured name are the labels, so they are closed
// sets. All callbacks of a registry share the metrics.
func newCallbackMetrics(r prometheus.Registerer, kind, name string) (m callbackMetrics, err error) {
	requests, err := registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_callback_requests_total",
		Help: "Questions to applications, by what came of them. The last try counts.",
	}, []string{"kind", "name", "result"}))
	if err != nil {
		return m, err
	}
	retries, err := registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_callback_retries_total",
		Help: "Questions to applications that were asked a second time.",
	}, []string{"kind", "name"}))
	if err != nil {
		return m, err
	}
	states, err := registered(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "fairlead_callback_breaker_state",
		Help: "The circuit breaker in front of an application: 0 closed, 1 trying whether it answers again, 2 open. It changes with the next question.",
	}, []string{"kind", "name"}))
	if err != nil {
		return m, err
	}
	result := func(s string) prometheus.Counter { return requests.WithLabelValues(kind, name, s) }
	return callbackMetrics{
		allowed: result("allowed"), absent: result("absent"), rejected: result("rejected"), forbidden: result("forbidden"),
		malformed: result("malformed"), badAnswer: result("bad_answer"), badStatus: result("bad_status"), timeout: result("timeout"),
		unreachable: result("unreachable"), abandoned: result("abandoned"), breaker: result("breaker_open"),
		retries: retries.WithLabelValues(kind, name), state: states.WithLabelValues(kind, name),
	}, nil
}
