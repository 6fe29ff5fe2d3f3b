package memo

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestDropsOfWhatIsOnItsWay: an answer that was dropped before it came is not kept, and nobody who asks later waits for it.
func TestDropsOfWhatIsOnItsWay(t *testing.T) {
	for name, tt := range map[string]struct {
		source *source
		drop   func(*Memo[string])
		kept   How
	}{
		"nothing":            {good("1"), func(*Memo[string]) {}, Hit},
		"its key":            {good("1"), func(m *Memo[string]) { m.DropKey(keyOf("k")) }, Asked},
		"another key":        {good("1"), func(m *Memo[string]) { m.DropKey(keyOf("x")) }, Hit},
		"its subject":        {good("1"), func(m *Memo[string]) { m.DropSubject("2"); m.DropSubject("1"); m.DropSubject("3") }, Asked},
		"another subject":    {good("1"), func(m *Memo[string]) { m.DropSubject("2") }, Hit},
		"a subject":          {bad(""), func(m *Memo[string]) { m.DropSubject("2") }, Asked},
		"nobody's":           {good(""), func(m *Memo[string]) { m.DropSubject("2") }, Hit},
		"everything":         {good("1"), func(m *Memo[string]) { m.DropAll() }, Asked},
		"everything before":  {good("1"), func(m *Memo[string]) { m.DropKey(keyOf("x")) }, Hit},
		"too many to say":    {good("1"), dropMany(recent + 1), Asked},
		"as many as it says": {good("1"), dropMany(recent), Hit},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, config(), func(t *testing.T, m *Memo[string]) {
				m.DropAll()
				slow := &source{answer: tt.source.answer, wait: make(chan struct{})}
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() { want(t, m, "k", Any, slow, Asked) })
				synctest.Wait()
				tt.drop(m)
				close(slow.wait)
				wg.Wait()
				kept := tt.kept
				if kept == Hit && tt.source.answer.Kind == Bad {
					kept = BadHit
				}
				want(t, m, "k", Any, tt.source, kept)
			})
		})
	}
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		old, now := good("old"), good("now")
		old.wait = make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if v, _, _ := get(t, m, "k", Any, old); v != "it is old" {
				t.Errorf("who asked before the drop got %q", v)
			}
		})
		synctest.Wait()
		m.DropSubject("somebody else")
		time.Sleep(time.Nanosecond)
		if v, how, _ := get(t, m, "k", Any, now); v != "it is now" || how != Asked {
			t.Errorf("who asked after the drop got %q", v)
		}
		close(old.wait)
		wg.Wait()
		if v, _, _ := get(t, m, "k", Any, old); v != "it is now" {
			t.Errorf("the older answer was kept: %q", v)
		}
	})
}

func dropMany(n int) func(*Memo[string]) {
	return func(m *Memo[string]) {
		for i := range n {
			m.DropSubject(fmt.Sprint("other ", i))
		}
	}
}

// TestOlderAnswerLandsLater: what was known since an answer was asked for is not forgotten for it, also where nothing of that
// is kept.
func TestOlderAnswerLandsLater(t *testing.T) {
	none := config()
	none.NegativeTTL = 0
	for name, tt := range map[string]struct {
		config Config
		newer  *source
		kept   How
	}{
		"gone":         {config(), &source{answer: Answer[string]{Kind: Gone, Err: errBad}}, Asked},
		"bad":          {config(), bad("1"), BadHit},
		"bad, unkept":  {none, bad("1"), Asked},
		"good":         {config(), good("2"), Hit},
		"nobody knows": {config(), &source{answer: Answer[string]{Kind: Fleeting, Err: errBad}}, Hit}, // so the older one is news
	} {
		t.Run(name, func(t *testing.T) {
			run(t, tt.config, func(t *testing.T, m *Memo[string]) {
				older := good("1")
				older.wait = make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() { want(t, m, "k", Any, older, Asked) })
				time.Sleep(time.Millisecond)
				want(t, m, "k", 0, tt.newer, Asked)
				close(older.wait)
				wg.Wait()
				if v, _, how, ok := m.Peek(keyOf("k"), Any); ok != (tt.kept != Asked) || how != tt.kept || name == "good" && v != "it is 2" {
					t.Errorf("it keeps %q, by way %d; want %d", v, how, tt.kept)
				}
				if len(m.questions) != 0 || len(m.all) != 0 {
					t.Errorf("%d questions and %d flights are still there", len(m.questions), len(m.all))
				}
			})
		})
	}
}

// TestOthersAreDropped: who asks for one thing waits for one answer, however many others change meanwhile.
func TestOthersAreDropped(t *testing.T) {
	run(t, config(), func(t *testing.T, m *Memo[string]) {
		s := good("1")
		s.wait = make(chan struct{})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _, _, _ = get(t, m, "k", Any, s) })
			synctest.Wait()
			m.DropKey(keyOf("another"))
		}
		close(s.wait)
		wg.Wait()
		if n := s.asked.Load(); n != 1 {
			t.Errorf("20 who asked the same were %d questions", n)
		}
	})
}
