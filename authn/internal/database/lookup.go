package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// LookupConfig says what to ask for one key, and for many.
type LookupConfig[R any] struct {
	// One asks for one key, its only argument. Many, which only PostgreSQL has, asks for a list of them: WHERE key = any($1).
	// "": there is no such question.
	One, Many string
	// Arg returns what the database is asked for in place of a key; nil: the key itself.
	Arg func(key string) string
	// Public says that keys may be in errors: they are no secrets, and too short to be told from the rest of the text.
	Public bool
	// Scan scans a row of either, and returns what it is found by: the key, not what Arg makes of it.
	Scan func(scan func(dest ...any) error) (key string, row R, err error)
}

// Lookup finds rows by a text key. A key that comes alone is asked for at once. In a storm keys wait for one another, for
// lookupLinger at most, and are asked for together: see pace. Its methods may be called by many goroutines.
type Lookup[R any] struct {
	// Fixed after NewLookup.
	db        *DB
	one, many *Query // many is nil where keys are asked for one by one
	arg       func(key string) string
	scan      func(scan func(dest ...any) error) (string, R, error)
	public    bool

	// Guarded by mu.
	mu      sync.Mutex
	pace    pace
	waiting *lookupBatch[R] // nil: no key waits
}

// lookupBatch is the keys of one question.
type lookupBatch[R any] struct {
	calls map[string]*lookupCall[R]
	timer *time.Timer
	done  chan struct{} // closed when every call has its answer
}

// lookupCall is the answer for one key, for all who ask for it.
type lookupCall[R any] struct {
	row  R
	rows int
	err  error
}

// answer is what [Lookup.Get] returns of it.
func (c *lookupCall[R]) answer() (row R, found bool, err error) {
	switch {
	case c.err != nil:
		return row, false, c.err
	case c.rows > 1:
		return row, false, fmt.Errorf("%w: there are %d", ErrAmbiguous, c.rows)
	}
	return c.row, c.rows == 1, nil
}

// NewLookup returns the look-up. It is done with when its database is closed.
func NewLookup[R any](db *DB, c LookupConfig[R]) *Lookup[R] {
	l := &Lookup[R]{db: db, one: db.Query(c.One), arg: c.Arg, scan: c.Scan, public: c.Public}
	if c.Many != "" && db.Dialect() == PostgreSQL {
		l.many = db.Query(c.Many)
	}
	if l.arg == nil {
		l.arg = func(key string) string { return key }
	}
	return l
}

// Get returns the row whose key is key, byte for byte: a database's idea of equal may be wider (letter case, spaces at the
// end). A key that no column could hold (empty, with a NUL, not UTF-8, or refused by the column's type) is not found, the
// former without a question; that more than one row has it is [ErrAmbiguous]. It blocks until ctx ends or the timeout of
// the database has passed. A caller who gives up does not end the question of others. No error holds a key that is not public.
func (l *Lookup[R]) Get(ctx context.Context, key string) (row R, found bool, err error) {
	if key == "" || strings.IndexByte(key, 0) >= 0 || !utf8.ValidString(key) {
		return row, false, nil
	}
	if l.many == nil {
		return l.alone(ctx, key)
	}
	l.mu.Lock()
	if l.pace.arrive(time.Now()) && l.waiting == nil {
		l.pace.alone()
		l.mu.Unlock()
		defer l.answered()
		return l.alone(ctx, key)
	}
	b, call, err := l.joinLocked(key)
	l.mu.Unlock()
	if err != nil {
		return row, false, err
	}
	select {
	case <-b.done:
		return call.answer()
	case <-ctx.Done():
		return row, false, ctx.Err()
	}
}

