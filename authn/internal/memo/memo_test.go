package memo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errBad = errors.New("bad")

func config() Config {
	return Config{TTL: time.Minute, NegativeTTL: time.Second, MaxGood: 8, MaxBad: 4, GoodBytes: 1 << 20, BadBytes: 1 << 20, Timeout: 10 * time.Second}
}

func keyOf(s string) (k Key) {
	copy(k[:], s)
	return k
}

// source answers questions and counts them.
type source struct {
	asked  atomic.Int64
	answer Answer[string]
	wait   chan struct{} // nil: at once
}

func (s *source) ask(ctx context.Context) Answer[string] {
	s.asked.Add(1)
	a := s.answer
	if s.wait != nil {
		select {
		case <-s.wait:
		case <-ctx.Done():
			return Answer[string]{Kind: Fleeting, Err: ctx.Err()}
		}
	}
	return a
}

func get(t *testing.T, m *Memo[string], key string, age time.Duration, s *source) (string, How, error) {
	t.Helper()
	return m.Get(t.Context(), keyOf(key), age, s.ask)
}

// want asks and checks where the answer came from.
func want(t *testing.T, m *Memo[string], key string, age time.Duration, s *source, how How) {
	t.Helper()
	if _, got, _ := get(t, m, key, age, s); got != how {
		t.Errorf("%s: the answer came by way %d, want %d", key, got, how)
	}
}

func good(subject string) *source {
	return &source{answer: Answer[string]{Kind: Good, Value: "it is " + subject, Subject: subject}}
}

func bad(subject string) *source {
	return &source{answer: Answer[string]{Kind: Bad, Err: errBad, Subject: subject}}
}

// run runs a test with an empty Memo and false time.
func run(t *testing.T, c Config, test func(*testing.T, *Memo[string])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := New[string](c)
		defer m.Close()
		test(t, m)
	})
}

func TestKinds(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		g, b := good("1"), bad("")
		want(t, m, "g", Any, g, Asked)
		want(t, m, "g", Any, g, Hit)
		want(t, m, "b", Any, b, Asked)
		want(t, m, "b", Any, b, BadHit)
		if v, err, how, ok := m.Peek(keyOf("g"), Any); v != "it is 1" || err != nil || how != Hit || !ok {
			t.Errorf("got %q, %v, %v, %v", v, err, how, ok)
		}
		if _, err, how, ok := m.Peek(keyOf("b"), Any); !errors.Is(err, errBad) || how != BadHit || !ok {
			t.Errorf("got %v, %v, %v", err, how, ok)
		}
		if _, _, _, ok := m.Peek(keyOf("x"), Any); ok {
			t.Error("what nobody asked is known")
		}
		time.Sleep(time.Second)
		want(t, m, "b", Any, b, Asked)
		want(t, m, "g", Any, g, Hit)
		time.Sleep(59 * time.Second)
		want(t, m, "g", Any, g, Asked)

		f := &source{answer: Answer[string]{Kind: Fleeting, Err: errBad}}
		want(t, m, "f", Any, f, Asked)
		want(t, m, "f", Any, f, Asked)
		want(t, m, "g", 0, f, Hit) // asked at this very moment of false time
		time.Sleep(time.Second)
		want(t, m, "g", 0, f, Asked)
		want(t, m, "g", Any, g, Hit) // that nobody could say changes nothing
		f.answer.Kind = Gone
		want(t, m, "g", 0, f, Asked)
		want(t, m, "g", Any, g, Asked)
		want(t, m, "g", 0, bad("1"), Hit)
		time.Sleep(time.Second)
		want(t, m, "g", 0, bad("1"), Asked)
		want(t, m, "g", Any, g, BadHit)
	})
}

func TestUntil(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		s := good("1")
		s.answer.Until = time.Now().Add(3 * time.Second)
		want(t, m, "k", Any, s, Asked)
		time.Sleep(3*time.Second - 1)
		want(t, m, "k", Any, s, Hit)
		time.Sleep(time.Nanosecond)
		want(t, m, "k", Any, s, Asked)
		want(t, m, "k", Any, s, Asked) // it has ended already
	})
}

func TestAge(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		s := good("1")
		want(t, m, "k", Any, s, Asked)
		time.Sleep(5 * time.Second)
		want(t, m, "k", 5*time.Second, s, Hit)
		want(t, m, "k", 5*time.Second-1, s, Asked)
		want(t, m, "k", time.Second, s, Hit) // it was kept anew
		time.Sleep(59 * time.Second)
		want(t, m, "k", Any, s, Hit)

		s.wait = make(chan struct{}) // a question that is too old is not joined
		var wg sync.WaitGroup
		defer wg.Wait()
		defer close(s.wait)
		wg.Go(func() { want(t, m, "new", Any, s, Asked) })
		time.Sleep(2 * time.Second)
		wg.Go(func() { want(t, m, "new", 2*time.Second, s, Shared) })
		wg.Go(func() { want(t, m, "new", time.Second, s, Asked) })
		synctest.Wait()
	})
}

