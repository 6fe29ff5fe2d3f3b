package journal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	// maxBatch is how large a batch may grow by appends; one append alone may be maxAppend.
	maxBatch  = 128 << 10
	maxAppend = 512 << 10
	// maxSpare is how many batches' room is kept: one is written while another fills.
	maxSpare = 2
	// numberBytes is what the number of a node's record may add to it.
	numberBytes = 20
)

// parcel is one append, made ready before the lock is taken.
type parcel struct {
	epoch   session.Epoch
	data    []byte       // the records of sessions, each on a line of its own
	nodes   []nodeRecord // the node's own, which have no number yet
	kinds   []session.Kind
	size    int
	top     uint64 // the highest number of a session
	opening bool   // it has an opening
}

// nodeRecord is a record of a node itself, which stands at a place in a batch's data.
type nodeRecord struct {
	at     int
	record session.Record
}

var parcels = sync.Pool{New: func() any { return new(parcel) }}

// pack empties p and puts in the records. The error wraps [session.ErrRecord].
func (p *parcel) pack(records []session.Record) (err error) {
	*p = parcel{data: p.data[:0], nodes: p.nodes[:0], kinds: p.kinds[:0]}
	if len(records) > 0 {
		p.epoch = records[0].Session.Epoch
	}
	for _, r := range records {
		if r.Session.Epoch != p.epoch {
			return fmt.Errorf("journal: %w: one append has records of the epochs %s and %s", session.ErrRecord, p.epoch, r.Session.Epoch)
		}
		before := len(p.data)
		if r.Session.Number == 0 {
			r.Seq = 1 // until it has its number
		}
		if p.data, err = r.AppendJSON(p.data); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		p.data = append(p.data, '\n')
		p.size += len(p.data) - before
		if r.Session.Number == 0 {
			p.size += numberBytes
			p.data = p.data[:before]
			p.nodes = append(p.nodes, nodeRecord{before, r.Kept()})
		}
		p.top = max(p.top, r.Session.Number)
		p.kinds = append(p.kinds, r.Event.Kind())
		if _, ok := r.Event.(session.Opened); ok {
			p.opening = true
		}
	}
	if p.size > maxAppend {
		return fmt.Errorf("journal: %w: one append has %d bytes, want at most %d", session.ErrRecord, p.size, maxAppend)
	}
	return nil
}

// batch is what becomes one message: records of one epoch.
type batch struct {
	// Guarded by the journal's mu until the batch is taken, then owned by the writer's goroutine.
	epoch   session.Epoch
	begun   time.Time
	data    []byte
	nodes   []nodeRecord
	records int
	size    int
	top     uint64 // the highest session number that had come when the batch was full

	// Guarded by the journal's mu.
	urgent bool    // somebody waits
	waiter *waiter // nil: nobody

	// Owned by the writer's goroutine.
	id       string // in the log; "" until it was tried
	message  []byte // the data with the node's records in their places, encoded
	encoding string // of the message
	written  bool
}

func (b *batch) add(p *parcel) {
	for _, n := range p.nodes {
		n.at += len(b.data)
		b.nodes = append(b.nodes, n)
	}
	b.data = append(b.data, p.data...)
	b.records += len(p.kinds)
	b.size += p.size
}

// freeze makes the message, with the numbers that follow last for the node's records, and returns the last number used. The
// message may lie in room.
func (b *batch) freeze(last uint64, room []byte) uint64 {
	message, last := b.numbered(last)
	b.message, b.encoding = encode(room, message)
	return last
}

// numbered returns the data with the node's records in their places.
func (b *batch) numbered(last uint64) (message []byte, number uint64) {
	if len(b.nodes) == 0 {
		return b.data, last
	}
	message = make([]byte, 0, b.size)
	from := 0
	for _, n := range b.nodes {
		message = append(message, b.data[from:n.at]...)
		from = n.at
		last++
		n.record.Seq = last
		line, err := n.record.AppendJSON(message)
		if err != nil { // pack has seen that it can be written
			continue
		}
		message = append(line, '\n')
	}
	return append(message, b.data[from:]...), last
}

// waiter waits until a batch is written, or cannot be.
type waiter struct {
	done chan struct{}
	err  error // set before done is closed
}

func (w *waiter) end(err error) {
	w.err = err
	close(w.done)
}

func (w *waiter) wait(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gap is what is missing.
type gap struct {
	since  time.Time
	lost   uint64
	reason string
	waiter *waiter // ends when the gap is in the log
}

func (g *gap) end(err error) {
	if g != nil && g.waiter != nil {
		g.waiter.end(err)
		g.waiter = nil
	}
}
