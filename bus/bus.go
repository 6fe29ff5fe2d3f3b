package bus

import (
	"errors"

	"github.com/fairlead-ws/fairlead/session"
)

// ErrBusy is returned by Publish when a queue is full. Nothing was done; the Waiter is called when it is worth trying again.
var ErrBusy = errors.New("bus: busy")

// ErrClosed is returned by Publish, and given to the done function of a join, once Close was called.
var ErrClosed = errors.New("bus: closed")

// ErrTooLarge is returned by Publish for a payload that is over the limit. Nothing was done.
var ErrTooLarge = errors.New("bus: message too large")

// ErrLeft is given to the done function of a join that was undone by Leave before it was effective.
var ErrLeft = errors.New("bus: left before the join was effective")

// Message is one message to a group.
type Message struct {
	Group session.Group
	// Binary tells a binary message from a text message. The payload of a text message must be valid UTF-8: the
	// publisher sees to that.
	Binary bool
	// Payload is read-only once the message is published: the bus and the members keep it.
	Payload []byte
}

// Encoding turns a message into bytes for a client, for example into a WebSocket frame. An Encoding must be comparable
// (it is compared with ==) and pure: one Encoding has one result for a message. AppendMessage appends to dst, keeps
// neither dst nor m, and is called on the goroutines of the shards, at the same time by several of them.
type Encoding interface {
	AppendMessage(dst []byte, m *Message) []byte
}

// Member is one member of a group.
type Member interface {
	// Deliver takes a run of one group's messages. It is called on a shard's goroutine, one call at a time for one
	// membership, and must neither block nor call the bus. It returns false if the batch could not be delivered: its
	// messages are then counted as dropped, and the membership goes on until Leave.
	Deliver(b *Batch) bool
}

// Waiter is a publisher that was told ErrBusy.
type Waiter interface {
	// BusReady says that it is worth trying again. It is called once for each ErrBusy, from any goroutine, possibly
	// before that Publish has returned, and must not block.
	BusReady()
}

// Membership is one stay of a member in a group, from Join to Leave. It is opaque: only Leave takes it.
type Membership struct {
	// Fixed after join. Nil if the join was refused.
	part *part

	// Owned by the shard's goroutine: the place in part.slots.
	index int32

	// Guarded by the mu of the group's stripe.
	state membershipState
}

type membershipState uint8

const (
	waiting membershipState = iota // the shard does not know of the join yet
	joined                         // the join is in the shard's inbox, or taken
	left
)
