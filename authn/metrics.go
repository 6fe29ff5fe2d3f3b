package authn

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// latency observes how long one verifier or authorizer takes.
type latency struct{ observer prometheus.Observer }

// newAuthSeconds returns the child for a verifier's name, which comes from the configuration, so the label is a closed set.
// All verifiers of a registry share one histogram: the first registers it. A nil r leaves it unregistered.
func newAuthSeconds(r prometheus.Registerer, verifier string) (latency, error) {
	return newSeconds(r, "fairlead_auth_seconds", "Time that a verifier took for one credential, whatever the answer.", "verifier", verifier)
}

// newDecisionSeconds returns the same for an authorizer that asks somebody.
func newDecisionSeconds(r prometheus.Registerer, authorizer string) (latency, error) {
	return newSeconds(r, "fairlead_decision_seconds", "Time that an authorizer took to ask about one group, whatever the answer.", "authorizer", authorizer)
}

func newSeconds(r prometheus.Registerer, metric, help, label, name string) (latency, error) {
	vec, err := registered(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: metric,
		Help: help,
		Buckets: []float64{
			5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5,
		},
		NativeHistogramBucketFactor: 1.1,
	}, []string{label}))
	if err != nil {
		return latency{}, err
	}
	return latency{vec.WithLabelValues(name)}, nil
}

func (l latency) since(start time.Time) { l.observer.Observe(time.Since(start).Seconds()) }

// verifierName returns name, or kind where it is empty, checked to be what a label and Identity.Source can hold.
func verifierName(name, kind string) (string, error) {
	if name == "" {
		name = kind
	}
	if len(name) > 64 || !isToken(name) || name == "anonymous" {
		return "", fmt.Errorf("authn: %.80q cannot be a verifier's name: want 1 to 64 letters, digits and - _ . and not anonymous", name)
	}
	return name, nil
}

// newAuthQueries returns what counts the questions of a verifier to its database, and the keys that they were for. A nil r
// leaves the metrics unregistered.
func newAuthQueries(r prometheus.Registerer, verifier string) (observe func(keys int), err error) {
	queries, err := registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_auth_queries_total", Help: "Questions that a verifier asked its database; in a storm one is for many keys.",
	}, []string{"verifier"}))
	if err != nil {
		return nil, err
	}
	keys, err := registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_auth_query_keys_total", Help: "Keys that a verifier asked its database for: tokens, sessions, users.",
	}, []string{"verifier"}))
	if err != nil {
		return nil, err
	}
	q, k := queries.WithLabelValues(verifier), keys.WithLabelValues(verifier)
	return func(n int) {
		q.Inc()
		k.Add(float64(n))
	}, nil
}

// registered registers c, or returns the collector that another one of its kind registered before. A nil r leaves it
// unregistered.
func registered[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	if r == nil {
		return c, nil
	}
	err := r.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	if err != nil {
		return c, fmt.Errorf("authn: %w", err)
	}
	return c, nil
}