// TestAgeIsThatOfTheQuestion: an answer may be as old as its question.
func TestAgeIsThatOfTheQuestion(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		s := good("1")
		s.wait = make(chan struct{})
		time.AfterFunc(4*time.Second, func() { close(s.wait) })
		want(t, m, "k", Any, s, Asked)
		want(t, m, "k", 3*time.Second, s, Asked)
	})
}

func TestShared(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		s := good("1")
		s.wait = make(chan struct{})
		var wg sync.WaitGroup
		var hows [5]atomic.Int64
		for i := range 50 {
			ctx, cancel := context.WithCancel(t.Context())
			wg.Go(func() {
				v, how, err := m.Get(ctx, keyOf("k"), Any, s.ask)
				hows[how].Add(1)
				if how == Left != errors.Is(err, context.Canceled) || how != Left && v != "it is 1" {
					t.Errorf("got %q, %v, %v", v, how, err)
				}
			})
			if i == 0 {
				synctest.Wait()
			}
			if i%2 == 0 { // the one that asks leaves too
				cancel()
			} else {
				defer cancel()
			}
		}
		synctest.Wait()
		close(s.wait)
		wg.Wait()
		if s.asked.Load() != 1 || hows[Left].Load() != 25 || hows[Shared].Load() != 25 {
			t.Errorf("asked %d times; %d left, %d shared", s.asked.Load(), hows[Left].Load(), hows[Shared].Load())
		}
		want(t, m, "k", Any, s, Hit)
	})
}

type contextKey struct{}

// TestDetached: the question has the caller's values and a deadline of its own.
func TestDetached(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		start := time.Now()
		ctx := context.WithValue(t.Context(), contextKey{}, "value")
		_, _, err := m.Get(ctx, keyOf("k"), Any, func(ctx context.Context) Answer[string] {
			if ctx.Value(contextKey{}) != "value" {
				t.Error("the values are lost")
			}
			<-ctx.Done()
			return Answer[string]{Kind: Fleeting, Err: ctx.Err()}
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestDrops(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		fill := func() {
			for _, k := range []string{"a1", "a2", "b1"} {
				m.DropKey(keyOf(k))
				want(t, m, k, Any, good(k[:1]), Asked)
			}
			m.DropKey(keyOf("nobody"))
			want(t, m, "nobody", Any, good(""), Asked)
			m.DropKey(keyOf("bad"))
			want(t, m, "bad", Any, bad(""), Asked)
			m.DropKey(keyOf("bad of b"))
			want(t, m, "bad of b", Any, bad("b"), Asked)
		}
		fill()
		m.DropSubject("a")
		want(t, m, "a1", Any, good("a"), Asked)
		want(t, m, "a2", Any, good("a"), Asked)
		want(t, m, "b1", Any, good("b"), Hit)
		want(t, m, "nobody", Any, good(""), Hit)
		want(t, m, "bad", Any, bad(""), Asked) // it may have been a's
		want(t, m, "bad of b", Any, bad("b"), BadHit)
		fill()
		m.DropKey(keyOf("a2"))
		want(t, m, "a1", Any, good("a"), Hit)
		want(t, m, "a2", Any, good("a"), Asked)
		fill()
		m.DropSubject("")
		want(t, m, "a1", Any, good("a"), Hit)
		want(t, m, "nobody", Any, good(""), Hit)
		want(t, m, "bad", Any, bad(""), Asked)
		fill()
		m.DropAll()
		if g, b := m.Len(); g != 0 || b != 0 || len(m.entries) != 0 || len(m.subjects) != 0 || m.good.bytes != 0 || m.bad.bytes != 0 {
			t.Errorf("%d good and %d bad answers are left, %d entries, %d subjects", g, b, len(m.entries), len(m.subjects))
		}
		want(t, m, "nobody", Any, good(""), Asked)
	})
}

// gauge counts what it is told.
type gauge struct{ n float64 }

func (g *gauge) Add(n float64) { g.n += n }

func TestBounds(t *testing.T) {
	c := config()
	var goods, bads, evicted gauge
	c.GoodCount, c.BadCount, c.Evicted = &goods, &bads, &evicted
	run(t, c, func(t *testing.T, m *Memo[string]) {
		for i := range 8 {
			want(t, m, fmt.Sprint("good ", i), Any, good("1"), Asked)
		}
		for i := range 1000 { // a flood of garbage
			want(t, m, fmt.Sprint("bad ", i), Any, bad(""), Asked)
		}
		if g, b := m.Len(); g != 8 || b != 4 || goods.n != 8 || bads.n != 4 || evicted.n != 0 {
			t.Errorf("%d good and %d bad; counted %v, %v, %v", g, b, goods.n, bads.n, evicted.n)
		}
		want(t, m, "good 0", Any, good("1"), Hit) // now the last that was used
		want(t, m, "good 8", Any, good("1"), Asked)
		want(t, m, "good 0", Any, good("1"), Hit)
		want(t, m, "good 1", Any, good("1"), Asked)
		if evicted.n != 2 {
			t.Errorf("%v were pushed out, want 2", evicted.n)
		}
		m.Close()
		if goods.n != 0 || bads.n != 0 {
			t.Errorf("counted %v and %v after the end", goods.n, bads.n)
		}
	})
}

// TestSweep: what has ended goes, also when nobody asks for anything any more, and so does the room that it took.
func TestSweep(t *testing.T) {
	c := config()
	c.MaxGood = 1000
	run(t, c, func(t *testing.T, m *Memo[string]) {
		for i := range 100 {
			want(t, m, fmt.Sprint("good ", i), Any, good(fmt.Sprint(i)), Asked)
		}
		want(t, m, "bad", Any, bad(""), Asked)
		time.Sleep(30 * time.Second)
		want(t, m, "late", Any, good("late"), Asked)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if g, b := m.Len(); g != 1 || b != 0 || m.most != 1 || len(m.subjects) != 1 || m.sweeper == nil {
			t.Errorf("%d good and %d bad are left, room for %d", g, b, m.most)
		}
		want(t, m, "late", Any, good("late"), Hit)
		m.DropSubject("late") // it is in the map that was made anew
		want(t, m, "late", Any, good("late"), Asked)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if g, _ := m.Len(); g != 0 || m.sweeper != nil {
			t.Errorf("%d are left, or the sweeper still comes", g)
		}
		want(t, m, "late", Any, good("late"), Asked)
	})
}

func TestBoundOfBytes(t *testing.T) {
	c := config()
	c.GoodBytes = 3 * (overhead + 100)
	run(t, c, func(t *testing.T, m *Memo[string]) {
		s := good("1")
		s.answer.Size = 100
		for i := range 5 {
			want(t, m, fmt.Sprint(i), Any, s, Asked)
		}
		if g, _ := m.Len(); g != 3 || m.good.bytes != c.GoodBytes {
			t.Errorf("%d are kept in %d bytes", g, m.good.bytes)
		}
		s.answer.Size = c.GoodBytes
		want(t, m, "huge", Any, s, Asked)
		want(t, m, "huge", Any, s, Asked)
		want(t, m, "4", Any, s, Hit) // it pushed out nobody
	})
}

func TestPanic(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		catch := func() (v any) {
			defer func() { v = recover() }()
			_, _, err := m.Get(t.Context(), keyOf("k"), Any, func(context.Context) Answer[string] { panic("boom") })
			t.Errorf("it returned %v", err)
			return nil
		}
		if err, ok := catch().(error); !ok || !strings.Contains(err.Error(), "boom") || !strings.Contains(err.Error(), "memo_test.go") {
			t.Errorf("got %v", err)
		}
		want(t, m, "k", Any, good("1"), Asked)
	})
}

