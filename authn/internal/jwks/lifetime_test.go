package jwks

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
