package actor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// Why [System.Open] does not take a connection.
var (
	ErrFull        = errors.New("the node has as many connections as it may have")
	ErrAddressFull = errors.New("the client's address has as many connections as it may have")
	ErrUserFull    = errors.New("the user has as many connections as it may have")
	ErrDraining    = errors.New("the node is draining")
	ErrUnavailable = errors.New("the journal is not available")
)

// Bus is the channel layer, as actors use it. Its contract is that of [bus.Local].
type Bus interface {
	Join(g session.Group, m bus.Member, shard uint32, done func(error)) *bus.Membership
	Leave(ms *bus.Membership)
	Publish(m bus.Message, w bus.Waiter) error
}

// Journal keeps the events of sessions. Append keeps all records, in order, or none; for records other than an opening
// it is called on the actors' goroutines and must not wait for I/O. It may be called by several goroutines at once.
type Journal interface {
	Append(ctx context.Context, records ...session.Record) error
}

// noJournal keeps nothing.
type noJournal struct{}

func (noJournal) Append(context.Context, ...session.Record) error { return nil }

// Config is the configuration of a [System].
type Config struct {
	// Bus is required.
	Bus Bus
	// Journal keeps the events. Nil: nobody keeps any.
	Journal Journal
	// Epoch is this life of the node. Zero: a new one.
	Epoch session.Epoch
	// Limits bounds what clients can cost, see [System.SetLimits].
	Limits Limits
	// MessageBytes bounds a client's message. 0: 64 KiB.
	MessageBytes int
	// OutboxBytes bounds what is queued for one connection, with 32 bytes for each frame added. 0: 1 MiB.
	OutboxBytes int
	// WriteTimeout is how long a write may wait for a client that does not read. 0: 10 s.
	WriteTimeout time.Duration
	// PingInterval is how long a peer may be silent before it is pinged, PongTimeout how long until it must have been
	// heard of then. 0: 25 s and 20 s.
	PingInterval, PongTimeout time.Duration
	// CloseTimeout bounds the closing handshake. 0: 5 s.
	CloseTimeout time.Duration
	// CompressionLevel is from 1 (fast) to 9 (small), and CompressionMinBytes the size from which on messages are compressed,
	// for connections that agreed on it: Birth.Compressed. 0: 1, and 256.
	CompressionLevel, CompressionMinBytes int
	// Logger gets panics of Handlers. Nil: slog.Default().
	Logger *slog.Logger
	// Registerer gets the metrics. Nil: nobody.
	Registerer prometheus.Registerer
}

// System keeps the actors of one node. Its methods may be called by several goroutines at once.
type System struct {
	// Fixed after New.
	config   Config
	metrics  *metrics
	deflater *deflater
	began    time.Time
	stop     chan struct{} // closed: the sweeper ends
	swept    chan struct{} // closed: it has ended

	running sync.WaitGroup // actors, and their temporary writers
	last    atomic.Uint64  // the number of the newest session
	clock   atomic.Int64   // now(), at the sweeper's last tick
	limits  atomic.Pointer[limits]
	joiners sync.Pool // of *joiner

	// Guarded by mu.
	mu        sync.Mutex
	actors    []*Actor
	due       []int64            // of each actor: when the sweeper looks at it next, Unix milliseconds
	born      []int32            // of each actor: when it was opened, in bornUnits since the System was made; retired: it is closing
	byAddress map[netip.Addr]int // connections of each address that has one, counted while Limits.PerAddress is on
	byUser    map[string]int     // and of each user
	draining  bool
	empty     chan struct{} // not nil: to be closed when the last actor is gone
	stopped   bool
}

