package database

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

const (
	// lookupKeys is how many keys one question is for at most.
	lookupKeys = 100
	// lookupLinger is how long a question waits for more keys while many come.
	lookupLinger = 10 * time.Millisecond
	// Many are stormKeys in stormWindow.
	stormKeys   = 20
	stormWindow = 100 * time.Millisecond
)

// LookupConfig says what to ask for one key, and for many.
type LookupConfig[R any] struct {
	// One asks for one key, its only argument. Many, which only PostgreSQL has, asks for a list of them: WHERE key = any($1).
	// "": there is no such question.
	One, Many string
	// Scan scans a row of either.
	Scan func(scan func(dest ...any) error) (key string, row R, err error)
}

// Lookup finds rows by a text key. A key that comes alone is asked for at once. In a storm keys wait for one another, for
// lookupLinger at most, and are asked for together. Its methods may be called by many goroutines.
type Lookup[R any] struct {
	// Fixed after NewLookup.
	one, many *Query // many is nil where keys are asked for one by one
	scan      func(scan func(dest ...any) error) (string, R, error)

	// Guarded by mu.
	mu      sync.Mutex
	waiting map[string]*lookupCall[R] // not asked yet
	timer   *time.Timer               // asks them; nil: none wait
	window  time.Time                 // when the current window began
	arrived int                       // keys in it
	storm   bool                      // there were many in the last one, or are in this one
}

// lookupCall is one key of a question, for all who ask for it.
type lookupCall[R any] struct {
	done  chan struct{} // closed when the rest is there
	row   R
	found bool
	err   error
}

// NewLookup returns the look-up. It is done with when its database is closed.
func NewLookup[R any](db *DB, c LookupConfig[R]) *Lookup[R] {
	l := &Lookup[R]{one: db.Query(c.One), scan: c.Scan, waiting: map[string]*lookupCall[R]{}}
	if c.Many != "" && db.dialect == PostgreSQL {
		l.many = db.Query(c.Many)
	}
	return l
}

// Get returns the row whose key is key, byte for byte: a database's idea of equal may be wider (letter case, spaces at the
// end). It blocks until ctx ends or the timeout of the database has passed. A caller who gives up does not end the question
// of others.
func (l *Lookup[R]) Get(ctx context.Context, key string) (row R, found bool, err error) {
	if l.many == nil {
		return l.ask(ctx, key)
	}
	call := l.join(key)
	if call == nil {
		return l.ask(ctx, key)
	}
	select {
	case <-call.done:
		return call.row, call.found, call.err
	case <-ctx.Done():
		return row, false, ctx.Err()
	}
}

// ask asks for one key.
func (l *Lookup[R]) ask(ctx context.Context, key string) (row R, found bool, err error) {
	err = l.one.each(ctx, 1, []any{key}, func(scan func(dest ...any) error) error {
		got, r, err := l.scan(scan)
		if err == nil && got == key && !found {
			row, found = r, true
		}
		return err
	})
	return row, found && err == nil, err
}

// join makes key one of those that are asked for together, or returns nil when it is to be asked for at once.
func (l *Lookup[R]) join(key string) *lookupCall[R] {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if since := now.Sub(l.window); since >= stormWindow {
		l.storm = l.arrived >= stormKeys && since < 2*stormWindow
		l.window, l.arrived = now, 0
	}
	l.arrived++
	if l.storm = l.storm || l.arrived >= stormKeys; !l.storm && l.timer == nil {
		return nil
	}
	if call := l.waiting[key]; call != nil {
		return call
	}
	call := &lookupCall[R]{done: make(chan struct{})}
	l.waiting[key] = call
	switch {
	case len(l.waiting) >= lookupKeys:
		l.timer.Stop()
		go l.askAll(l.takeLocked())
	case l.timer == nil:
		l.timer = time.AfterFunc(lookupLinger, l.flush)
	}
	return call
}

// flush asks for what waits.
func (l *Lookup[R]) flush() {
	l.mu.Lock()
	calls := l.takeLocked()
	l.mu.Unlock()
	if len(calls) > 0 {
		l.askAll(calls)
	}
}

func (l *Lookup[R]) takeLocked() map[string]*lookupCall[R] {
	calls := l.waiting
	l.waiting, l.timer = make(map[string]*lookupCall[R], len(calls)), nil
	return calls
}

// askAll asks for all keys in one question, and tells those who wait. Nobody's context ends it: the database's timeout does.
func (l *Lookup[R]) askAll(calls map[string]*lookupCall[R]) {
	keys := make([]string, 0, len(calls))
	for key := range calls {
		keys = append(keys, key)
	}
	ctx := context.Background()
	err := l.many.each(ctx, len(keys), []any{arrayLiteral(keys)}, func(scan func(dest ...any) error) error {
		key, row, err := l.scan(scan)
		if call := calls[key]; err == nil && call != nil && !call.found {
			call.row, call.found = row, true
		}
		return err
	})
	for key, call := range calls {
		switch {
		case err == nil:
		case errors.Is(err, ErrValue): // one of them is no value for the column: the others are not to suffer for it
			call.row, call.found, call.err = l.ask(ctx, key)
		default:
			call.found, call.err = false, err
		}
		close(call.done)
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
