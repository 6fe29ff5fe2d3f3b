package authn

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// ticketMetrics counts what became of tickets. Those that are no good are counted as refusals, by reason.
type ticketMetrics struct{ issued, accepted, used, unavailable prometheus.Counter }

// newTicketMetrics returns the counters, which all Tickets of a registry share.
func newTicketMetrics(r prometheus.Registerer) (m ticketMetrics, err error) {
	vec, err := shared(r, prometheus.NewCounterVec(prometheus.CounterOpts{
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

// shared registers c, or returns the one that is registered already. A nil r leaves c unregistered.
func shared[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	if r == nil {
		return c, nil
	}
	err := r.Register(c)
	if err == nil {
		return c, nil
	}
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, fmt.Errorf("authn: %w", err)
}
