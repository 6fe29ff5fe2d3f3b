package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/actor/limit"
	"github.com/fairlead-ws/fairlead/session"
)

// Opener makes actors; [actor.System] is one. Open takes conn over when it returns nil: then the gateway never touches it
// again. When it returns an error, conn is still the gateway's, and the client is refused: with 503 for actor.ErrFull,
// actor.ErrDraining and actor.ErrUnavailable, with 429 for actor.ErrAddressFull and actor.ErrUserFull, else with 500. What is borrowed in b dies when Open returns. conn has no
// deadline. Open is called by many goroutines, and ctx ends with the handshake's time.
type Opener interface {
	Open(ctx context.Context, conn net.Conn, b actor.Birth) error
}

// Journal keeps the events of refused handshakes, and numbers them, since a node's events have other writers too; those of
// package journal do. One goroutine calls it for each Serve, apart from the handshakes: while it is slow, events are joined
// into fewer, see Config.RefusedPerSecond.
type Journal interface {
	Append(ctx context.Context, records ...session.Record) error
}

// Config is what a gateway is made of. The zero value of each field but Routes and Actors means its default.
type Config struct {
	Routes []Route // at least one
	Actors Opener  // required

	// TLS, if it is not nil, makes the connections TLS connections, with its certificates. It is copied. Versions before
	// TLS 1.2, and protocols but HTTP/1.1, are never agreed on, whatever it says. See [Certificate].
	TLS *tls.Config

	// Compression agrees on permessage-deflate (RFC 7692) with clients that offer it.
	Compression bool

	Journal Journal       // of refused events; nil: none are kept
	Epoch   session.Epoch // whose events they are; required with a Journal
	// RefusedPerSecond is how many refused events are written one by one. Those beyond are counted and written a second
	// later as one event for each reason, with Count. 0: 50.
	RefusedPerSecond int

	Limits Limits // see [Gateway.SetLimits]

	// TrustedProxies are the networks of proxies whose X-Forwarded-For and Forwarded say where clients are. With
	// ProxyProtocol, each connection from them must begin with a header of the PROXY protocol, version 1 or 2, before TLS;
	// those from elsewhere must not. Limits, events and logs go by the address that comes of that.
	TrustedProxies []netip.Prefix
	ProxyProtocol  bool

	Handshakes       int           // at once, whose request has come; 0: 256
	Heads            int           // connections at once whose request has not come, or waits for its turn; 0: 4 for each of Handshakes
	HandshakeTimeout time.Duration // for all of one handshake; 0: 5 s
	HeadBytes        int           // of a request's head, from 1 KiB to 1 MiB; 0: 16 KiB

	Tracer     Tracer                // nil: nobody traces handshakes
	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: the metrics are not registered
}

// The defaults of Config.
const (
	defaultHandshakes       = 256
	defaultHandshakeTimeout = 5 * time.Second
	defaultHeadBytes        = 16 << 10
	defaultRefusedPerSecond = 50
)

// Gateway takes handshakes. Its methods may be called by many goroutines.
type Gateway struct {
	// Fixed after New.
	actors    Opener
	proxies   proxies
	proxied   bool        // the proxies' connections begin with a header of the PROXY protocol
	tls       *tls.Config // nil: plain TCP
	compress  bool        // agree on permessage-deflate
	timeout   time.Duration
	tracer    Tracer // nil: none
	logger    *slog.Logger
	metrics   *metrics
	rates     *rates
	refused   *refusedEvents // nil: no journal
	rechecks  *rechecks
	heads     chan struct{} // one element for each connection whose request has not come, or waits for a slot
	slots     chan struct{} // one element for each handshake that goes on
	lingering chan struct{} // one element for each refused client that is being waited for

	handshakes sync.Pool // of *handshake
	faults     [numReasons]limit.Lines

	// Atomic.
	table     atomic.Pointer[table]
	accepting atomic.Int32 // loops that could accept a connection now
	reading   atomic.Int32 // heads that are being read
}

// New checks cfg and returns a gateway for it. Nothing runs before [Gateway.Serve].
func New(cfg Config) (*Gateway, error) {
	switch {
	case cfg.Actors == nil:
		return nil, errors.New("gateway: Actors is missing: nobody would take the connections")
	case cfg.Journal != nil && cfg.Epoch.IsZero():
		return nil, errors.New("gateway: Epoch is missing: the journal's events would belong to no node")
	case cfg.ProxyProtocol && len(cfg.TrustedProxies) == 0:
		return nil, errors.New("gateway: ProxyProtocol needs TrustedProxies: nobody else's header is believed")
	case cfg.Handshakes < 0 || cfg.Heads < 0 || cfg.HandshakeTimeout < 0 || cfg.RefusedPerSecond < 0:
		return nil, errors.New("gateway: Handshakes, Heads, HandshakeTimeout and RefusedPerSecond cannot be negative")
	}
	headBytes := cmp.Or(cfg.HeadBytes, defaultHeadBytes)
	if headBytes < 1<<10 || headBytes > 1<<20 {
		return nil, fmt.Errorf("gateway: HeadBytes is %d: want 1024 to 1048576", headBytes)
	}
	routes, err := newRoutes(cfg.Routes)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := newTLS(cfg.TLS)
	if err != nil {
		return nil, err
	}
	logger := cmp.Or(cfg.Logger, slog.Default())
	n := cmp.Or(cfg.Handshakes, defaultHandshakes)
	g := &Gateway{
		actors:    cfg.Actors,
		proxies:   cfg.TrustedProxies,
		proxied:   cfg.ProxyProtocol,
		tls:       tlsConfig,
		compress:  cfg.Compression,
		timeout:   cmp.Or(cfg.HandshakeTimeout, defaultHandshakeTimeout),
		tracer:    cfg.Tracer,
		logger:    logger,
		rates:     newRates(),
		heads:     make(chan struct{}, cmp.Or(cfg.Heads, 4*n)),
		slots:     make(chan struct{}, n),
		lingering: make(chan struct{}, n),
	}
	g.table.Store(newTable(routes))
	g.rechecks = newRechecks(g)
	if err := g.rates.set(cfg.Limits); err != nil {
		return nil, err
	}
	if g.metrics, err = newMetrics(cfg.Registerer, g); err != nil {
		return nil, err
	}
	if cfg.Journal != nil {
		g.refused = newRefusedEvents(cfg, logger)
	}
	heads := newBuffers(headBytes)
	g.handshakes.New = func() any {
		return &handshake{gateway: g, head: head{pool: heads}, upgrader: newUpgrader()}
	}
	return g, nil
}

// Accepting reports whether a new connection would be accepted now: a Serve runs, its context has not ended, and the kernel
// is not out of what a connection takes.
func (g *Gateway) Accepting() bool { return g.accepting.Load() > 0 }
