package gateway

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-ws/fairlead/actor/limit"
)

// Limits bounds what comes in in a second. What connections cost that are in is package actor's to bound.
type Limits struct {
	// AcceptRate is how many connections are taken in a second: beyond it the gateway waits before it accepts the next one,
	// which the kernel's backlog holds until then. Nothing is refused. 0: no limit.
	AcceptRate int
	// HandshakesPerAddress is how many handshakes one IPv4 address or one IPv6 /64 may begin in a second, a quarter of them
	// at once, whatever becomes of them: those beyond are refused with 429 before anybody is asked about them. 0: no limit.
	// See [limit.Table] for what is kept of addresses.
	HandshakesPerAddress int
	// RejectionsPerAddress is how many credentials of one IPv4 address or one IPv6 /64 may be rejected in a minute, all of
	// them at once: then handshakes that bring a credential are refused with 429 before anybody is asked about it. Those that
	// are being verified at that time may be rejected beyond it. 0: no limit.
	RejectionsPerAddress int
}

// rates are the limits at work.
type rates struct {
	// Fixed after newRates.
	began    time.Time // when the clock of the buckets began
	attempts *limit.Table
	rejected *limit.Table

	// Atomic.
	accept   atomic.Pointer[limit.Rate]
	counting atomic.Bool // attempts are limited
	guarding atomic.Bool // rejections are limited

	// Guarded by mu.
	mu   sync.Mutex
	full int64 // when the bucket of accept is full again
}

func newRates() *rates {
	return &rates{began: time.Now(), attempts: limit.NewTable(limit.Rate{}), rejected: limit.NewTable(limit.Rate{})}
}

// now returns nanoseconds by a clock that nobody sets.
func (r *rates) now() int64 { return int64(time.Since(r.began)) }

// set changes the limits.
func (r *rates) set(l Limits) error {
	if min(l.AcceptRate, l.HandshakesPerAddress, l.RejectionsPerAddress) < 0 {
		return errors.New("gateway: Limits must not be negative: 0 is no limit")
	}
	accept := limit.Of(l.AcceptRate, max(l.AcceptRate/20, 1), 1)
	r.accept.Store(&accept)
	attempts := limit.Of(l.HandshakesPerAddress, 0, 1)
	r.attempts.SetRate(attempts)
	r.counting.Store(attempts.Limited())
	rejections := limit.PerMinute(l.RejectionsPerAddress)
	r.rejected.SetRate(rejections)
	r.guarding.Store(rejections.Limited())
	return nil
}

// attempt reports whether a may try to come in.
func (r *rates) attempt(a netip.Addr) bool {
	return !r.counting.Load() || r.attempts.Take(a, r.now())
}

// suspects reports whether enough credentials of a were rejected.
func (r *rates) suspects(a netip.Addr) bool { return r.guarding.Load() && !r.rejected.Has(a, r.now()) }

// reject counts a rejected credential of a.
func (r *rates) reject(a netip.Addr) {
	if r.guarding.Load() {
		r.rejected.Take(a, r.now())
	}
}

// pace counts a connection that was accepted, and returns how long to wait before the next.
func (r *rates) pace() time.Duration {
	rate := r.accept.Load()
	if !rate.Limited() {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(rate.Reserve(&r.full, r.now(), 1))
}

// SetLimits changes the limits from now on. It may be called at any time.
func (g *Gateway) SetLimits(l Limits) error { return g.rates.set(l) }

// pace waits, if the connection that was accepted is one of more than AcceptRate allows, until the next may be. It returns
// early when ctx ends.
func (g *Gateway) pace(ctx context.Context) {
	wait := g.rates.pace()
	if wait <= 0 {
		return
	}
	g.metrics.limitedAccept.Inc()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