func TestClose(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		s := good("1")
		want(t, m, "kept", Any, s, Asked)
		s.wait = make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := get(t, m, "k", Any, s); !errors.Is(err, context.Canceled) {
				t.Errorf("the question under way: %v", err)
			}
		})
		synctest.Wait()
		m.Close()
		wg.Wait()
		m.Close()
		if _, _, err := get(t, m, "kept", Any, s); !errors.Is(err, context.Canceled) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestModel does much at once: what is read is never older than the last drop that had returned.
func TestModel(t *testing.T) {
	m := New[int64](Config{TTL: time.Hour, NegativeTTL: time.Hour, MaxGood: 50, MaxBad: 50, GoodBytes: 1 << 20, BadBytes: 1 << 20, Timeout: time.Minute})
	defer m.Close()
	var truth [8]atomic.Int64
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 4000 {
				n := (i*7 + g) % len(truth)
				subject := fmt.Sprint(n)
				key := keyOf(subject)
				least := int64(0)
				if i%5 == g {
					least = truth[n].Add(1)
					switch i % 3 {
					case 0:
						m.DropSubject(subject)
					case 1:
						m.DropKey(key)
					default:
						m.DropAll()
					}
					if v, _, _, ok := m.Peek(key, Any); ok && v < least {
						t.Errorf("kept %d after the drop of %d", v, least)
					}
				}
				v, _, err := m.Get(t.Context(), key, Any, func(context.Context) Answer[int64] {
					v := truth[n].Load()
					if v%7 == 0 {
						return Answer[int64]{Kind: Bad, Value: v, Err: errBad}
					}
					return Answer[int64]{Kind: Good, Value: v, Subject: subject}
				})
				if err != nil && !errors.Is(err, errBad) {
					t.Error(err)
				}
				if v < least {
					t.Errorf("got %d, want at least %d", v, least)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkPeek(b *testing.B) {
	m := New[string](Config{TTL: time.Hour, MaxGood: 1 << 16, GoodBytes: 1 << 30, Timeout: time.Minute})
	defer m.Close()
	for i := range 1 << 14 {
		_, _, _ = m.Get(b.Context(), keyOf(fmt.Sprint(i)), Any, func(context.Context) Answer[string] { return Answer[string]{Kind: Good} })
	}
	key := keyOf("77")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, ok := m.Peek(key, Any); !ok {
			b.Fatal("it is gone")
		}
	}
}
