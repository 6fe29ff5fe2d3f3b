package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-ws/fairlead/actor/limit"
	"github.com/fairlead-ws/fairlead/session"
)

// refusedEvents writes refused handshakes into the journal, so many in a second and the rest as counts, so that a stranger
// who knocks a million times cannot fill it. A handshake only leaves a note; a goroutine of Serve's writes.
type refusedEvents struct {
	// Fixed after newRefusedEvents.
	journal   Journal
	epoch     session.Epoch
	perSecond int
	logger    *slog.Logger
	wake      chan struct{} // has an element when there is something to write
	faults    limit.Lines

	// Guarded by mu.
	mu     sync.Mutex
	window time.Time             // when the current second began
	room   int                   // events that may still be written one by one in it
	notes  []refusedNote         // to be written; at most perSecond
	beyond map[refusedKey]uint64 // refused without a note
}

// refusedKey is what refusals without a note are told apart by.
type refusedKey struct {
	reason reason
	by     string // the verifier or authorizer
}

// maxRefusedKeys bounds them, if somebody's own verifiers should not keep to names: then By is "".
const maxRefusedKeys = 1024

// refusedNote is a refused handshake that will be an event of its own.
type refusedNote struct {
	time time.Time
	refusedKey
	route  string
	remote netip.Addr
}

func newRefusedEvents(cfg Config, logger *slog.Logger) *refusedEvents {
	return &refusedEvents{
		journal:   cfg.Journal,
		epoch:     cfg.Epoch,
		perSecond: cmp.Or(cfg.RefusedPerSecond, defaultRefusedPerSecond),
		logger:    logger,
		wake:      make(chan struct{}, 1),
		beyond:    make(map[refusedKey]uint64),
	}
}

// add notes a refusal at now. It never blocks. A nil e notes nothing.
func (e *refusedEvents) add(now time.Time, k refusedKey, route string, remote netip.Addr) {
	if e == nil {
		return
	}
	e.mu.Lock()
	if now.Sub(e.window) >= time.Second {
		e.window, e.room = now, e.perSecond
	}
	news := true
	if e.room > 0 && len(e.notes) < e.perSecond {
		e.room--
		e.notes = append(e.notes, refusedNote{now, k, route, remote})
	} else {
		news = len(e.beyond) == 0
		if _, known := e.beyond[k]; !known && len(e.beyond) >= maxRefusedKeys {
			k.by = ""
		}
		e.beyond[k]++
	}
	e.mu.Unlock()
	if news {
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
}

// start starts the writing. The function that it returns writes what is left and returns when all is done.
func (e *refusedEvents) start(ctx context.Context) (stop func()) {
	if e == nil {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		e.run(ctx, quit)
	}()
	return func() {
		close(quit)
		<-done
	}
}

// run writes notes when they come, and counts a second after the first of them.
func (e *refusedEvents) run(ctx context.Context, quit <-chan struct{}) {
	var due <-chan time.Time
	for {
		select {
		case <-quit:
			e.write(ctx, true)
			return
		case <-due:
			due = nil
			e.write(ctx, true)
		case <-e.wake:
			if e.write(ctx, false) && due == nil {
				due = time.After(time.Second)
			}
		}
	}
}

// write appends what there is to the journal, in one append, and reports whether there are counts left.
func (e *refusedEvents) write(ctx context.Context, counts bool) (left bool) {
	records, left := e.take(counts)
	if len(records) == 0 {
		return left
	}
	if err := e.journal.Append(ctx, records...); err != nil {
		if held, ok := e.faults.Allow(time.Now()); ok {
			e.logger.LogAttrs(ctx, slog.LevelError, "refused events are lost", slog.Any("error", err),
				slog.Int("events", len(records)), slog.Uint64("lines_held_back", held))
		}
	}
	return left
}

// take empties the notes, and the counts if wanted, into records, which the journal will number.
func (e *refusedEvents) take(counts bool) (records []session.Record, left bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.notes {
		records = append(records, e.record(n, 1))
	}
	e.notes = e.notes[:0]
	if !counts {
		return records, len(e.beyond) > 0
	}
	now := time.Now()
	keys := slices.SortedFunc(maps.Keys(e.beyond), func(a, b refusedKey) int {
		return cmp.Or(cmp.Compare(a.reason, b.reason), cmp.Compare(a.by, b.by))
	})
	for _, k := range keys {
		records = append(records, e.record(refusedNote{time: now, refusedKey: k}, e.beyond[k]))
	}
	clear(e.beyond)
	return records, false
}

func (e *refusedEvents) record(n refusedNote, count uint64) session.Record {
	return session.Record{
		Time:    n.time.UTC(),
		Session: session.ID{Epoch: e.epoch},
		Event: session.Refused{
			Status: answers[n.reason].status,
			Reason: n.reason.String(),
			Route:  n.route,
			Remote: session.TruncateAddr(n.remote),
			Count:  count,
			By:     n.by,
		},
	}
}
