package bus

import (
	"cmp"
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/session"
)

// LocalConfig is the configuration of a [Local]. The zero value is a good one.
type LocalConfig struct {
	// Shards is how many goroutines deliver. 0: GOMAXPROCS.
	Shards int
	// InboxBytes bounds the messages that wait for one shard: payloads, and 64 bytes for each message. One message that
	// alone is larger is taken by an empty inbox. 0: 1 MiB.
	InboxBytes int
	// MaxPayload is the largest payload in bytes. 0: 1 MiB.
	MaxPayload int
	// Registerer gets the metrics. Nil: nobody.
	Registerer prometheus.Registerer
}

// Local is a bus of this node alone, in memory. All its methods may be called at the same time.
type Local struct {
	hub        *hub
	maxPayload int
}

// NewLocal starts a Local, with a goroutine for each shard. The caller closes it.
func NewLocal(c LocalConfig) (*Local, error) {
	if err := checkSizes(c.Shards, c.InboxBytes, c.MaxPayload); err != nil {
		return nil, err
	}
	m := newMetrics()
	h := newHub(c.Shards, c.InboxBytes, m)
	m.inboxBytes = h.inboxBytes
	m.connected.Set(1)
	if err := m.register(c.Registerer); err != nil {
		return nil, err
	}
	h.start()
	return &Local{hub: h, maxPayload: cmp.Or(c.MaxPayload, defaultMaxPayload)}, nil
}

// Join makes m a member of g. It never blocks.
//
// done, which may be nil, is called exactly once, on another goroutine or on this one, and must not block: with nil when
// the join is effective, so that whatever anyone publishes after done was called reaches m; or with an error when it
// never will be: [ErrLeft], [ErrClosed], or [session.ErrGroup] for the zero Group. m gets nothing before done has
// returned, and nothing whose Publish on this node had returned before Join was called.
//
// The member belongs to the shard of that number, modulo how many there are; the joins and leaves of one shard take
// effect in the order in which they were called. A member that joins a group twice is a member twice.
//
// The Membership is for Leave, and never nil.
func (b *Local) Join(g session.Group, m Member, shard uint32, done func(error)) *Membership {
	return b.hub.join(g, m, shard, done)
}

// Leave ends the membership. It never blocks, and is idempotent. Deliver may still be called until the member's shard
// has taken note; it has, for example, once the done function of a later Join to the same shard was called.
func (b *Local) Leave(ms *Membership) { b.hub.leave(ms) }

// Publish hands m to all members of its group. It never blocks. If it returns nil, each member will get m exactly once,
// unless its Deliver returns false or it leaves. Otherwise nobody gets it:
//
//   - [ErrBusy]: a queue is full. If w is not nil, its BusReady is called once when it is worth trying again.
//   - [ErrTooLarge]: the payload is over the limit.
//   - [ErrClosed]: Close was called. If it was called at the same time, some members may get m nevertheless.
//   - [session.ErrGroup], wrapped: m has the zero Group.
//
// The bus keeps the payload: it must not be changed any more.
func (b *Local) Publish(m Message, w Waiter) error {
	if m.Group.IsZero() {
		return errNoGroup
	}
	if len(m.Payload) > b.maxPayload {
		return ErrTooLarge
	}
	return b.hub.publish(&m, w)
}

// Connected reports whether the bus reaches all nodes, and there is only this one: it returns true.
func (b *Local) Connected() bool { return true }

// Close makes every later Publish and Join fail, delivers what was published, and ends all goroutines. When ctx ends
// first, it returns ctx's error, what is left is not delivered, and the goroutines end as soon as the members that block
// them return. Close is idempotent.
func (b *Local) Close(ctx context.Context) error {
	b.hub.refuse()
	if err := b.hub.drain(ctx); err != nil {
		return fmt.Errorf("bus: close: %w", err)
	}
	return nil
}
