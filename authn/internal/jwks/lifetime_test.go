package jwks

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestClose ends a fetch that is under way, and answers whoever waits for it.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		s := newSource(t, &issuer{delay: time.Hour}, func(c *Config) { c.Timeout, c.Registerer = time.Hour, r })
		answered := make(chan error, 1)
		go func() {
			_, err := s.Find(context.Background(), []byte("1"), "EdDSA")
			answered <- err
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-answered; !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		want(t, s, "1", "EdDSA", nil, ErrUnavailable)
		wantMetrics(t, r, 0, 0, 0) // nothing failed: it was ours to end it
	})
}

// TestConcurrently has many ask for keys that come and go.
func TestConcurrently(t *testing.T) {
	ed := newEd25519(t)
	i := &issuer{body: setOf(jwkOf(t, ed, map[string]any{"kid": "1"}))}
	s := newSource(t, i, func(c *Config) { c.Interval, c.Refresh = time.Microsecond, time.Microsecond })
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for k := range 200 {
				if n == 0 && k%10 == 0 {
					i.set(setOf(jwkOf(t, newEd25519(t), map[string]any{"kid": "2"}), jwkOf(t, ed, map[string]any{"kid": "1"})), nil)
				}
				want(t, s, "1", "EdDSA", ed, nil)
				if _, err := s.Find(t.Context(), []byte("3"), "EdDSA"); !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrUnavailable) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkFind(b *testing.B) {
	i := &issuer{body: setOf(jwkOf(b, newEd25519(b), map[string]any{"kid": "1"}), jwkOf(b, newEd25519(b), map[string]any{"kid": "2"}))}
	s, err := New(Config{URL: "https://issuer.test/keys", Algorithms: []string{"EdDSA"}, Fits: fits, Transport: i})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	id := []byte("2")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Find(b.Context(), id, "EdDSA"); err != nil {
			b.Fatal(err)
		}
	}
}

// TestInherit: a source that takes the place of another has its keys while the issuer is down, and only its.
func TestInherit(t *testing.T) {
	ed, own := newEd25519(t), newEd25519(t)
	synctest.Test(t, func(t *testing.T) {
		before := newSource(t, &issuer{body: setOf(jwkOf(t, ed, map[string]any{"kid": "1"}))}, nil)
		synctest.Wait()
		down := &issuer{err: errors.New("no route")}
		after := newSource(t, down, nil)
		after.Inherit(newSource(t, down, nil)) // which has none
		want(t, after, "1", "EdDSA", nil, ErrUnavailable)
		after.Inherit(before)
		if err := before.Close(); err != nil {
			t.Error(err)
		}
		want(t, after, "1", "EdDSA", ed, nil)
		want(t, after, "2", "EdDSA", nil, ErrUnavailable) // the issuer may have it
		for _, change := range []func(*Config){
			func(c *Config) { c.URL = "https://other.test/keys" },
			func(c *Config) { c.Issuer = "https://other.test" },
			func(c *Config) { c.Algorithms = []string{"EdDSA"} },
		} {
			other := newSource(t, down, change)
			other.Inherit(before)
			want(t, other, "1", "EdDSA", nil, ErrUnavailable)
		}
		fresh := newSource(t, &issuer{body: setOf(jwkOf(t, own, map[string]any{"kid": "1"}))}, nil)
		synctest.Wait()
		fresh.Inherit(before)
		want(t, fresh, "1", "EdDSA", own, nil)
		down.set(setOf(jwkOf(t, own, map[string]any{"kid": "1"})), nil)
		time.Sleep(lastRetry * 11 / 10)
		want(t, after, "1", "EdDSA", own, nil) // and not what it inherited
	})
}