// New starts a System. The caller closes it, before its Bus and its Journal.
func New(c Config) (*System, error) {
	switch {
	case c.Bus == nil:
		return nil, errors.New("actor: Config.Bus is required")
	case c.CompressionLevel < 0 || c.CompressionLevel > 9 || c.CompressionMinBytes < 0:
		return nil, errors.New("actor: Config.CompressionLevel must be 1 to 9, and CompressionMinBytes not negative")
	case min(c.MessageBytes, c.OutboxBytes) < 0,
		min(c.WriteTimeout, c.PingInterval, c.PongTimeout, c.CloseTimeout) < 0:
		return nil, errors.New("actor: the limits and times of Config must not be negative")
	}
	var err error
	if c.Epoch.IsZero() {
		if c.Epoch, err = session.NewEpoch(time.Now(), rand.Reader); err != nil {
			return nil, fmt.Errorf("actor: %w", err)
		}
	}
	c.Journal = cmp.Or[Journal](c.Journal, noJournal{})
	c.MessageBytes = cmp.Or(c.MessageBytes, 64<<10)
	c.OutboxBytes = cmp.Or(c.OutboxBytes, 1<<20)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 10*time.Second)
	c.PingInterval = cmp.Or(c.PingInterval, 25*time.Second)
	c.PongTimeout = cmp.Or(c.PongTimeout, 20*time.Second)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, 5*time.Second)
	c.CompressionLevel = cmp.Or(c.CompressionLevel, 1)
	c.CompressionMinBytes = cmp.Or(c.CompressionMinBytes, 256)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	l, err := newLimits(c.Limits, c.MessageBytes)
	if err != nil {
		return nil, err
	}
	s := &System{config: c, began: time.Now(), stop: make(chan struct{}), swept: make(chan struct{})}
	s.limits.Store(l)
	s.joiners.New = newJoiner
	if s.metrics, err = newMetrics(c.Registerer, s.Len); err != nil {
		return nil, fmt.Errorf("actor: %w", err)
	}
	s.deflater = newDeflater(c.CompressionLevel, c.CompressionMinBytes, s.metrics)
	s.clock.Store(s.now())
	go s.sweep()
	return s, nil
}

// Birth is what is known of a connection when its actor is made.
type Birth struct {
	Identity *session.Identity
	Route    string // the route's path pattern
	Handler  Handler
	Groups   []session.Group // joined at once
	By, Rule string          // what decided, for the journal: see session.Opened
	Greet    bool            // tell the client who it is in the first frame
	Response []byte          // the 101 response, written before all else; borrowed
	// Compressed says that Response agrees on permessage-deflate with server_no_context_takeover and
	// client_no_context_takeover (RFC 7692).
	Compressed bool
	Pending    []byte // what the client sent behind its request; borrowed
	Remote     netip.Addr
}

