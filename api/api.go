package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultInterval is how often checks with Grace or Recover are asked.
const DefaultInterval = 250 * time.Millisecond

// Config configures [New].
type Config struct {
	// Metrics answers GET /metrics. Nil: that path does not exist.
	Metrics http.Handler
	// Ready are the conditions of being ready: all must hold. None: always ready.
	Ready []Check
	// Interval is how often checks with Grace or Recover are asked while Serve runs. 0 is DefaultInterval. Every check
	// is asked for each request of /readyz, too.
	Interval time.Duration
	// Backend is what the paths under /api/v1 show and act on. Nil: those paths do not exist, nor do profiles.
	Backend *Backend
	// Keys are asked for on the paths under /api/v1 and /debug/pprof. Without keys, they answer on loopback only.
	Keys []Key
	// Loopback says that Serve listens on an address of loopback.
	Loopback bool
	// Tracer is told of requests under /api/v1. Nil: nobody traces them.
	Tracer Tracer
	// Logger takes changes of readiness, errors of connections, and who disconnected whom. Nil logs nothing.
	Logger *slog.Logger
	// Registerer gets the metrics of the Backend's paths. Nil: nobody.
	Registerer prometheus.Registerer
}

// Tracer is told of requests under /api/v1, for distributed tracing. Many goroutines call it at once, and it must not block.
type Tracer interface {
	// BeginRequest begins the span of a request that was let in; its header may name the span that it is inside of. It
	// returns a context with the span, and what ends it: with whether a fault on this side is to blame, and what is known
	// by then. The name is the endpoint's, such as "GET /api/v1/sessions/{id}": never what stands in the path or query.
	BeginRequest(r *http.Request, name string, start time.Time) (context.Context, func(failed bool, attrs ...slog.Attr))
}

// API is the internal HTTP port. It is safe for concurrent use.
type API struct {
	// Fixed after New.
	handler     http.Handler
	backend     *Backend // nil: none
	probes      []*probe
	interval    time.Duration
	patience    time.Duration // with requests that are in work when Serve is to stop
	loopback    bool
	tracer      Tracer // nil: none
	logger      *slog.Logger
	metrics     *metrics // nil without a backend
	idempotency *idempotency
	reads       chan struct{} // a place for each request at work, of those that only look
	writes      chan struct{} // and of the others
	profiling   chan struct{}

	// Atomic.
	keys atomic.Pointer[[]Key]
}

// New checks c. It asks no check.
func New(c Config) (*API, error) {
	if c.Interval < 0 {
		return nil, fmt.Errorf("api: Interval is %v, want 0 (for %v) or more", c.Interval, DefaultInterval)
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	a := &API{interval: c.Interval, patience: stopTimeout, loopback: c.Loopback, tracer: c.Tracer, logger: c.Logger}
	names := make(map[string]bool)
	for i, check := range c.Ready {
		switch {
		case check.Name == "":
			return nil, fmt.Errorf("api: check %d has no name", i)
		case names[check.Name]:
			return nil, fmt.Errorf("api: two checks have the name %q", check.Name)
		case check.OK == nil:
			return nil, fmt.Errorf("api: check %q has no OK", check.Name)
		case check.Grace < 0 || check.Recover < 0:
			return nil, fmt.Errorf("api: check %q has a negative Grace or Recover", check.Name)
		}
		names[check.Name] = true
		a.probes = append(a.probes, newProbe(check, c.Logger))
	}
	a.SetKeys(c.Keys)
	if c.Backend != nil {
		if err := a.setBackend(*c.Backend, c.Registerer); err != nil {
			return nil, err
		}
	}
	a.handler = a.routes(c.Metrics)
	return a, nil
}

func (a *API) setBackend(b Backend, r prometheus.Registerer) error {
	if b.Self == nil || b.Publisher == nil || b.Sessions == nil || b.Groups == nil || b.Journal == nil {
		return errors.New("api: all of Backend but Cluster and Tickets is required")
	}
	if b.Cluster == nil {
		b.Cluster = alone{}
	}
	a.backend = &b
	a.metrics = newMetrics(slices.Collect(maps.Keys(a.endpoints())))
	a.idempotency = newIdempotency(idempotencyKeys, a.metrics.evicted)
	a.reads, a.writes = make(chan struct{}, maxReads), make(chan struct{}, maxWrites)
	a.profiling = make(chan struct{}, 1)
	return a.metrics.register(r)
}

// SetKeys replaces the keys that are asked for. Requests under way are not asked again.
func (a *API) SetKeys(keys []Key) {
	keys = slices.Clone(keys)
	a.keys.Store(&keys)
}

// Handler returns the handler that Serve serves. Between requests, checks are asked only while Serve runs.
func (a *API) Handler() http.Handler { return a.handler }

// The server's bounds: a stranger's connection costs little, and not for long.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	headerBytes   = 16 << 10
	stopTimeout   = 5 * time.Second

	requestTimeout = 10 * time.Second // for an endpoint under /api/v1
	slotPatience   = 2 * time.Second  // for the place of one
	maxReads       = 8
	maxWrites      = 16 // times maxBatchBody: what bodies may take of memory
)

// Serve answers on l until ctx ends, and then returns nil once the requests in work are answered, or cut after five
// seconds. Any other error is the listener's. Serve closes l, and returns only after every goroutine that it started
// has ended. Since a node that drains must go on saying that it is not ready, end ctx last.
func (a *API) Serve(ctx context.Context, l net.Listener) error {
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var children sync.WaitGroup
	children.Go(func() { a.watch(watching) })

	server := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(a.logger.Handler(), slog.LevelWarn),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew: // on the goroutine of server.Serve
				children.Add(1)
			case http.StateClosed, http.StateHijacked: // the last thing that a connection's goroutine does
				children.Done()
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.patience)
		if stop := server.Shutdown(stopping); stop != nil && !errors.Is(stop, net.ErrClosed) {
			a.logger.Warn("requests were cut", "error", stop)
		}
		cancel()
		err = <-served
	}
	server.Close()
	stopWatching()
	children.Wait()
	if errors.Is(err, http.ErrServerClosed) { // by us
		return nil
	}
	return fmt.Errorf("api: %w", err)
}

// watch asks the graced checks until ctx ends, so that how long they have failed is known when somebody asks.
func (a *API) watch(ctx context.Context) {
	var graced []*probe
	for _, p := range a.probes {
		if p.check.graced() {
			graced = append(graced, p)
		}
	}
	if len(graced) == 0 {
		return
	}
	tick := time.NewTicker(a.interval)
	defer tick.Stop()
	for {
		for _, p := range graced {
			p.ask()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
