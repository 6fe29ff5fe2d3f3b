package authn

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// authSeconds observes how long one verifier takes.
type authSeconds struct{ observer prometheus.Observer }

// newAuthSeconds returns the child for a verifier's name, which comes from the configuration, so the label is a closed set.
// All verifiers of a registry share one histogram: the first registers it. A nil r leaves it unregistered.
func newAuthSeconds(r prometheus.Registerer, verifier string) (authSeconds, error) {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "fairlead_auth_seconds",
		Help: "Time that a verifier took for one credential, whatever the answer.",
		Buckets: []float64{
			5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5,
		},
		NativeHistogramBucketFactor: 1.1,
	}, []string{"verifier"})
	if r != nil {
		if err := r.Register(vec); err != nil {
			already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err)
			if !ok {
				return authSeconds{}, fmt.Errorf("authn: %w", err)
			}
			if vec, ok = already.ExistingCollector.(*prometheus.HistogramVec); !ok {
				return authSeconds{}, fmt.Errorf("authn: %w", err)
			}
		}
	}
	return authSeconds{vec.WithLabelValues(verifier)}, nil
}

func (a authSeconds) since(start time.Time) { a.observer.Observe(time.Since(start).Seconds()) }

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
