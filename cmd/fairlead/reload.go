package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// reloader takes up changes of the configuration while the node serves.
type reloader struct {
	// Fixed after newReloader.
	ok, failed prometheus.Counter

	// Fixed before the node serves. Nil: the log's level stays.
	level *slog.LevelVar

	// Guarded by mu, which is held while the configuration is taken up.
	mu       sync.Mutex
	parts    *assembly      // in force
	settings *config.Loaded // in force, but for keys that need a restart
	closed   bool
	retiring sync.WaitGroup // of parts that are no longer in force
}

// newReloader returns a reloader of a node that starts with these parts, which become its to close.
func newReloader(r prometheus.Registerer, l *config.Loaded, parts *assembly) (*reloader, error) {
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_config_reloads_total", Help: "Times that the configuration was read again (SIGHUP), by result; with error nothing changed.",
	}, []string{"result"})
	rl := &reloader{
		ok: reloads.WithLabelValues("ok"), failed: reloads.WithLabelValues("error"), settings: l, parts: parts,
	}
	return rl, r.Register(reloads)
}

// close closes the parts that are in force and those that were, once no handshake needs them. Nothing is taken up any more.
func (rl *reloader) close() error {
	rl.mu.Lock()
	rl.closed = true
	rl.mu.Unlock()
	rl.retiring.Wait()
	return rl.parts.Close()
}

// settings returns the configuration that is in force, but for keys that need a restart. Any goroutine.
func (n *node) settings() *config.Loaded {
	n.reloader.mu.Lock()
	defer n.reloader.mu.Unlock()
	return n.reloader.settings
}

// hangups returns a channel that gets SIGHUP, which else ends the process. The caller stops that by signal.Stop.
func hangups() chan os.Signal {
	in := make(chan os.Signal, 1)
	signal.Notify(in, syscall.SIGHUP)
	return in
}

// reloadOn calls reload for each signal that comes in until ctx ends; later ones find in the log that they do nothing. The
// caller calls stop when it is done.
func (n *node) reloadOn(ctx context.Context, in <-chan os.Signal, load func() (*config.Loaded, error)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	var goroutine sync.WaitGroup
	goroutine.Go(func() {
		for {
			select {
			case <-in:
				n.reload(ctx, load)
			case <-stopped:
				return
			}
		}
	})
	return func() {
		cancel()
		close(stopped)
		goroutine.Wait()
	}
}

// reload reads the configuration again and takes up what can be while the node serves. If there is a mistake in it, nothing
// changes. Nor does anything when ctx has ended: the node stops. Whatever comes of it is in the log.
func (n *node) reload(ctx context.Context, load func() (*config.Loaded, error)) {
	err := ctx.Err()
	var l *config.Loaded
	if err == nil {
		l, err = load()
	}
	var parts *assembly
	if err == nil {
		parts, err = assemble(ctx, n.asStarted(l), n.series, n.logger, n.desk)
	}
	if err == nil {
		err = n.takeUp(l, parts)
	}
	switch {
	case err == nil:
		n.reloader.ok.Inc()
		n.checkTickets(l)
		return
	case errors.Is(err, errStopping), ctx.Err() != nil: // what ended with ctx is no mistake in the configuration
		n.logger.Warn("the configuration is not read again: the node is stopping")
		return
	}
	n.reloader.failed.Inc()
	n.logger.Error("the configuration has a mistake: nothing has changed, the one from before is in force")
	for line := range strings.Lines(err.Error()) {
		n.logger.Error("mistake in the configuration", "error", strings.TrimSpace(line))
	}
}

var errStopping = errors.New("the node stops")

// takeUp puts l, of which parts were made, in force. They are closed if that fails.
func (n *node) takeUp(l *config.Loaded, parts *assembly) error {
	rl := n.reloader
	rl.mu.Lock()
	defer rl.mu.Unlock()
	reload, _ := config.Changes(rl.settings.Config, l.Config)
	_, restart := config.Changes(n.config.Config, l.Config)
	if rl.closed {
		return errors.Join(errStopping, parts.Close())
	}
	limit, err := n.connectionLimit(l)
	if err != nil {
		return errors.Join(err, parts.Close())
	}
	parts.inherit(rl.parts)
	unused, err := n.gateway.SetRoutes(parts.routes)
	if err != nil {
		return errors.Join(err, parts.Close())
	}
	parts.listen(newChanges(n.gateway).note)
	n.retire(rl.parts, unused)
	rl.parts, rl.settings = parts, l
	// config has checked the limits, so there is no error that would leave the half of them in force.
	err = errors.Join(n.actors.SetLimits(actorLimits(l.Limits, limit)), n.gateway.SetLimits(gatewayLimits(l.Limits)))
	n.api.SetKeys(parts.apiKeys)
	if n.certificate != nil {
		_ = n.certificate.Reload() // it logs what is wrong; the one before serves on
	}
	if rl.level != nil {
		rl.level.Set(logLevel(l.Log))
	}
	n.peers.Announce()
	n.logger.Info("the configuration was read again", "changed", reload)
	if len(restart) > 0 {
		n.logger.Warn("these keys differ from those that the node was started with, and count when it is started again", "keys", restart)
	}
	return err
}

// retire closes parts that are no longer in force once no handshake needs them. The reloader's mu is held.
func (n *node) retire(parts *assembly, unused <-chan struct{}) {
	n.reloader.retiring.Go(func() {
		<-unused
		if err := parts.Close(); err != nil {
			n.logger.Warn("closing what the configuration from before asked for", "error", err)
		}
	})
}

// asStarted returns l as parts are made of it while the node serves: a handshake takes as long as it did at the start.
func (n *node) asStarted(l *config.Loaded) *config.Loaded {
	loaded, c := *l, *l.Config
	c.Limits.HandshakeTimeout = n.config.Limits.HandshakeTimeout
	loaded.Config = &c
	return &loaded
}

// connectionLimit returns how many connections the node takes under l. What needs a restart is as it was at the start.
func (n *node) connectionLimit(l *config.Loaded) (int, error) {
	files, err := openFiles()
	if err != nil {
		return 0, err
	}
	c := *n.config.Config
	c.Limits.Connections, c.Verifiers, c.Authorizers = l.Limits.Connections, l.Verifiers, l.Authorizers
	return connectionLimit(&c, files, n.logger)
}
