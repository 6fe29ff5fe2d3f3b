package main

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// series knows which verifiers and authorizers, of all configurations in force, count what, and takes the series of those away
// that nobody counts any more: else a gauge would tell for ever of a verifier that a reload took away. Any goroutine.
type series struct {
	// Fixed after newSeries.
	r prometheus.Registerer

	// Guarded by mu.
	mu   sync.Mutex
	uses map[use]int
}

// use is that an entry of the configuration has children of a vector.
type use struct {
	vector     vector
	kind, name string // verifier or authorizer
}

// vector is a vector of counters, gauges or histograms.
type vector interface {
	prometheus.Collector
	DeletePartialMatch(labels prometheus.Labels) int
}

func newSeries(r prometheus.Registerer) *series { return &series{r: r, uses: map[use]int{}} }

// counted is the [prometheus.Registerer] of one entry of the configuration. It notes what is registered, before there are
// children.
type counted struct {
	prometheus.Registerer
	series     *series
	kind, name string
	uses       *[]use // of the assembly
}

// Register implements [prometheus.Registerer].
func (c *counted) Register(collector prometheus.Collector) error {
	err := c.Registerer.Register(collector)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		collector = already.ExistingCollector
	} else if err != nil {
		return err
	}
	if v, ok := collector.(vector); ok {
		u := use{v, c.kind, c.name}
		*c.uses = append(*c.uses, u)
		c.series.mu.Lock()
		defer c.series.mu.Unlock()
		c.series.uses[u]++
	}
	return err
}

// release ends uses, and takes the series away that were the last of their kind.
func (s *series) release(uses []use) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range uses {
		if s.uses[u]--; s.uses[u] > 0 {
			continue
		}
		delete(s.uses, u)
		u.vector.DeletePartialMatch(prometheus.Labels{u.kind: u.name})
		u.vector.DeletePartialMatch(prometheus.Labels{"kind": u.kind, "name": u.name})
	}
}

// meter returns where a verifier or an authorizer registers its metrics: nil where nothing is counted.
func (a *assembler) meter(kind, name string) prometheus.Registerer {
	if a.series == nil {
		return nil
	}
	return &counted{Registerer: a.series.r, series: a.series, kind: kind, name: name, uses: &a.uses}
}
