package database

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeServer is a PostgreSQL that has every key but those that begin with "no", each once, but for those that begin with
// "two". It takes its time, and says of a key that begins with "bad" that it does not fit the column.
type fakeServer struct {
	latency   time.Duration
	fail      error
	questions atomic.Int64
	hold      chan struct{} // nil, or closed when answers may come
}

func (s *fakeServer) close() error { return nil }

// fakeRow is one key.
type fakeRow string

func (r fakeRow) Scan(dest ...any) error { *dest[0].(*string) = string(r); return nil }
func (r fakeRow) First() (any, error)    { return string(r), nil }

func (s *fakeServer) rows(_ context.Context, q *Query, args []any, each func(row) (bool, error)) error {
	s.questions.Add(1)
	time.Sleep(s.latency) // in a bubble
	if s.hold != nil {
		<-s.hold
	}
	keys := []string{args[0].(string)}
	if q.text == "many" {
		keys = strings.Split(strings.Trim(keys[0], "{}"), ",")
		for i := range keys {
			keys[i] = strings.Trim(keys[i], `"`)
		}
	}
	if s.fail != nil {
		return fmt.Errorf("%w: %q", s.fail, keys)
	}
	for _, key := range keys {
		n := 1
		switch {
		case strings.HasPrefix(key, "bad"):
			return fmt.Errorf("fake: %w", ErrValue)
		case strings.HasPrefix(key, "no"):
			n = 0
		case strings.HasPrefix(key, "two"):
			n = 2
		}
		for range n {
			if more, err := each(fakeRow(key)); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

func fakeLookup(s *fakeServer) (*DB, *Lookup[string]) {
	db := &DB{pool: &pool{dialect: PostgreSQL, backend: s, key: poolKey{timeout: DefaultTimeout}}, observe: func(int) {}}
	return db, NewLookup(db, LookupConfig[string]{
		One: "one", Many: "many",
		Scan: func(scan func(dest ...any) error) (key, row string, err error) {
			err = scan(&key)
			return key, "row of " + key, err
		},
	})
}

// get asks for a key that is there.
func get(t *testing.T, l *Lookup[string], key string) {
	t.Helper()
	if row, found, err := l.Get(t.Context(), key); err != nil || !found || row != "row of "+key {
		t.Errorf("%s: got %q, %v, %v", key, row, found, err)
	}
}

func TestLookupAloneDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeServer{latency: 300 * time.Microsecond}
		db, l := fakeLookup(s)
		start := time.Now()
		for i := range 1000 {
			get(t, l, fmt.Sprint("k", i))
		}
		if d := time.Since(start); d != 1000*s.latency || s.questions.Load() != 1000 {
			t.Errorf("%d questions took %v", s.questions.Load(), d)
		}
		time.Sleep(lookupRest)
		start = time.Now()
		get(t, l, "k")
		if d := time.Since(start); d != s.latency {
			t.Errorf("after a rest it took %v", d)
		}
		db.Close()
	})
}

// TestLookupStorm lets clients come at random times, as they do when a node has died: the questions are few whatever the
// rate, and nobody waits for long.
func TestLookupStorm(t *testing.T) {
	const clients, most = 15_000, 1_500
	for _, rate := range []int{1_000, 3_000, 30_000, 1_000_000} {
		for _, latency := range []time.Duration{100 * time.Microsecond, 3 * time.Millisecond, 30 * time.Millisecond} {
			t.Run(fmt.Sprint(rate, " a second, ", latency), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &fakeServer{latency: latency}
					db, l := fakeLookup(s)
					random := rand.New(rand.NewPCG(1, uint64(rate)))
					var slowest atomic.Int64
					var wg sync.WaitGroup
					for i := range clients {
						wg.Go(func() {
							start := time.Now()
							get(t, l, fmt.Sprint("k", i))
							for d := int64(time.Since(start)); ; {
								if old := slowest.Load(); d <= old || slowest.CompareAndSwap(old, d) {
									break
								}
							}
						})
						time.Sleep(time.Duration(random.ExpFloat64() * float64(time.Second) / float64(rate)))
					}
					wg.Wait()
					if n := s.questions.Load(); n > most {
						t.Errorf("%d questions for %d keys, want at most %d", n, clients, most)
					}
					if d := time.Duration(slowest.Load()); d > lookupLinger+2*latency {
						t.Errorf("one waited for %v", d)
					}
					db.Close()
				})
			})
		}
	}
}

// TestLookupCallersInTurn lets callers ask again when they have their answer: as many as there are handshakes at once must
// be asked for together, and few must not linger for others who never come.
func TestLookupCallersInTurn(t *testing.T) {
	for _, c := range []struct {
		callers int
		most    int64         // questions
		within  time.Duration // with a latency of 300 us
	}{
		{2, 15_000, 6 * time.Second}, // 2.25 s if they never waited for one another
		{3, 15_000, 5 * time.Second},
		{16, 1_500, 2 * time.Second},
		{256, 400, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &fakeServer{latency: 300 * time.Microsecond}
			db, l := fakeLookup(s)
			start := time.Now()
			var wg sync.WaitGroup
			for caller := range c.callers {
				wg.Go(func() {
					for i := range 15_000 / c.callers {
						get(t, l, fmt.Sprint("k", caller, ".", i))
					}
				})
			}
			wg.Wait()
			n, d := s.questions.Load(), time.Since(start)
			t.Logf("%d callers: %d questions in %v", c.callers, n, d)
			if n > c.most || d > c.within {
				t.Errorf("%d callers: %d questions in %v, want at most %d in %v", c.callers, n, d, c.most, c.within)
			}
			db.Close()
		})
	}
}

