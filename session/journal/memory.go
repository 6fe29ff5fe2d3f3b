package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/session"
)

// ErrClosed is returned for an append to a closed journal, and yielded by a read of one.
var ErrClosed = errors.New("journal is closed")

// DefaultMaxRecords is the bound of a [Memory] that is not given one.
const DefaultMaxRecords = 8192

// MemoryConfig configures [NewMemory].
type MemoryConfig struct {
	// MaxRecords is how many records are kept at most. 0 is DefaultMaxRecords.
	MaxRecords int
	// Registerer takes the metrics. Nil leaves them unregistered.
	Registerer prometheus.Registerer
}

// Memory keeps records in memory, bounded: the oldest go first, whole and counted, whatever session they are of. So a
// session that is older than the bound has lost its beginning. It is safe for concurrent use.
//
// A record costs 56 bytes in the ring, and its event, as the writer made it: 96 bytes for an opening. What the event
// refers to (identity, groups, the route's path) is shared with the session's actor, not copied. The ring grows as it
// fills. With the default bound, full of openings, all that is 1.2 MiB: 83 bytes a connection at 15,000.
type Memory struct {
	// Fixed after NewMemory.
	max     uint64
	metrics *metrics

	mu sync.Mutex
	// Guarded by mu.
	ring   [][]entry // chunks, made as they are reached: the record at position p is entry p % max
	first  uint64    // position of the oldest record
	next   uint64    // position of the next record; next - first records are kept
	nodes  map[session.Epoch]uint64
	closed bool
}

// entry is a record made small: a time.Time would cost 12 bytes more, and the collector a pointer.
type entry struct {
	sec    int64
	nsec   int32
	epoch  session.Epoch
	number uint64
	seq    uint64
	event  session.Event
}

const chunkEntries = 256 // 14 KiB

// NewMemory returns an empty Memory. It fails when MaxRecords is negative or a metric cannot be registered.
func NewMemory(c MemoryConfig) (*Memory, error) {
	if c.MaxRecords < 0 {
		return nil, fmt.Errorf("journal: MaxRecords is %d, want 0 (for %d) or more", c.MaxRecords, DefaultMaxRecords)
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = DefaultMaxRecords
	}
	m, err := newMetrics(c.Registerer, nil)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &Memory{max: uint64(c.MaxRecords), metrics: m, nodes: make(map[session.Epoch]uint64)}, nil
}

// Append keeps the records, in their order and with none of another append between them, or none of them. It waits for
// nothing but the lock. Records of a node itself (session number 0) get the next number of their epoch, whatever their
// Seq says. The records slice is not kept; the events are, and must not be changed any more.
//
// The error is ctx's when that has ended before, wraps [session.ErrRecord] when a record does not pass its Check, or
// is [ErrClosed].
func (m *Memory) Append(ctx context.Context, records ...session.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, r := range records {
		if r.Session.Number == 0 {
			r.Seq = 1 // stands for the number that put gives it
		}
		if err := r.Check(); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for _, r := range records {
		if r.Session.Number == 0 {
			m.nodes[r.Session.Epoch]++
			r.Seq = m.nodes[r.Session.Epoch]
		}
		m.put(r)
	}
	return nil
}

// put keeps r in the place of the oldest record, when the ring is full. The caller holds mu.
func (m *Memory) put(r session.Record) {
	if m.next-m.first == m.max {
		m.first++
		m.metrics.evicted.Inc()
	}
	i := m.next % m.max
	if chunk := i / chunkEntries; chunk == uint64(len(m.ring)) {
		m.ring = append(m.ring, make([]entry, min(chunkEntries, m.max-i)))
	}
	m.ring[i/chunkEntries][i%chunkEntries] = entry{
		sec: r.Time.Unix(), nsec: int32(r.Time.Nanosecond()),
		epoch: r.Session.Epoch, number: r.Session.Number, seq: r.Seq, event: r.Event,
	}
	m.next++
	m.metrics.count(r.Event.Kind())
}

// Session reads the records of one session, oldest first; number 0 reads the node's own. What is ranged over is the
// journal as it was when the range began. An error comes last and alone: ctx's, or [ErrClosed].
func (m *Memory) Session(ctx context.Context, id session.ID) iter.Seq2[session.Record, error] {
	return m.read(ctx, func(e *entry) bool { return e.number == id.Number && e.epoch == id.Epoch })
}

// Epoch reads all records of an epoch, oldest first, in the way of [Memory.Session].
func (m *Memory) Epoch(ctx context.Context, epoch session.Epoch) iter.Seq2[session.Record, error] {
	return m.read(ctx, func(e *entry) bool { return e.epoch == epoch })
}

// Close lets go of all records. Appends and reads that begin later find [ErrClosed]. It never fails, and may be called
// more than once.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.ring, m.first, m.nodes = nil, m.next, nil
	return nil
}

func (m *Memory) read(ctx context.Context, match func(*entry) bool) iter.Seq2[session.Record, error] {
	return func(yield func(session.Record, error) bool) {
		entries, err := m.snapshot(match)
		for _, e := range entries {
			if err = ctx.Err(); err != nil {
				break
			}
			if !yield(e.record(), nil) {
				return
			}
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(session.Record{}, err)
		}
	}
}

// snapshot copies the entries that match, so that the range holds no lock while its body runs.
func (m *Memory) snapshot(match func(*entry) bool) ([]entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	var found []entry
	for p := m.first; p < m.next; p++ {
		i := p % m.max
		if e := &m.ring[i/chunkEntries][i%chunkEntries]; match(e) {
			found = append(found, *e)
		}
	}
	return found, nil
}

func (e *entry) record() session.Record {
	return session.Record{
		Time:    time.Unix(e.sec, int64(e.nsec)),
		Session: session.ID{Epoch: e.epoch, Number: e.number},
		Seq:     e.seq,
		Event:   e.event,
	}.Kept()
}
