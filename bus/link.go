package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// flushTimeout is how long NATS may take for one round trip before the connection is given up. It is longer than
	// writeTimeout, so that a stalled write shows as one.
	flushTimeout = 3 * time.Second
	// slowInterval is how often subscriptions that have lost messages are looked at.
	slowInterval = time.Second
	// reopenInterval is how long to wait before a connection that ended for good is replaced, if that fails.
	reopenInterval = time.Second
)

// linkState is how far a group's subscription to NATS is.
type linkState uint8

const (
	unsubscribed linkState = iota // nobody has asked
	wanted                        // in link.todo
	subscribed                    // nats.go knows it, and sends it again whenever it connects
	confirmed                     // the server has it too, or gets it before link.connected is true again
	removed                       // the group is no longer in the table
)

// link keeps the node's subscriptions to NATS: one for each group with members. All calls of nats.go that can wait, for
// a server that stalls or for a dial, are made by its own goroutine; joins and leaves only leave it a note.
type link struct {
	// Fixed after newLink.
	hub     *hub
	metrics *metrics
	log     *slog.Logger
	dialer  *dialer
	connect func() (*nats.Conn, error)
	prefix  string
	linger  time.Duration
	started time.Time
	inbound chan *nats.Msg // all subscriptions' messages
	wake    chan struct{}
	first   chan struct{} // closed when connected is true for the first time
	gone    chan struct{} // closed when the last connection has ended, after end
	ended   chan struct{}

	// Owned by the link's goroutine.
	unconfirmed []*group // subscribed, not confirmed
	watched     []*group // have lost messages

	// Guarded by mu.
	mu         sync.Mutex
	todo       []*group // wanted
	waiting    []*group // with joins that wait
	idle       []idler
	slow       []*group // to be watched
	up         bool     // nats.go is connected
	lost       bool     // nats.go has given up
	closing    bool
	generation uint64 // grows with each lost connection
	said       map[string]saying

	// Atomic.
	conn       atomic.Pointer[nats.Conn]
	connected  atomic.Bool  // up, and all subscriptions are confirmed. Written with mu held.
	maxPayload atomic.Int64 // the server's
}

// idler is a group that had no members at a time since link.started.
type idler struct {
	group *group
	at    time.Duration
}

// ready reports whether the join c to g is effective at once: the server has the subscription, or is away. Otherwise c
// waits for the server. The group's stripe is locked.
func (l *link) ready(g *group, c *command) bool {
	if g.state == unsubscribed {
		g.state = wanted
		l.note(&l.todo, g)
	}
	if g.state == confirmed || !l.connected.Load() {
		return true
	}
	g.waiting = append(g.waiting, c)
	if len(g.waiting) == 1 {
		l.note(&l.waiting, g)
	}
	if l.connected.Load() {
		return false
	}
	// The connection was lost since, and down may have been too early to find c.
	last := len(g.waiting) - 1
	g.waiting[last] = nil
	g.waiting = g.waiting[:last]
	return true
}

// idles notes that g has no members. Its stripe is locked.
func (l *link) idles(g *group) {
	g.idle = time.Since(l.started)
	if g.idling {
		return
	}
	g.idling = true
	l.mu.Lock()
	l.idle = append(l.idle, idler{g, g.idle})
	l.mu.Unlock()
	l.kick()
}

// note appends g to one of the lists, and lets the link's goroutine look.
func (l *link) note(list *[]*group, g *group) {
	l.mu.Lock()
	*list = append(*list, g)
	l.mu.Unlock()
	l.kick()
}

func (l *link) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// taken empties one of the lists.
func (l *link) taken(list *[]*group) []*group {
	l.mu.Lock()
	defer l.mu.Unlock()
	gs := *list
	*list = nil
	return gs
}

// loop works until ctx ends. Then it closes the connection.
func (l *link) loop(ctx context.Context) {
	defer close(l.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.wake:
		case <-timer.C:
		case <-ctx.Done():
			l.end()
			return
		}
		next := time.Hour
		if !l.reopen() {
			next = reopenInterval
		}
		l.subscribeAll()
		l.confirmAll(ctx)
		next = min(next, l.countSlow(), l.sweep())
		timer.Reset(next)
	}
}

// subscribeAll makes the wanted subscriptions.
func (l *link) subscribeAll() {
	nc := l.conn.Load()
	for _, g := range l.taken(&l.todo) {
		if !l.advance(g, wanted, wanted) {
			continue // subscribed since
		}
		sub, err := nc.ChanSubscribe(l.prefix+token(g.name), l.inbound)
		if err != nil {
			l.warn("subscribe", "bus: cannot subscribe", err) // nats.go has given up; reopen asks for g again
			continue
		}
		g.sub, g.dropped = sub, 0
		l.metrics.subscriptions.Inc()
		l.advance(g, wanted, subscribed)
		l.unconfirmed = append(l.unconfirmed, g)
	}
}

// advance moves g from one state to another, and reports false if it is in a third one.
func (l *link) advance(g *group, from, to linkState) bool {
	st := l.hub.stripe(g.name)
	st.mu.Lock()
	defer st.mu.Unlock()
	if g.state != from {
		return false
	}
	g.state = to
	return true
}

