package metrics

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a registry with the collectors of the Go runtime and of the process (on systems that have /proc),
// and fairlead_build_info, which is always 1 and has b as its labels.
func NewRegistry(b Build) *prometheus.Registry {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fairlead_build_info",
		Help: "Always 1. The labels say what the program was built from.",
		ConstLabels: prometheus.Labels{ // a label that is not UTF-8 would panic
			"version":    strings.ToValidUTF8(b.Version, "?"),
			"revision":   strings.ToValidUTF8(b.Revision, "?"),
			"go_version": strings.ToValidUTF8(b.GoVersion, "?"),
		},
	})
	info.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister( // into an empty registry: nothing can be there before
		info,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return registry
}

// maxScrapes is how many scrapes are answered at once; one more gets 503.
const maxScrapes = 8

// Handler answers with what g gathers, as Prometheus text or as OpenMetrics, whichever the client prefers. What cannot
// be gathered is left out, and counted where g is also a Registerer, as a Registry is, in
// promhttp_metric_handler_errors_total; only when nothing could be gathered is the answer 500. Handler may be called
// again for the same g.
func Handler(g prometheus.Gatherer) http.Handler {
	opts := promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: maxScrapes,
		// No zstd: its encoders stay in memory, which is counted by the byte here.
		OfferedCompressions: []promhttp.Compression{promhttp.Identity, promhttp.Gzip},
	}
	if r, ok := g.(prometheus.Registerer); ok {
		opts.Registry = r
	}
	return promhttp.HandlerFor(g, opts)
}
