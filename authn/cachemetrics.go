package authn

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/memo"
)

// cacheMetrics are those of all caches of a kind in one registry.
type cacheMetrics struct {
	answers *prometheus.CounterVec
	entries *prometheus.GaugeVec
	evicted *prometheus.CounterVec
}

// cacheCounts are those of one cache.
type cacheCounts struct {
	hit, badHit, shared, asked, left prometheus.Counter
}

// newCacheMetrics returns the metrics of caches of verifiers or of authorizers, whose configured names are the label, so it
// is a closed set. The first of a registry registers them; a nil r leaves them unregistered.
func newCacheMetrics(r prometheus.Registerer, of string) (m cacheMetrics, err error) {
	prefix, what := "fairlead_auth_cache", "credentials"
	if of == "authorizer" {
		prefix, what = "fairlead_decision_cache", "groups"
	}
	if m.answers, err = registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "_total",
		Help: "Questions about " + what + " to a cache, by where the answer came from.",
	}, []string{of, "result"})); err != nil {
		return m, err
	}
	if m.entries, err = registered(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: prefix + "_entries",
		Help: "Answers about " + what + " that are kept, some of which may have ended, by what they say.",
	}, []string{of, "answer"})); err != nil {
		return m, err
	}
	m.evicted, err = registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "_evicted_total",
		Help: "Good answers about " + what + " that were forgotten before their time, since there were too many.",
	}, []string{of}))
	return m, err
}

// of returns the counters of the cache called name, and lets its memo count entries.
func (m cacheMetrics) of(name string, c *memo.Config) cacheCounts {
	c.GoodCount, c.BadCount = m.entries.WithLabelValues(name, "good"), m.entries.WithLabelValues(name, "bad")
	c.Evicted = m.evicted.WithLabelValues(name)
	result := func(r string) prometheus.Counter { return m.answers.WithLabelValues(name, r) }
	return cacheCounts{
		hit: result("hit"), badHit: result("negative_hit"), shared: result("shared"), asked: result("miss"), left: result("abandoned"),
	}
}

func (c *cacheCounts) count(how memo.How) {
	switch how {
	case memo.Hit:
		c.hit.Inc()
	case memo.BadHit:
		c.badHit.Inc()
	case memo.Shared:
		c.shared.Inc()
	case memo.Left:
		c.left.Inc()
	default:
		c.asked.Inc()
	}
}