// together makes n keys wait for one question: behind another, which is under way until the server is let go.
func together(t *testing.T, s *fakeServer, l *Lookup[string], keys ...string) (answers []func() (string, bool, error)) {
	t.Helper()
	s.hold = make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() { get(t, l, "first") })
	synctest.Wait()
	for _, key := range keys {
		var row string
		var found bool
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { row, found, err = l.Get(t.Context(), key) })
		answers = append(answers, func() (string, bool, error) { wg.Wait(); return row, found, err })
	}
	synctest.Wait()
	close(s.hold)
	first.Wait()
	return answers
}

func TestLookupTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeServer{}
		db, l := fakeLookup(s)
		keys := []string{"a", "none", "two", `b"\{,}`, "a", "c"}
		for i, answer := range together(t, s, l, "a", "none", "two", "a", "c") {
			key := []string{"a", "none", "two", "a", "c"}[i]
			row, found, err := answer()
			switch key {
			case "none":
				if found || err != nil {
					t.Errorf("%s: got %q, %v, %v", key, row, found, err)
				}
			case "two":
				if found || !errors.Is(err, ErrAmbiguous) {
					t.Errorf("%s: got %q, %v, %v", key, row, found, err)
				}
			default:
				if !found || err != nil || row != "row of "+key {
					t.Errorf("%s: got %q, %v, %v", key, row, found, err)
				}
			}
		}
		if n := s.questions.Load(); n != 2 {
			t.Errorf("%d questions, want the first and one for %d keys", n, len(keys))
		}
		db.Close()
	})
}

// TestLookupOddKeys: what one client sends must not keep the others out.
func TestLookupOddKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeServer{}
		db, l := fakeLookup(s)
		keys := make([]string, 99)
		for i := range keys {
			keys[i] = fmt.Sprint("k", i)
		}
		keys[7], keys[50] = "bad 1", "bad 2"
		for i, answer := range together(t, s, l, keys...) {
			if _, found, err := answer(); err != nil || found == strings.HasPrefix(keys[i], "bad") {
				t.Errorf("%s: found is %v, %v", keys[i], found, err)
			}
		}
		if n := s.questions.Load(); n > 1+4*7+1 { // halves, of which only those with an odd key are halved again
			t.Errorf("%d questions for two odd keys", n)
		}
		before := s.questions.Load()
		for _, key := range []string{"", "a\x00b", "\xff"} {
			if _, found, err := l.Get(t.Context(), key); found || err != nil {
				t.Errorf("%q: found is %v, %v", key, found, err)
			}
		}
		if s.questions.Load() != before {
			t.Error("the database was asked for what no column holds")
		}
		db.Close()
	})
}

// TestLookupCallerLeaves ends one caller's context: the others have their answers.
func TestLookupCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeServer{hold: make(chan struct{})}
		db, l := fakeLookup(s)
		var wg sync.WaitGroup
		wg.Go(func() { get(t, l, "first") })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, _, err := l.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
				t.Errorf("who left: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() { get(t, l, "a") })
		wg.Go(func() { get(t, l, "b") })
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(s.hold)
		wg.Wait()
		db.Close()
	})
}

func TestLookupErrorsHoldNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeServer{}
		db, l := fakeLookup(s)
		s.hold = make(chan struct{})
		answers := together(t, s, l, "SECRET-a", "SECRET-b")
		for _, answer := range answers {
			if _, found, err := answer(); !found || err != nil {
				t.Errorf("found is %v, %v", found, err)
			}
		}
		s.fail = errors.New("cannot make sense of")
		s.hold = nil
		var wg sync.WaitGroup
		for _, key := range []string{"SECRET-a", "SECRET-b", "SECRET-c"} {
			wg.Go(func() {
				if _, found, err := l.Get(t.Context(), key); found || err == nil || strings.Contains(err.Error(), "SECRET") {
					t.Errorf("found is %v, %v", found, err)
				}
			})
		}
		wg.Wait()
		db.Close()
	})
}

// TestClose waits for what is under way and for what still waits, and answers nothing afterwards.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeServer{hold: make(chan struct{})}
		db, l := fakeLookup(s)
		var wg sync.WaitGroup
		wg.Go(func() { get(t, l, "first") })
		synctest.Wait()
		wg.Go(func() {
			if _, _, err := l.Get(t.Context(), "late"); !errors.Is(err, ErrClosed) {
				t.Errorf("what waited: %v", err)
			}
		})
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			db.Close()
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("it was closed over a question")
		default:
		}
		if _, _, err := l.Get(t.Context(), "later"); !errors.Is(err, ErrClosed) {
			t.Errorf("after the close: %v", err)
		}
		close(s.hold)
		<-closed
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if _, err := db.Query("one").Holds(t.Context(), []any{"x"}); !errors.Is(err, ErrClosed) {
			t.Errorf("a query after the close: %v", err)
		}
	})
}
