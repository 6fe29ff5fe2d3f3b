package gateway

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fairlead-ws/fairlead/actor/limit"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// How connections are looked at again. Route.Recheck is a bound: from the time when a credential or a permission is gone
// until the close frame is out it takes no longer, and what a cache answers is part of that time. So the interval is 0.7 to
// 0.8 of it, at random, an answer may be a tenth old, and a tenth is left for asking.
const (
	// Checks that are due at nearly the same time begin together, so that databases are asked for many at once.
	minRecheckSlot, maxRecheckSlot = 5 * time.Millisecond, 250 * time.Millisecond
	// maxRecheckRetry is the longest that a connection waits of which nobody could say.
	maxRecheckRetry = 10 * time.Second
	// Those that are asked for soon are spread over so long at least, and are so many a second at most: half as many again as
	// 15,000 connections with a minute make.
	minRecheckSoon  = 10 * time.Second
	recheckSoonRate = 500
)

// recheckSlot returns how long the time is within which checks begin together.
func recheckSlot(every time.Duration) time.Duration {
	return min(max(every/240, minRecheckSlot), maxRecheckSlot)
}

// rechecks are the connections that are looked at again. One goroutine starts what is due, as long as there are any.
type rechecks struct {
	// Fixed after newRechecks.
	gateway *Gateway
	began   time.Time
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wake    chan struct{} // has an element when the queue's head has changed, a place is free, or there is nothing left
	faults  limit.Lines
	matches sync.Pool // of *match

	running sync.WaitGroup // the goroutine, and the checks

	// Guarded by mu.
	mu     sync.Mutex
	closed bool
	loops  bool     // the goroutine runs
	all    []*watch // in no order
	queue  watchQueue
	lanes  lanes
	news   news // its count is atomic
}

func newRechecks(g *Gateway) *rechecks {
	r := &rechecks{
		gateway: g, began: time.Now(), wake: make(chan struct{}, 1),
		matches: sync.Pool{New: func() any { return new(match) }}, lanes: lanes{of: map[string]*lane{}},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// now returns the time by a clock that nobody sets.
func (r *rechecks) now() time.Duration { return time.Since(r.began) }

// add begins to look at a connection again, the first time at random within the time that it has, so that connections that
// came together are not looked at together, or sooner where there was news about it during its handshake.
func (r *rechecks) add(w *watch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		w.kept = nil
		return
	}
	w.place = len(r.all)
	r.all = append(r.all, w)
	r.enqueueLocked(w, r.now()+time.Duration(0.8*rand.Float64()*float64(w.every))) //nolint:gosec // not a secret
	r.catchUpLocked(w)
	if !r.loops {
		r.loops = true
		r.running.Go(r.run)
	}
}

// remove ends that, and forgets the credential. It is idempotent; a check that goes on comes to nothing.
func (r *rechecks) remove(w *watch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeLocked(w)
}

func (r *rechecks) removeLocked(w *watch) {
	if w.place < 0 {
		return
	}
	last := len(r.all) - 1
	r.all[w.place] = r.all[last]
	r.all[w.place].place = w.place
	r.all[last] = nil
	r.all = r.all[:last]
	w.place, w.kept = -1, nil
	if w.index >= 0 {
		heap.Remove(&r.queue, w.index)
	}
	if last == 0 {
		r.wakeLocked()
	}
}

// enqueueLocked has w looked at when at has come, together with those of the same slot.
func (r *rechecks) enqueueLocked(w *watch, at time.Duration) {
	w.due = at.Truncate(recheckSlot(w.every))
	if w.index >= 0 {
		heap.Fix(&r.queue, w.index)
	} else {
		heap.Push(&r.queue, w)
	}
	if w.index == 0 {
		r.wakeLocked()
	}
}

func (r *rechecks) wakeLocked() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run starts what is due, until there is nothing left to look at.
func (r *rechecks) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w, wait, more := r.take()
		switch {
		case !more:
			return
		case w != nil:
			r.running.Go(func() {
				defer r.leave(w)
				r.check(w)
			})
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.ctx.Done():
			return
		}
	}
}

// take takes the next that is due and has a place; nil where there is none, with how long it is until one will be due. more
// is false when the goroutine is to end.
func (r *rechecks) take() (w *watch, wait time.Duration, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.all) == 0 {
		r.loops = false
		return nil, 0, false
	}
	if w = r.lanes.next(); w != nil {
		return w, 0, true
	}
	for len(r.queue) > 0 {
		if wait = r.queue[0].due - r.now(); wait > 0 {
			return nil, wait, true
		}
		if w = heap.Pop(&r.queue).(*watch); r.lanes.enter(w) {
			return w, 0, true
		}
	}
	return nil, time.Hour, true // all are being looked at, or wait for a place: what comes of it wakes us
}