// alone asks for one key on its caller's behalf.
func (l *Lookup[R]) alone(ctx context.Context, key string) (row R, found bool, err error) {
	var call lookupCall[R]
	err = l.one.each(ctx, 1, []any{l.arg(key)}, func(scan func(dest ...any) error) error {
		got, row, err := l.scan(scan)
		if err == nil && got == key {
			call.row = row
			call.rows++
		}
		return err
	})
	switch {
	case errors.Is(err, ErrValue):
		return row, false, nil
	case err != nil && !l.public:
		return row, false, Scrub(err, key)
	case err != nil:
		return row, false, err
	}
	return call.answer()
}

// joinLocked makes key one of those that wait.
func (l *Lookup[R]) joinLocked(key string) (*lookupBatch[R], *lookupCall[R], error) {
	b := l.waiting
	if b == nil {
		if err := l.db.enter(); err != nil {
			return nil, nil, err
		}
		b = &lookupBatch[R]{calls: map[string]*lookupCall[R]{}, done: make(chan struct{})}
		b.timer = time.AfterFunc(lookupLinger, func() { l.lingered(b) })
		l.waiting = b
	}
	call := b.calls[key]
	if call == nil {
		call = &lookupCall[R]{}
		b.calls[key] = call
	}
	l.goLocked()
	return b, call, nil
}

// goLocked asks for what waits, if that is enough.
func (l *Lookup[R]) goLocked() {
	if b := l.waiting; b != nil && l.pace.full(len(b.calls)) {
		b.timer.Stop()
		l.waiting = nil
		l.pace.ask(len(b.calls), false)
		go l.run(b)
	}
}

// lingered asks for what waits, although more may come.
func (l *Lookup[R]) lingered(b *lookupBatch[R]) {
	l.mu.Lock()
	if l.waiting != b { // it was enough just then
		l.mu.Unlock()
		return
	}
	l.waiting = nil
	l.pace.ask(len(b.calls), true)
	l.mu.Unlock()
	l.run(b)
}

func (l *Lookup[R]) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pace.answered()
	l.goLocked()
}

// run asks for all keys of a batch, and tells those who wait. Nobody's context ends it: the timeout does.
func (l *Lookup[R]) run(b *lookupBatch[R]) {
	defer l.db.leave()
	keys := make([]string, 0, len(b.calls))
	for key := range b.calls {
		keys = append(keys, key)
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.db.pool.key.timeout)
	defer cancel()
	l.ask(ctx, b.calls, keys)
	close(b.done)
	l.answered()
}

// ask asks for the keys in one question, or in several where one of them is no value for the column: the others are not to
// suffer for it.
func (l *Lookup[R]) ask(ctx context.Context, calls map[string]*lookupCall[R], keys []string) {
	q, arg := l.one, l.arg(keys[0])
	if len(keys) > 1 {
		args := make([]string, len(keys))
		for i, key := range keys {
			args[i] = l.arg(key)
		}
		q, arg = l.many, arrayLiteral(args)
	}
	err := q.each(ctx, len(keys), []any{arg}, func(scan func(dest ...any) error) error {
		key, row, err := l.scan(scan)
		if err != nil {
			return err
		}
		if call := calls[key]; call != nil {
			call.row = row
			call.rows++
		}
		return nil
	})
	switch {
	case err == nil:
		return
	case errors.Is(err, ErrValue) && len(keys) > 1 && ctx.Err() == nil:
		for _, key := range keys { // nothing of an answer that broke off
			*calls[key] = lookupCall[R]{}
		}
		half := len(keys) / 2
		l.ask(ctx, calls, keys[:half])
		l.ask(ctx, calls, keys[half:])
		return
	case errors.Is(err, ErrValue) && len(keys) == 1:
		*calls[keys[0]] = lookupCall[R]{}
		return
	}
	for _, key := range keys {
		if !l.public {
			err = Scrub(err, key)
		}
	}
	for _, key := range keys {
		*calls[key] = lookupCall[R]{err: err}
	}
}

// arrayLiteral writes texts as an array of PostgreSQL, which the server reads as one of the column's type: a driver's list
// of texts would be a list of texts there.
func arrayLiteral(keys []string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for j := range len(key) {
			if key[j] == '"' || key[j] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(key[j])
		}
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}
