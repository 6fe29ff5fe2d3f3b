package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// ListenConfig says how to listen. The zero value is the default.
type ListenConfig struct {
	// DeferAccept lets the kernel keep a connection to itself until its first bytes have come, or so long, in whole
	// seconds: a client that says nothing takes nobody's handshake. But a TCP health check that connects and waits has to
	// wait. Linux only (TCP_DEFER_ACCEPT); elsewhere Listen says that it cannot. 0: off.
	DeferAccept time.Duration
}

// Listen is ListenConfig{}.Listen.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	return ListenConfig{}.Listen(ctx, addr)
}

// Listen listens on the TCP address addr, such as "0.0.0.0:8000". Connections have no TCP keep-alive, since the actors'
// heartbeats find the dead sooner, and are never Multipath TCP, of which the kernel keeps more for each connection.
func (c ListenConfig) Listen(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	if c.DeferAccept > 0 {
		seconds := int((c.DeferAccept + time.Second - 1) / time.Second)
		lc.Control = func(_, _ string, conn syscall.RawConn) error { return deferAccept(conn, seconds) }
	}
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if l, err = newListener(l); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return l, nil
}

// How long the accept loop waits after an error of the kernel: twice as long after each, and from the beginning after a
// connection. Nothing is lost meanwhile that the kernel's backlog can hold.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Serve accepts connections from l and takes their handshakes, at most Config.Handshakes at once. Others wait, for what
// Config.HandshakeTimeout leaves them; when Config.Heads are there, the one whose request is the longest in coming has to
// make room, after a quarter of a second. While all have sent theirs and wait, nothing is accepted, and the kernel's backlog
// holds the rest. It closes l.
//
// Serve goes on until ctx ends, and then returns nil; errors that pass, such as too many open files, it waits out. It
// returns an error when l was closed by someone else or is no listener. In any case it returns only after each handshake
// has ended: those that are going on when ctx ends are refused with 503, which takes a second at most where verifiers obey
// their context. Connections that were handed over live on.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newServing(g)
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		l.Close() // wakes Accept
	})
	journaled := g.refused.start(context.WithoutCancel(ctx))

	err := s.accept(ctx, l)

	cancel()
	if stop() {
		l.Close()
	} else {
		<-closed
	}
	s.stop()
	s.handshakes.Wait()
	journaled()
	return err
}

// accept is the loop that accepts. It returns nil when ctx ended.
func (s *serving) accept(ctx context.Context, l net.Listener) error {
	g := s.gateway
	g.accepting.Add(1)
	defer g.accepting.Add(-1)
	t := trouble{gateway: g}
	for {
		conn, err := l.Accept()
		if err == nil {
			t.over(ctx)
			if !s.room(ctx) {
				conn.Close()
				return nil
			}
			s.handshakes.Add(1)
			go s.handshake(ctx, conn)
			g.pace(ctx)
			continue
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case isFatal(err):
			return fmt.Errorf("gateway: %w", err)
		}
		t.wait(ctx, err)
	}
}

// isFatal reports whether no later Accept can do better: the listener is closed, or is none.
func isFatal(err error) bool {
	for _, fatal := range []error{net.ErrClosed, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP} {
		if errors.Is(err, fatal) {
			return true
		}
	}
	return false
}

// trouble is a time in which the kernel gives errors instead of connections. It belongs to the accept loop. One that comes
// and goes is one: it is over when a connection comes and the last error is maxAcceptPause ago.
type trouble struct {
	gateway *Gateway
	since   time.Time // zero: all is well
	last    time.Time
	errors  int
	pause   time.Duration
}

// wait counts err, logs the first of a trouble, and waits, at most until ctx ends.
func (t *trouble) wait(ctx context.Context, err error) {
	g := t.gateway
	g.metrics.acceptErrors.Inc()
	t.last = time.Now()
	t.errors++
	if t.since.IsZero() {
		t.since = t.last
		g.logger.LogAttrs(ctx, slog.LevelError, "cannot accept connections: waiting", slog.Any("error", err))
	}
	t.pause = min(max(2*t.pause, minAcceptPause), maxAcceptPause)
	g.accepting.Add(-1)
	defer g.accepting.Add(1)
	timer := time.NewTimer(t.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// over notes that a connection came.
func (t *trouble) over(ctx context.Context) {
	t.pause = 0
	if t.since.IsZero() || time.Since(t.last) < maxAcceptPause {
		return
	}
	t.gateway.logger.LogAttrs(ctx, slog.LevelInfo, "accepting connections again",
		slog.Int("errors", t.errors), slog.Duration("lasted", t.last.Sub(t.since)))
	*t = trouble{gateway: t.gateway}
}
