package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	defaultInboxBytes = 1 << 20
	defaultMaxPayload = 1 << 20 // NATS' own default

	// stripes is how many locks the table of groups has: enough that two processors seldom want the same.
	stripes = 64
)

// errNoGroup is for the zero Group, which a program can only make by mistake.
var errNoGroup = fmt.Errorf("bus: %w: the zero Group", session.ErrGroup)

// errNegative is returned by the constructors for a negative number in a Config.
var errNegative = errors.New("bus: the configuration has a negative number")

func checkSizes(sizes ...int) error {
	for _, n := range sizes {
		if n < 0 {
			return fmt.Errorf("%w: %d", errNegative, n)
		}
	}
	return nil
}

// hub is this node's half of the bus: the table of groups, and the shards with their members. Local is a hub; NATS is a
// hub with a link.
//
// Locks are taken in this order: a stripe's mu, then link.mu or a queue's mu. None is held while a member, a Waiter, a
// done function or nats.go is called.
type hub struct {
	// Fixed after newHub.
	shards  []*shard
	link    *link // nil: no other nodes
	metrics *metrics
	seed    maphash.Seed

	table [stripes]stripe

	// Atomic.
	abort atomic.Bool // deliver nothing more
}

// stripe is a part of the table of groups.
type stripe struct {
	// Guarded by mu.
	mu     sync.Mutex
	groups map[session.Group]*group
	closed bool
}

// group is a group with members on this node, or one that had some a moment ago.
type group struct {
	// Fixed after hub.join.
	name session.Group

	// Guarded by the mu of its stripe.
	parts   []*part // those with members; replaced, never changed: publishers go through it without the lock
	members int

	// The rest is the link's. state, slow, idling, idle and waiting are guarded by the stripe's mu too ...
	state   linkState
	slow    bool          // in link.slow or link.watched
	idling  bool          // in link.idle
	idle    time.Duration // when the last member left, since link.started
	waiting []*command    // joins that wait for the confirmation of sub

	// ... and these are owned by the link's goroutine.
	sub     *nats.Subscription
	dropped int // of sub.Dropped: counted already
}

// newHub makes a hub of so many shards, which do not run yet.
func newHub(shards, inboxBytes int, m *metrics) *hub {
	shards = cmp.Or(shards, runtime.GOMAXPROCS(0))
	inboxBytes = cmp.Or(inboxBytes, defaultInboxBytes)
	h := &hub{metrics: m, seed: maphash.MakeSeed()}
	for i := range h.table {
		h.table[i].groups = make(map[session.Group]*group)
	}
	for range shards {
		h.shards = append(h.shards, newShard(inboxBytes, m, &h.abort))
	}
	return h
}

// start begins to deliver.
func (h *hub) start() {
	for _, s := range h.shards {
		go s.loop()
	}
}

// inboxBytes returns how many bytes wait for all shards.
func (h *hub) inboxBytes() (n int64) {
	for _, s := range h.shards {
		n += s.inbox.bytes.Load()
	}
	return n
}

func (h *hub) stripe(g session.Group) *stripe {
	return &h.table[maphash.Comparable(h.seed, g)%stripes]
}

// join makes m a member of the named group.
func (h *hub) join(name session.Group, m Member, number uint32, done func(error)) *Membership {
	ms := &Membership{}
	c := &command{membership: ms, member: m, done: done}
	if name.IsZero() {
		c.finish(errNoGroup)
		return ms
	}
	st := h.stripe(name)
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		c.finish(ErrClosed)
		return ms
	}
	g := st.groups[name]
	if g == nil {
		g = &group{name: name}
		st.groups[name] = g
		h.metrics.groups.Inc()
	}
	ms.part = g.part(h.shards[int(number%uint32(len(h.shards)))])
	ms.part.members++
	g.members++
	if h.link != nil && !h.link.ready(g, c) {
		st.mu.Unlock()
		return ms
	}
	s := ms.part.shard
	if !s.inbox.claim() {
		admit(c)
		st.mu.Unlock()
		return ms
	}
	ms.state = joined
	err := s.place(ms.part, c)
	st.mu.Unlock()
	c.finish(err) // before the first delivery: the shard waits for its inbox
	s.inbox.unclaim()
	return ms
}

// admit hands the join to its shard: from there on the member is one. The group's stripe is locked.
func admit(c *command) {
	if ms := c.membership; ms.state == left {
		c.err = ErrLeft
	} else {
		ms.state = joined
	}
	c.membership.part.shard.inbox.push(entry{part: c.membership.part, command: c})
}