// confirmAll makes one round trip for all subscriptions that the server may not have yet, and for a connection that is
// new. After it, the joins that waited are effective.
func (l *link) confirmAll(ctx context.Context) {
	l.mu.Lock()
	up, generation := l.up, l.generation
	l.mu.Unlock()
	if !up || len(l.unconfirmed) == 0 && l.connected.Load() {
		return // while NATS is away, joins do not wait
	}
	if !l.flush(ctx) {
		return
	}
	for _, g := range l.unconfirmed {
		l.advance(g, subscribed, confirmed)
	}
	l.unconfirmed = nil

	l.mu.Lock()
	back := l.generation == generation && !l.connected.Load()
	if back {
		l.connected.Store(true)
		l.metrics.connected.Set(1)
	}
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	if back {
		select {
		case <-l.first:
		default:
			close(l.first)
		}
	}
	for _, g := range waiting {
		l.releaseConfirmed(g)
	}
}

// releaseConfirmed lets the joins to g go on, or keeps them for the next round trip.
func (l *link) releaseConfirmed(g *group) {
	st := l.hub.stripe(g.name)
	st.mu.Lock()
	defer st.mu.Unlock()
	if g.state == confirmed || !l.connected.Load() {
		g.release()
	} else if len(g.waiting) > 0 {
		l.note(&l.waiting, g)
	}
}

// flush makes a round trip. A connection that does not manage one in time is given up: nats.go may have lost what it
// should have sent, also a subscription, and makes up for it when it connects again.
func (l *link) flush(ctx context.Context) bool {
	nc := l.conn.Load()
	limited, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	err := nc.FlushWithContext(limited)
	if errors.Is(err, context.DeadlineExceeded) {
		l.warn("flush", "bus: NATS does not answer, connecting again", err)
		l.down()
		_ = nc.ForceReconnect() // its only error is that the connection has ended, which reopen sees to
	}
	return err == nil
}

// sweep ends the subscriptions of groups that have had no members for the linger time, and returns when to look again.
func (l *link) sweep() (next time.Duration) {
	for {
		l.mu.Lock()
		if len(l.idle) == 0 {
			l.idle = nil
			l.mu.Unlock()
			return time.Hour
		}
		i := l.idle[0]
		if wait := i.at + l.linger - time.Since(l.started); wait > 0 {
			l.mu.Unlock()
			return wait
		}
		l.idle[0] = idler{}
		l.idle = l.idle[1:]
		l.mu.Unlock()
		l.retire(i)
	}
}

// retire removes the group if it is still empty, and has been since i.at. The group's lock decides against a join that
// comes at the same time: it finds the group, or makes a new one.
func (l *link) retire(i idler) {
	g := i.group
	st := l.hub.stripe(g.name)
	st.mu.Lock()
	switch {
	case g.members > 0 || st.closed:
		g.idling = false
	case g.idle != i.at: // it had members meanwhile
		l.mu.Lock()
		l.idle = append(l.idle, idler{g, g.idle})
		l.mu.Unlock()
	default:
		g.release() // joins that were left before they were effective
		l.hub.remove(st, g)
		g.state = removed
		defer l.unsubscribe(g) // without the lock
	}
	st.mu.Unlock()
}

func (l *link) unsubscribe(g *group) {
	if g.sub == nil {
		return
	}
	l.countDropped(g)
	_ = g.sub.Unsubscribe() // its only error is that the connection has ended, and the subscription with it
	g.sub = nil
	l.metrics.subscriptions.Dec()
}

// slows notes that a subscription lost a message.
func (l *link) slows(subject string) {
	name, err := parseSubject(l.prefix, subject)
	if err != nil {
		return
	}
	st := l.hub.stripe(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	if g := st.groups[name]; g != nil && !g.slow {
		g.slow = true
		l.note(&l.slow, g)
	}
}

// countSlow counts what was lost since the last look, and returns when to look again. nats.go tells of the first message
// that a subscription loses and then no more until one has come through, but it counts each; so from the first on, the
// subscription is looked at for as long as it lasts.
func (l *link) countSlow() (next time.Duration) {
	l.watched = append(l.watched, l.taken(&l.slow)...)
	keep := l.watched[:0]
	for _, g := range l.watched {
		if g.sub != nil {
			l.countDropped(g)
			keep = append(keep, g)
			continue
		}
		st := l.hub.stripe(g.name)
		st.mu.Lock()
		g.slow = false
		st.mu.Unlock()
	}
	clear(l.watched[len(keep):])
	l.watched = keep
	if len(keep) == 0 {
		return time.Hour
	}
	return slowInterval
}

func (l *link) countDropped(g *group) {
	if n, err := g.sub.Dropped(); err == nil && n > g.dropped {
		l.metrics.droppedSlowConsumer.Add(float64(n - g.dropped))
		g.dropped = n
	}
}

// end counts what is left to count and closes the connection.
func (l *link) end() {
	l.countSlow()
	l.mu.Lock()
	l.closing = true
	lost := l.lost
	l.connected.Store(false)
	l.metrics.connected.Set(0)
	l.mu.Unlock()
	l.metrics.subscriptions.Set(0)
	if !lost {
		l.conn.Load().Close()
		<-l.gone
	}
	l.dialer.close()
}
