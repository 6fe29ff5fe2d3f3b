package bus

import (
	"sync"
	"sync/atomic"
)

// keepItems is how many items a queue keeps room for while it is empty. What a flood needed beyond is given back.
const keepItems = 256

// queue is a FIFO with many writers and one reader, bounded in bytes. A writer reserves the bytes first, of several
// queues if it must, then pushes: so that it can be all or nothing without holding two locks. Items that reserve nothing
// are never refused: these are commands, which must not wait behind data.
type queue[T any] struct {
	// Fixed after init.
	limit int64

	// Guarded by mu, which is held for a few instructions at a time.
	mu      sync.Mutex
	filled  sync.Cond
	items   []T
	waiters []waiter
	closed  bool
	reading bool // the reader has items that it has not done with
	claimed bool // somebody does the reader's work: the reader waits

	// Atomic.
	bytes    atomic.Int64 // reserved and not yet released
	wakeable atomic.Bool  // there are waiters
}

// waiter is a Waiter with the fill at which it is called.
type waiter struct {
	Waiter
	at int64
}

func (q *queue[T]) init(limit int) {
	q.limit = int64(limit)
	q.filled.L = &q.mu
}

// reserve takes n bytes of the queue, if they are free. An empty queue takes one item of any size.
// Who reserved must release, or push an item for which the reader will.
func (q *queue[T]) reserve(n int64) bool {
	if now := q.bytes.Add(n); now > q.limit && now > n {
		q.release(n)
		return false
	}
	return true
}

// release gives n bytes back, and calls the waiters for whom enough is free: on the caller's goroutine, so it must not
// hold a lock that a Waiter could want.
func (q *queue[T]) release(n int64) {
	if now := q.bytes.Add(-n); now <= q.limit/2 && q.wakeable.Load() {
		q.wake()
	}
}

// wait registers w, which may be nil, to be called when half of the queue is free and n bytes fit. That may be at once.
func (q *queue[T]) wait(w Waiter, n int64) {
	if w == nil {
		return
	}
	q.mu.Lock()
	q.waiters = append(q.waiters, waiter{w, max(0, min(q.limit/2, q.limit-n))})
	q.wakeable.Store(true)
	q.mu.Unlock()
	// The bytes are looked at after the waiter is there, and who releases looks for waiters after it took the bytes off:
	// one of the two sees the other.
	q.wake()
}

// wake calls the waiters for whom enough is free, and all of them once the queue is closed.
func (q *queue[T]) wake() {
	var ready []waiter
	q.mu.Lock()
	now, rest := q.bytes.Load(), q.waiters[:0]
	for _, w := range q.waiters {
		if q.closed || now <= w.at {
			ready = append(ready, w)
		} else {
			rest = append(rest, w)
		}
	}
	clear(q.waiters[len(rest):])
	q.waiters = rest
	if len(rest) == 0 {
		q.waiters = nil
		q.wakeable.Store(false)
	}
	q.mu.Unlock()
	for _, w := range ready {
		w.BusReady()
	}
}

// push appends an item. It reports false, and does nothing, once the queue is closed.
func (q *queue[T]) push(item T) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, item)
	if len(q.items) == 1 {
		q.filled.Signal()
	}
	q.mu.Unlock()
	return true
}

// take waits for items and returns all that there are, in order, to the one reader. It takes over spare, which the
// reader took before and has cleared, to be filled next: the reader has done with them. ok is false when the queue is closed
// and empty.
func (q *queue[T]) take(spare []T) (items []T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reading = false
	if len(q.items) == 0 && cap(spare) > keepItems {
		spare = nil
	}
	for len(q.items) == 0 || q.claimed {
		if q.closed && !q.claimed {
			return nil, false
		}
		if cap(q.items) > keepItems {
			q.items = nil
		}
		q.filled.Wait()
	}
	items, q.items = q.items, spare[:0]
	q.reading = true
	return items, true
}

// claim makes the caller the reader for a moment, if the queue is empty and the reader has done with all it took: what the
// caller does then, comes in the order of the queue. Who claimed must unclaim, soon.
//
// To do it here spares two switches between goroutines, and where a processor is idle the waking of it: much more than most
// items take.
func (q *queue[T]) claim() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.reading || q.claimed || len(q.items) > 0 {
		return false
	}
	q.claimed = true
	return true
}

// unclaim lets the reader go on.
func (q *queue[T]) unclaim() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.claimed = false
	if len(q.items) > 0 || q.closed {
		q.filled.Signal()
	}
}

// close lets the reader take what is there, and refuses what comes later. All waiters are called: they will be told
// that the bus is closed.
func (q *queue[T]) close() {
	q.mu.Lock()
	q.closed = true
	q.filled.Broadcast()
	q.mu.Unlock()
	q.wake()
}
