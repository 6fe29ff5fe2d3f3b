package authn

import "github.com/prometheus/client_golang/prometheus"

// ticketMetrics counts what became of tickets. Those that are no good are counted as refusals, by reason.
type ticketMetrics struct{ issued, accepted, used, unavailable prometheus.Counter }

// newTicketMetrics returns the counters, which all Tickets of a registry share.
func newTicketMetrics(r prometheus.Registerer) (m ticketMetrics, err error) {
	vec, err := registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_tickets_total",
		Help: "One-time tickets: issued, accepted, used before, or unavailable, when nobody could say whether one was used.",
	}, []string{"result"}))
	if err != nil {
		return m, err
	}
	return ticketMetrics{
		issued: vec.WithLabelValues("issued"), accepted: vec.WithLabelValues("accepted"),
		used: vec.WithLabelValues("used"), unavailable: vec.WithLabelValues("unavailable"),
	}, nil
}