// leave says that a check has ended.
func (r *rechecks) leave(w *watch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lanes.leave(w.route) {
		r.wakeLocked()
	}
}

// begin takes what a check needs. It reports false when the connection is gone.
func (r *rechecks) begin(w *watch) (kept *authn.Kept, maxAge time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.place < 0 {
		return nil, 0, false
	}
	w.fresh = w.fresh || w.urgent
	w.soon, w.urgent = 0, false
	if !w.fresh {
		maxAge = w.every / 10
	}
	return w.kept, maxAge, true
}

// again has w looked at after the time, or at once if that was asked for meanwhile. answered says that somebody knew.
func (r *rechecks) again(w *watch, after time.Duration, answered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.place < 0 {
		return
	}
	if answered {
		w.fresh = false
	}
	if w.urgent {
		after = 0
	}
	at := r.now() + after
	if w.soon > 0 {
		at = min(at, w.soon)
	}
	r.enqueueLocked(w, at)
}

// adopt notes that kept is by the routes of t now.
func (r *rechecks) adopt(w *watch, t *table, kept *authn.Kept) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.table = t; w.place >= 0 {
		w.kept = kept
	}
}

// hasten has those that match looked at now.
func (r *rechecks) hasten(match func(*session.Identity, *authn.Kept) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.news.tell(piece{match: match, at: now}, r.gateway.timeout)
	for _, w := range r.all {
		if !match(w.identity, w.kept) {
			continue
		}
		n++
		w.urgent = true
		if w.index >= 0 && w.due > now { // else it is due, or being looked at, and will be once more
			r.enqueueLocked(w, now)
		}
	}
	return n
}

// spread has those that match looked at within a while, evenly. One that waits for that already is not put off, nor does it
// come twice; one that is being looked at comes once more, since it may have been asked about too early.
func (r *rechecks) spread(match func(*session.Identity, *authn.Kept) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var those []*watch
	for _, w := range r.all {
		if match(w.identity, w.kept) {
			those = append(those, w)
		}
	}
	within := max(minRecheckSoon, time.Duration(len(those))*time.Second/recheckSoonRate)
	r.news.tell(piece{match: match, at: r.now(), within: within}, r.gateway.timeout)
	for _, w := range those {
		r.soonLocked(w, within)
	}
	return len(those)
}

// close ends all checks and returns when none goes on. It is idempotent.
func (r *rechecks) close() {
	r.mu.Lock()
	r.closed = true
	r.news.recent = nil
	for len(r.all) > 0 {
		r.removeLocked(r.all[len(r.all)-1])
	}
	r.mu.Unlock()
	r.cancel()
	r.running.Wait()
}

// count returns how many connections are looked at again.
func (r *rechecks) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// late returns for how long the check has been due that is due the longest.
func (r *rechecks) late() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	first := r.lanes.first(now)
	if len(r.queue) > 0 {
		first = min(first, r.queue[0].due)
	}
	return now - first
}

// Recheck has the credentials and permissions of those connections looked at again now for which match reports true, whose
// routes have Recheck, and returns how many they are. No cache answers then. Asked for several times before it has begun, it
// happens once; asked for while it happens, once more. kept is the connection's credential, or nil where it cannot be
// verified again. match must not block. It may be called at any time, and does not wait for what comes of it. Connections
// whose handshakes go on are asked about when they are there, and not counted: so match is kept for a while, is called by
// other goroutines, one at a time, and says the same then.
func (g *Gateway) Recheck(match func(id *session.Identity, kept *authn.Kept) bool) (n int) {
	return g.rechecks.hasten(match)
}

// RecheckSoon is Recheck for many: it has them looked at again spread over ten seconds, or so long that there are 500 a
// second, and never later than they would be anyway. Caches may answer as they do otherwise: whoever knows that what they
// keep is not so any more empties them before. Asked for again before a connection was looked at, it happens once.
func (g *Gateway) RecheckSoon(match func(id *session.Identity, kept *authn.Kept) bool) (n int) {
	return g.rechecks.spread(match)
}

// Close ends the looking again at connections, and returns when nobody is asked any more. It comes after Serve and before
// what the routes ask is closed; connections that are still open stay as they are. It is idempotent and always returns nil.
func (g *Gateway) Close() error {
	g.rechecks.close()
	return nil
}

// watchQueue is a heap of those that wait for their time.
type watchQueue []*watch

func (q watchQueue) Len() int           { return len(q) }
func (q watchQueue) Less(i, j int) bool { return q[i].due < q[j].due }

func (q watchQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements [heap.Interface].
func (q *watchQueue) Push(x any) {
	w := x.(*watch)
	w.index = len(*q)
	*q = append(*q, w)
}

// Pop implements [heap.Interface].
func (q *watchQueue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last], w.index = nil, -1
	*q = (*q)[:last]
	return w
}