// Open makes the actor of a connection whose client may come in: the opening is in the journal and the groups are joined
// before the client is answered. When it returns nil, the connection is the System's; when it returns ErrFull, ErrAddressFull,
// ErrUserFull, ErrTooManyGroups, ErrDraining, ErrUnavailable or ctx's error, nothing has happened and the caller answers.
// What is borrowed in b is not used after Open has returned.
func (s *System) Open(ctx context.Context, conn net.Conn, b Birth) error {
	if b.Identity == nil || b.Handler == nil {
		return errors.New("actor: Birth.Identity and Birth.Handler are required")
	}
	a := &Actor{
		system: s, conn: newTransport(conn), handler: b.Handler, identity: b.Identity, number: s.last.Add(1),
		// Members get messages before the client is answered, but nothing goes out before the response.
		out: newOutbox(), compressed: b.Compressed,
	}
	a.out.held = true
	if s, ok := a.conn.(interface{ descriptor() int32 }); ok {
		a.direct = 1 + s.descriptor()
	}
	a.expires.Store(milliseconds(b.Identity.Expires))
	if err := s.add(a, &b); err != nil {
		return err
	}
	now := time.Now()
	a.heard.Store(s.now())
	err := a.decide(ctx, now, session.Opened{
		Identity: b.Identity, Route: b.Route, Protocol: "raw", Remote: session.TruncateAddr(b.Remote), Groups: b.Groups,
		By: b.By, Rule: b.Rule,
	})
	if err != nil {
		s.forget(a)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.joinAll(a)
	if t, ok := a.conn.(layered); ok { // nothing can fail any more: the caller has no use for it
		t.begin()
	}
	a.open()
	a.answer(b)
	if len(b.Pending) > 0 {
		go a.start(append([]byte(nil), b.Pending...))
	} else {
		go a.run()
	}
	s.schedule(a, s.firstDue(a, s.now()))
	return nil
}

// open calls Handler.Open. If that panics, the close frame comes behind the response.
func (a *Actor) open() {
	defer a.contain(false)
	a.handler.Open(a)
}

// answer writes the 101 response and the greeting in one go, and lets out what was queued meanwhile.
func (a *Actor) answer(b Birth) {
	first := b.Response
	if b.Greet {
		first = append(first[:len(first):len(first)], greeting(a.identity)...)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.out == nil { // cut off already: run finds out
		return
	}
	n, err := a.conn.write(first)
	if n < len(first) && err == nil { // a broken connection is found by reading
		a.out.partial = append([]byte(nil), first[n:]...) // what is left of the borrowed bytes
		a.queuedLocked(cost(a.out.partial))
	}
	a.out.held = false
	a.startWriterLocked()
}

// joinAll joins the groups of the opening, and returns when that is effective.
func (s *System) joinAll(a *Actor) {
	groups := a.state.Groups
	if len(groups) == 0 {
		return
	}
	a.members = make([]*bus.Membership, len(groups))
	w := s.joiners.Get().(*joiner)
	w.left.Store(int32(len(groups)))
	for i, g := range groups {
		a.members[i] = s.join(a, g, w.done)
	}
	<-w.all
	s.joiners.Put(w)
}

func (s *System) join(a *Actor, g session.Group, done func(error)) *bus.Membership {
	return s.config.Bus.Join(g, a, uint32(a.number), done) //nolint:gosec // which shard: any bits will do
}

// joiner waits for the joins of one opening.
type joiner struct {
	left atomic.Int32
	all  chan struct{}
	done func(error)
}

func newJoiner() any {
	w := &joiner{all: make(chan struct{}, 1)}
	w.done = func(error) { // the bus is closed: it ends after the actors, who are told to end
		if w.left.Add(-1) == 0 {
			w.all <- struct{}{}
		}
	}
	return w
}

// add makes room for a.
func (s *System) add(a *Actor, b *Birth) error {
	l := s.limits.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return ErrDraining
	case len(b.Groups) > l.GroupsPerConnection:
		s.metrics.limitedGroups.Inc()
		return ErrTooManyGroups
	case len(s.actors) >= l.Connections:
		s.metrics.limitedNode.Inc()
		return ErrFull
	}
	if err := s.admitLocked(a, b.Remote, l); err != nil {
		return err
	}
	a.slot = int32(len(s.actors)) //nolint:gosec // fewer than there are descriptors
	s.actors = append(s.actors, a)
	s.due = append(s.due, never64)
	s.born = append(s.born, int32(time.Since(s.began)/bornUnit)) //nolint:gosec // enough for seven years
	s.running.Add(1)
	return nil
}

// forget undoes add.
func (s *System) forget(a *Actor) {
	s.mu.Lock()
	last := len(s.actors) - 1
	s.actors[a.slot], s.due[a.slot], s.born[a.slot] = s.actors[last], s.due[last], s.born[last]
	s.actors[a.slot].slot = a.slot
	s.actors[last] = nil
	s.actors, s.due, s.born = s.actors[:last], s.due[:last], s.born[:last]
	a.slot = -1
	s.dismissLocked(a)
	if last == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
	s.mu.Unlock()
	s.running.Done()
}

// remove takes out an actor that has ended.
func (s *System) remove(a *Actor, code CloseCode) {
	s.metrics.closed(code)
	s.forget(a)
}

// Epoch returns Config.Epoch, or the one that New made.
func (s *System) Epoch() session.Epoch { return s.config.Epoch }

// Len returns how many connections there are.
func (s *System) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.actors)
}