// leave ends the membership.
func (h *hub) leave(ms *Membership) {
	p := ms.part
	if p == nil {
		return
	}
	st := h.stripe(p.group)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed || ms.state == left {
		return
	}
	if inbox := &p.shard.inbox; ms.state == joined && inbox.claim() {
		p.remove(ms)
		inbox.unclaim()
	} else if ms.state == joined {
		inbox.push(entry{part: p, command: &command{membership: ms}})
	}
	ms.state = left
	g := st.groups[p.group]
	g.members--
	if p.members--; p.members == 0 {
		g.drop(p)
	}
	if g.members > 0 {
		return
	}
	if h.link == nil {
		h.remove(st, g)
	} else {
		h.link.idles(g)
	}
}

// remove takes the empty group out of the table. Its stripe is locked.
func (h *hub) remove(st *stripe, g *group) {
	delete(st.groups, g.name)
	h.metrics.groups.Dec()
}

// part returns what the group has in s, and makes it if there is nothing yet.
func (g *group) part(s *shard) *part {
	for _, p := range g.parts {
		if p.shard == s {
			return p
		}
	}
	p := &part{group: g.name, shard: s}
	g.parts = append(slices.Clip(g.parts), p)
	return p
}

// drop takes out a part that has no members.
func (g *group) drop(p *part) {
	parts := make([]*part, 0, len(g.parts)-1)
	for _, q := range g.parts {
		if q != p {
			parts = append(parts, q)
		}
	}
	g.parts = parts
}

// parts returns where the group's members are. It reports false once the bus is closed.
func (h *hub) parts(name session.Group) (parts []*part, ok bool) {
	st := h.stripe(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	if g := st.groups[name]; g != nil {
		parts = g.parts
	}
	return parts, !st.closed
}

// publish puts m into the inboxes of all shards with members of its group, or into none: then the error is ErrBusy and w
// is registered, or ErrClosed.
func (h *hub) publish(m *Message, w Waiter) error {
	parts, ok := h.parts(m.Group)
	if !ok {
		return ErrClosed
	}
	n := cost(m.Payload)
	for i, p := range parts {
		if p.shard.inbox.reserve(n) {
			continue
		}
		for _, q := range parts[:i] {
			q.shard.inbox.release(n)
		}
		h.metrics.busyShard.Inc()
		p.shard.inbox.wait(w, n)
		return ErrBusy
	}
	for _, p := range parts {
		if !p.push(m) {
			return ErrClosed // at the same time as Close: some members may get it
		}
	}
	h.metrics.publishedLocal.Inc()
	return nil
}

// push puts m into the shard's inbox, where its cost is reserved. It reports false once the bus is closed.
func (p *part) push(m *Message) bool {
	return p.shard.inbox.push(entry{part: p, payload: m.Payload, binary: m.Binary})
}

// release hands the joins that wait for g to their shards.
func (h *hub) release(g *group) {
	st := h.stripe(g.name)
	st.mu.Lock()
	defer st.mu.Unlock()
	g.release()
}

// release is hub.release with the stripe locked.
func (g *group) release() {
	for _, c := range g.waiting {
		admit(c)
	}
	g.waiting = nil
}

// refuse makes every later join and publish fail, and returns the joins that still wait.
func (h *hub) refuse() (waiting []*command) {
	for i := range h.table {
		st := &h.table[i]
		st.mu.Lock()
		st.closed = true
		for _, g := range st.groups {
			waiting = append(waiting, g.waiting...)
			g.waiting = nil
		}
		st.mu.Unlock()
	}
	return waiting
}

// drain ends the shards, after they have delivered what is in their inboxes. When ctx ends first, what is left is not
// delivered and drain returns without waiting for a member that blocks.
func (h *hub) drain(ctx context.Context) error {
	for _, s := range h.shards {
		s.inbox.close()
	}
	for _, s := range h.shards {
		if !awaits(ctx, s.ended) {
			h.abort.Store(true)
			return ctx.Err()
		}
	}
	return nil
}

// awaits waits for ended to be closed. It reports false if ctx ended first.
func awaits(ctx context.Context, ended <-chan struct{}) bool {
	select {
	case <-ended:
		return true
	default:
	}
	select {
	case <-ended:
		return true
	case <-ctx.Done():
		return false
	}
}
