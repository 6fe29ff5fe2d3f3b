package jwks

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts the fetches of one source. Verifiers of one name, before and after the configuration was read again, share
// the children.
type metrics struct {
	ok, failed prometheus.Counter
	keys       prometheus.Gauge
}

// newMetrics registers what all sources share, or finds it; a nil r leaves it unregistered. verifier is a configured name.
func newMetrics(r prometheus.Registerer, verifier string) (metrics, error) {
	fetches, err := shared(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_jwks_fetches_total",
		Help: "Times that the keys of an issuer were fetched, by result; with error those from before stay in force for a while.",
	}, []string{"verifier", "result"}))
	if err != nil {
		return metrics{}, err
	}
	keys, err := shared(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "fairlead_jwks_keys",
		Help: "Keys of the issuer that fit the verifier's algorithms and are not too old. 0: its tokens are answered with 503.",
	}, []string{"verifier"}))
	if err != nil {
		return metrics{}, err
	}
	return metrics{
		ok: fetches.WithLabelValues(verifier, "ok"), failed: fetches.WithLabelValues(verifier, "error"),
		keys: keys.WithLabelValues(verifier),
	}, nil
}

func shared[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
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
		return c, fmt.Errorf("jwks: %w", err)
	}
	return c, nil
}
