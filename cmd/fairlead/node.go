package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/api"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
	"github.com/fairlead-ws/fairlead/gateway"
	"github.com/fairlead-ws/fairlead/metrics"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// The proofs that the parts fit: interfaces live with the callers.
var (
	_ actor.Bus       = (*bus.NATS)(nil)
	_ actor.Bus       = (*bus.Local)(nil)
	_ actor.Journal   = (*journal.Memory)(nil)
	_ gateway.Journal = (*journal.Memory)(nil)
	_ gateway.Opener  = (*actor.System)(nil)
)

// How long the parts have to end, and NATS to come back.
const (
	closePatience = 5 * time.Second // for what the bus still has to say to NATS
	busGrace      = 2 * time.Second // NATS may be away for so long before the node is not ready
	busRecover    = time.Second     // and must be back for so long before it is ready again
)

// minNATSPayload is what a NATS server takes where nobody configured it; other programs count on it.
const minNATSPayload = 1 << 20

// node is all of a running Fairlead. Its parts are fixed after newNode, but for begun, of
// the goroutine that starts and ends it, and what is atomic.
type node struct {
	config   *config.Loaded // as the node was started; see settings
	logger   *slog.Logger
	registry *prometheus.Registry
	name     string
	epoch    session.Epoch
	tracer   tracer // nil: nobody traces

	public, internal net.Listener

	parts       *assembly // as the node was started; see reloader for those in force
	series      *series   // of all of them
	reloader    *reloader
	certificate *gateway.Certificate // nil: plain TCP
	journal     events
	log         *journal.JetStream // nil: the journal is in memory
	embedded    *bus.Embedded      // nil with nats.url
	bus         *bus.NATS
	control     *nats.Conn // for what nodes ask one another
	peers       *bus.Peers
	desk        *ticketDesk
	actors      *actor.System
	gateway     *gateway.Gateway
	api         *api.API

	closers []func() error // of the parts that are open, the last one first to close

	begun    bool
	draining atomic.Bool

	announced atomic.Pointer[actor.System] // actors, once they are there
}

// newNode makes all parts and listens, but accepts nothing yet. On an error everything is closed again. ctx bounds the
// construction only.
func newNode(ctx context.Context, l *config.Loaded, logger *slog.Logger) (_ *node, err error) {
	n := &node{config: l, logger: logger, registry: metrics.NewRegistry(metrics.ReadBuild())}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if n.name = l.Node.Name; n.name == "" {
		if n.name, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("node.name is empty, and the host has no name: %w", err)
		}
	}
	if n.epoch, err = session.NewEpoch(time.Now(), rand.Reader); err != nil {
		return nil, err
	}
	if err = n.startTracing(ctx); err != nil {
		return nil, err
	}
	n.desk, n.series = newTicketDesk(l), newSeries(n.registry)
	if n.parts, err = assemble(ctx, l, n.series, n.logger, n.desk); err != nil {
		return nil, err
	}
	if n.reloader, err = newReloader(n.registry, l, n.parts); err != nil {
		return nil, errors.Join(err, n.parts.Close())
	}
	n.closers = append(n.closers, n.reloader.close)
	if err = n.listen(ctx); err != nil {
		return nil, err
	}
	if err = n.startBus(); err != nil {
		return nil, err
	}
	if err = n.startJournal(ctx); err != nil {
		return nil, err
	}
	if err = n.startRoutes(); err != nil {
		return nil, err
	}
	n.parts.listen(newChanges(n.gateway).note)
	return n, nil
}

// listen takes both addresses, so that one that is taken is found before anything else happens.
func (n *node) listen(ctx context.Context) (err error) {
	c := n.config.Listen
	n.public, err = gateway.ListenConfig{DeferAccept: c.DeferAccept}.Listen(ctx, c.Public)
	if err != nil {
		return &listenError{c.Public, "--listen", "listen.public", err}
	}
	n.internal, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.Internal)
	if err != nil {
		return &listenError{c.Internal, "--internal", "listen.internal", err}
	}
	return nil
}

// startBus connects to NATS, of which it starts one where none is configured. A NATS that is away is no error.
func (n *node) startBus() (err error) {
	c, payload := n.config.NATS, n.config.Limits.MessageBytes
	if c.URL == "" {
		n.embedded, err = bus.StartEmbedded(bus.EmbeddedConfig{
			Listen: c.Listen, MaxPayload: max(payload, minNATSPayload), Logger: n.logger,
			JetStream: n.config.Journal.Mode != "off", StoreDir: c.StoreDir, StoreBytes: int64(c.StoreBytes),
		})
		if err != nil {
			if strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) { // the server's own text has no cause
				err = errors.Join(err, syscall.EADDRINUSE)
			}
			return n.explainEmbedded(err)
		}
		n.closers = append(n.closers, func() error { return n.bounded(n.embedded.Close) })
	}
	if n.bus, err = bus.NewNATS(n.natsConfig()); err != nil {
		return n.config.At("nats", err)
	}
	n.closers = append(n.closers, func() error { return n.bounded(n.bus.Close) })
	if err = n.dialControl(); err != nil {
		return err
	}
	return n.openDesk()
}

