package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// deadline is a context like that of [context.WithDeadline], whose timer is not started before somebody waits for it: a
// verifier that asks nobody never does, and the timer is a twentieth of what such a handshake costs.
type deadline struct {
	parent context.Context
	at     time.Time

	ended atomic.Bool

	arming sync.Mutex
	armed  atomic.Pointer[armed]
}

type armed struct {
	context.Context
	cancel context.CancelFunc
}

// end releases what the deadline holds, as the cancel function of context.WithDeadline does.
func (d *deadline) end() {
	d.ended.Store(true)
	if a := d.armed.Load(); a != nil {
		a.cancel()
	}
}

// arm returns the context with a timer.
func (d *deadline) arm() *armed {
	if a := d.armed.Load(); a != nil {
		return a
	}
	d.arming.Lock()
	defer d.arming.Unlock()
	if a := d.armed.Load(); a != nil {
		return a
	}
	ctx, cancel := context.WithDeadline(d.parent, d.at)
	a := &armed{ctx, cancel}
	d.armed.Store(a)
	if d.ended.Load() { // end did not see it
		cancel()
	}
	return a
}

// Deadline implements [context.Context].
func (d *deadline) Deadline() (time.Time, bool) {
	if at, ok := d.parent.Deadline(); ok && at.Before(d.at) {
		return at, true
	}
	return d.at, true
}

// Done implements [context.Context]. It starts the timer.
func (d *deadline) Done() <-chan struct{} { return d.arm().Done() }

// Err implements [context.Context].
func (d *deadline) Err() error {
	if a := d.armed.Load(); a != nil {
		return a.Err()
	}
	switch err := d.parent.Err(); {
	case err != nil:
		return err
	case d.ended.Load():
		return context.Canceled
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements [context.Context]. Once the timer runs, children find it here and need no goroutine of their own.
func (d *deadline) Value(key any) any {
	if a := d.armed.Load(); a != nil {
		return a.Value(key)
	}
	return d.parent.Value(key)
}