// TestTooOld: keys of an issuer that does not answer any more are good for so long and no longer, whoever has inherited them
// meanwhile, and then nobody is rejected.
func TestTooOld(t *testing.T) {
	ed := newEd25519(t)
	body := setOf(jwkOf(t, ed, map[string]any{"kid": "1"}))
	for _, tt := range []struct{ configured, bound time.Duration }{
		{0, DefaultMaxStale}, {time.Hour, time.Hour}, {MinMaxStale, MinMaxStale},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{body: body}
			r, log := prometheus.NewRegistry(), &bytes.Buffer{}
			logger := slog.New(slog.NewTextHandler(log, nil))
			change := func(c *Config) { c.MaxStale, c.Registerer, c.Logger = tt.configured, r, logger }
			s := newSource(t, i, change)
			time.Sleep(3 * DefaultRefresh) // while the issuer answers they do not get too old
			want(t, s, "1", "EdDSA", ed, nil)
			synctest.Wait()
			got := s.set.Load().at
			i.set("", errors.New("no route"))
			// So early that after tries once more with the keys that it inherits, if its first try should come before them.
			time.Sleep(time.Until(got.Add(tt.bound)) - 2*firstRetry)
			after := newSource(t, i, change)
			after.Inherit(s)
			time.Sleep(2*firstRetry - time.Nanosecond)
			want(t, s, "1", "EdDSA", ed, nil)
			want(t, after, "1", "EdDSA", ed, nil)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			for _, of := range []*Source{s, after} {
				want(t, of, "1", "EdDSA", nil, ErrUnavailable)
				want(t, of, "2", "EdDSA", nil, ErrUnavailable)
				want(t, of, "", "EdDSA", nil, ErrUnavailable)
			}
			failed := i.count()
			_, err := s.Find(t.Context(), []byte("1"), "EdDSA")
			if err == nil || !strings.Contains(err.Error(), "too old") || i.count() != failed {
				t.Errorf("got %v, and %d more fetches", err, i.count()-failed)
			}
			m, err := newMetrics(r, "jwt")
			if err != nil {
				t.Fatal(err)
			}
			if n := testutil.ToFloat64(m.keys); n != 0 {
				t.Errorf("%v keys are counted", n)
			}
			if err := after.Close(); err != nil {
				t.Error(err)
			}
			longer := newSource(t, i, func(c *Config) { c.MaxStale, c.Registerer = 2*tt.bound, r })
			longer.Inherit(s)
			want(t, longer, "1", "EdDSA", ed, nil)
			if n := testutil.ToFloat64(m.keys); n != 1 {
				t.Errorf("%v keys are counted where they are good for longer", n)
			}
			if err := longer.Close(); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 2 || !strings.Contains(log.String(), "jwks_max_stale="+tt.bound.String()) {
				t.Errorf("logged %s, want an error of each", log)
			}
		})
	}
}

// TestTooOldForAWhile: when the issuer answers again, all is well, and it is said once more when it stays away again.
func TestTooOldForAWhile(t *testing.T) {
	ed := newEd25519(t)
	body := setOf(jwkOf(t, ed, map[string]any{"kid": "1"}))
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{body: body}
		r, log := prometheus.NewRegistry(), &bytes.Buffer{}
		s := newSource(t, i, func(c *Config) {
			c.MaxStale, c.Registerer, c.Logger = time.Hour, r, slog.New(slog.NewTextHandler(log, nil))
		})
		m, err := newMetrics(r, "jwt")
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			i.set(body, nil)
			time.Sleep(lastRetry * 11 / 10)
			want(t, s, "1", "EdDSA", ed, nil)
			synctest.Wait()
			if got := testutil.ToFloat64(m.keys); got != 1 {
				t.Errorf("%v keys are counted", got)
			}
			i.set("", errors.New("no route"))
			time.Sleep(3 * time.Hour)
			want(t, s, "1", "EdDSA", nil, ErrUnavailable)
			synctest.Wait()
			if got := strings.Count(log.String(), "level=ERROR"); got != n+1 {
				t.Errorf("%d errors are logged, want %d", got, n+1)
			}
		}
	})
}

// TestNoBound: where there is none, keys are good for ever.
func TestNoBound(t *testing.T) {
	ed := newEd25519(t)
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{body: setOf(jwkOf(t, ed, map[string]any{"kid": "1"}))}
		s := newSource(t, i, func(c *Config) { c.MaxStale = -1 })
		want(t, s, "1", "EdDSA", ed, nil)
		i.set("", errors.New("no route"))
		time.Sleep(30 * 24 * time.Hour)
		want(t, s, "1", "EdDSA", ed, nil)
	})
	if s, err := New(Config{URL: "https://issuer.test/keys", MaxStale: MinMaxStale - 1}); err == nil || !strings.Contains(err.Error(), "want 1m0s or more") {
		t.Errorf("got %v", err)
		_ = s.Close()
	}
}