// startRoutes makes what connections meet: the actors, the gateway in front of them, and the internal port's answers.
func (n *node) startRoutes() error {
	c := n.config.Limits
	files, err := openFiles()
	if err != nil {
		return err
	}
	limit, err := connectionLimit(n.config.Config, files, n.logger)
	if err != nil {
		return err
	}
	n.actors, err = actor.New(actor.Config{
		Bus: n.bus, Journal: n.journal, Epoch: n.epoch, Logger: n.logger, Registerer: n.registry,
		Limits: actorLimits(c, limit), MessageBytes: c.MessageBytes, OutboxBytes: c.OutboxBytes,
		WriteTimeout: c.WriteTimeout, PingInterval: c.PingInterval, PongTimeout: c.PongTimeout,
		CompressionLevel: n.config.Compression.Level, CompressionMinBytes: max(1, n.config.Compression.MinBytes),
	})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, n.actors.Close)
	n.announced.Store(n.actors)
	if err := registerMetrics(n.registry, func() int { return n.actors.Limits().Connections }, n.embedded != nil); err != nil {
		return err
	}
	if err := n.registerDraining(); err != nil {
		return err
	}
	tlsConfig, err := n.startTLS()
	if err != nil {
		return err
	}
	n.gateway, err = gateway.New(gateway.Config{
		TLS: tlsConfig, Compression: n.config.Compression.Enabled,
		TrustedProxies: n.parts.proxies, ProxyProtocol: n.config.Listen.ProxyProtocol,
		Routes: n.parts.routes, Actors: n.actors, Journal: n.journal, Epoch: n.epoch, Limits: gatewayLimits(c),
		Handshakes: c.Handshakes, Heads: heads(c, files), HandshakeTimeout: c.HandshakeTimeout, HeadBytes: c.HeadBytes,
		Tracer: n.tracer, Logger: n.logger, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, n.gateway.Close)
	return n.startAPI()
}

var (
	errNotAccepting = errors.New("no new connections are accepted")
	errBusAway      = errors.New("NATS is away: members of this node hear each other, other nodes do not hear them")
)

func (n *node) accepting() error {
	if n.draining.Load() {
		return errDraining
	}
	if !n.gateway.Accepting() {
		return errNotAccepting
	}
	return nil
}

func (n *node) connected() error {
	if !n.bus.Connected() {
		return errBusAway
	}
	return nil
}

// natsURL returns where other programs on this machine reach the bus, "" where they do not.
func (n *node) natsURL() string {
	if n.embedded != nil {
		return n.embedded.URL()
	}
	return n.config.NATS.URL
}

// begin notes the start, in the journal and in the log.
func (n *node) begin() error {
	version := metrics.ReadBuild().Version
	started := session.Record{
		Time: time.Now(), Session: session.ID{Epoch: n.epoch}, Seq: 1,
		Event: session.NodeStarted{Node: n.name, Version: version},
	}
	if err := n.journal.Append(context.Background(), started); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	n.begun = true
	kind := "nats"
	if n.embedded != nil {
		kind = "embedded"
		n.logger.Info("the bus is a NATS server inside this process: this node shares its groups with no other")
	}
	n.logger.Info("serving", "public", n.public.Addr().String(), "internal", n.internal.Addr().String(),
		"node", n.name, "epoch", n.epoch.String(), "version", version, "bus", kind)
	return nil
}

// serve accepts connections until ctx ends or something breaks, then drains and closes everything. It returns after all
// goroutines have ended. begin comes first.
func (n *node) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answering, stopAnswering := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAnswering()
	accepting, stopAccepting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAccepting()
	answered, accepted := make(chan error, 1), make(chan error, 1)
	broken := make(chan struct{}) // closed when either of the two has ended
	ended := sync.OnceFunc(func() {
		close(broken)
		cancel()
	})
	go func() {
		defer ended() // a node that nobody can ask is no use
		answered <- n.api.Serve(answering, n.internal)
	}()
	go func() {
		defer ended()
		accepted <- n.gateway.Serve(accepting, n.public)
	}()

	<-ctx.Done()
	n.leave(broken)
	stopAccepting()
	errs := []error{<-accepted}
	errs = append(errs, n.drain(), n.closeParts())
	stopAnswering() // last: a node that drains says that it is not ready
	errs = append(errs, <-answered)
	n.logger.Info("stopped")
	return errors.Join(errs...)
}

// close closes a node that does not serve.
func (n *node) close() error {
	errs := []error{n.closeParts()}
	for _, l := range []net.Listener{n.public, n.internal} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// closeParts closes the parts that are open, in the reverse order of their making.
func (n *node) closeParts() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(errs...)
}

// bounded calls f with a context that ends.
func (n *node) bounded(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return f(ctx)
}
