package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("no connection")

// flag is a condition that a test switches.
type flag struct{ down atomic.Bool }

func (f *flag) OK() error {
	if f.down.Load() {
		return errDown
	}
	return nil
}

func mustNew(t *testing.T, c Config) *API {
	t.Helper()
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// watched runs a.watch in the bubble, until the test ends.
func watched(t *testing.T, a *API) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.watch(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

// TestHysteresis plays a course of events against a check that may fail for two seconds, and must work for five.
func TestHysteresis(t *testing.T) {
	type step struct {
		down   bool          // from now on
		wait   time.Duration // and then, after this
		wantOK bool          // the answer is
		error  string        // with
	}
	const flap = 1900 * time.Millisecond
	down, recovering := errDown.Error(), errRecovering.Error()
	for name, steps := range map[string][]step{
		"up from the start":                 {{false, 0, true, ""}, {false, time.Hour, true, ""}},
		"down from the start: no grace yet": {{true, 0, false, down}, {true, time.Hour, false, down}},
		"the first success counts at once":  {{true, time.Minute, false, down}, {false, 0, true, ""}},
		"fails within grace":                {{true, 0, false, down}, {false, time.Second, true, ""}, {true, flap, true, down}},
		"fails for longer": {
			{false, time.Minute, true, ""},
			{true, flap, true, down},
			{true, 400 * time.Millisecond, false, down},
			{true, time.Hour, false, down},
		},
		"flaps, each time for less than grace": {
			{false, 0, true, ""},
			{true, flap, true, down},
			{false, 300 * time.Millisecond, true, ""},
			{true, flap, true, down},
			{false, 300 * time.Millisecond, true, ""},
			{true, flap, true, down},
		},
		"recovers for long enough": {
			{false, 0, true, ""},
			{true, 3 * time.Second, false, down},
			{false, 4900 * time.Millisecond, false, recovering},
			{false, 400 * time.Millisecond, true, ""},
		},
		"recovers, but fails again": {
			{false, 0, true, ""},
			{true, 3 * time.Second, false, down},
			{false, 4900 * time.Millisecond, false, recovering},
			{true, 300 * time.Millisecond, false, down},
			{false, 4900 * time.Millisecond, false, recovering},
			{false, 400 * time.Millisecond, true, ""},
			{true, flap, true, down}, // with a new grace
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f flag
				f.down.Store(steps[0].down)
				a := mustNew(t, Config{Ready: []Check{{Name: "bus", OK: f.OK, Grace: 2 * time.Second, Recover: 5 * time.Second}}})
				watched(t, a)
				for i, s := range steps {
					f.down.Store(s.down)
					time.Sleep(s.wait)
					synctest.Wait()
					if got := a.probes[0].ask(); got.OK != s.wantOK || got.Error != s.error {
						t.Fatalf("step %d: ok %v, error %q; want %v, %q", i, got.OK, got.Error, s.wantOK, s.error)
					}
				}
			})
		})
	}
}

// The answer turns because the watcher looks; a request that comes later reads since when.
func TestWatchLooksBetweenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().UTC()
		var f flag
		a := mustNew(t, Config{Ready: []Check{{Name: "bus", OK: f.OK, Grace: 2 * time.Second}}})
		watched(t, a)
		time.Sleep(10 * time.Second)
		f.down.Store(true)
		time.Sleep(time.Hour)
		got := a.probes[0].ask()
		if earliest, latest := start.Add(12*time.Second), start.Add(12*time.Second+2*DefaultInterval); got.OK || got.Since.Before(earliest) || got.Since.After(latest) {
			t.Errorf("%+v, want a failure since between %v and %v", got, earliest, latest)
		}
		if got.Since.Location() != time.UTC {
			t.Errorf("since is in %v, want UTC", got.Since.Location())
		}
		f.down.Store(false) // Recover is 0
		if got := a.probes[0].ask(); !got.OK {
			t.Errorf("%+v, want ok at once", got)
		}
	})
}

func TestWatchInterval(t *testing.T) {
	for interval, want := range map[time.Duration]int64{0: 41, time.Second: 11, 3 * time.Second: 4} {
		synctest.Test(t, func(t *testing.T) {
			var asked, plain atomic.Int64
			a := mustNew(t, Config{Interval: interval, Ready: []Check{
				{Name: "graced", OK: func() error { asked.Add(1); return nil }, Recover: time.Second},
				{Name: "plain", OK: func() error { plain.Add(1); return nil }},
			}})
			watched(t, a)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if asked.Load() != want || plain.Load() != 0 {
				t.Errorf("every %v: the graced check is asked %d times in 10 s, the other %d; want %d and 0", interval, asked.Load(), plain.Load(), want)
			}
		})
	}
}

func TestWatchEndsWithoutGracedChecks(t *testing.T) {
	a := mustNew(t, Config{Ready: []Check{{Name: "plain", OK: func() error { return nil }}}})
	a.watch(t.Context()) // returns, or the test times out
}

func TestImmediateCheck(t *testing.T) {
	var f flag
	var log bytes.Buffer
	a := mustNew(t, Config{Ready: []Check{{Name: "accepting", OK: f.OK}}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, down := range []bool{false, true, true, false, false, true} {
		f.down.Store(down)
		if got := a.probes[0].ask(); got.OK == down || (got.Error == errDown.Error()) != down {
			t.Errorf("%+v, want ok %v", got, !down)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 3 || strings.Count(log.String(), `msg="not ready" check=accepting error="no connection"`) != 2 ||
		!strings.Contains(log.String(), `msg="ready again" check=accepting`) {
		t.Errorf("the log has %d lines, want one for each change:\n%s", lines, log.String())
	}
}

func TestNewRefuses(t *testing.T) {
	ok := func() error { return nil }
	for want, c := range map[string]Config{
		"Interval is -1s":              {Interval: -time.Second},
		"check 1 has no name":          {Ready: []Check{{Name: "a", OK: ok}, {OK: ok}}},
		`two checks have the name "a"`: {Ready: []Check{{Name: "a", OK: ok}, {Name: "a", OK: ok}}},
		`check "a" has no OK`:          {Ready: []Check{{Name: "a"}}},
		`"a" has a negative Grace`:     {Ready: []Check{{Name: "a", OK: ok, Grace: -1}}},
		`or Recover`:                   {Ready: []Check{{Name: "a", OK: ok, Recover: -1}}},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v): %v, want it to say %q", c, err, want)
		}
	}
}
