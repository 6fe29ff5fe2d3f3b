package jwks

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// fits is the rule of the tests: EdDSA and ES256, each with its type.
func fits(algorithm string, k crypto.PublicKey) error {
	var ok bool
	switch algorithm {
	case "EdDSA":
		_, ok = k.(ed25519.PublicKey)
	case "ES256":
		var e *ecdsa.PublicKey
		e, ok = k.(*ecdsa.PublicKey)
		ok = ok && e.Curve == elliptic.P256()
	}
	if !ok {
		return errors.New("does not fit")
	}
	return nil
}

// issuer is an http.RoundTripper that answers as an issuer does.
type issuer struct {
	mu       sync.Mutex
	body     string
	err      error
	delay    time.Duration
	requests int
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.requests++
	body, err, delay := i.body, i.err, i.delay
	i.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Request: r, Header: http.Header{}}, nil
}

func (i *issuer) set(body string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body, i.err = body, err
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// newSource returns a source whose issuer is i, closed at the end of the test.
func newSource(t *testing.T, i *issuer, change func(*Config)) *Source {
	t.Helper()
	c := Config{Name: "jwt", URL: "https://issuer.test/keys", Algorithms: []string{"EdDSA", "ES256"}, Fits: fits, Transport: i}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// want fails unless Find answers with that key, or else with err.
func want(t *testing.T, s *Source, id, algorithm string, key crypto.PublicKey, wantErr error) {
	t.Helper()
	got, err := s.Find(t.Context(), []byte(id), algorithm)
	if key == nil {
		if got != nil || !errors.Is(err, wantErr) {
			t.Errorf("%s, %s: got %v, %v, want %v", id, algorithm, got, err, wantErr)
		}
		return
	}
	if k, ok := got.(interface{ Equal(crypto.PublicKey) bool }); err != nil || !ok || !k.Equal(key) {
		t.Errorf("%s, %s: got %v, %v, want the key", id, algorithm, got, err)
	}
}

func TestFind(t *testing.T) {
	ed, p256, p384 := newEd25519(t), newECDSA(t, elliptic.P256()), newECDSA(t, elliptic.P384())
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{body: setOf(
			jwkOf(t, ed, map[string]any{"kid": "ed"}), jwkOf(t, p256, map[string]any{"kid": "p"}),
			jwkOf(t, newEd25519(t), map[string]any{"kid": "p"}), // RFC 7517 section 4.5: keys of different types may share one
			jwkOf(t, newEd25519(t), map[string]any{"kid": "other", "alg": "RS256"}),
			jwkOf(t, p384, map[string]any{"kid": "p384"}), `{"kty":"oct","k":"AA","kid":"s"}`,
		)}
		s := newSource(t, i, nil)
		want(t, s, "ed", "EdDSA", ed, nil)
		want(t, s, "p", "ES256", p256, nil)
		want(t, s, "ed", "ES256", nil, ErrUnknown) // alg must fit the key
		want(t, s, "ed", "RS256", nil, ErrUnknown)
		want(t, s, "ED", "EdDSA", nil, ErrUnknown)
		want(t, s, "", "EdDSA", nil, ErrUnknown) // which one?
		want(t, s, "other", "EdDSA", nil, ErrUnknown)
		want(t, s, "p384", "ES256", nil, ErrUnknown)
		want(t, s, "s", "EdDSA", nil, ErrUnknown)
		if n := i.count(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

func TestFindTheOnlyKey(t *testing.T) {
	ed := newEd25519(t)
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, &issuer{body: setOf(jwkOf(t, ed, map[string]any{"kid": "ed"}), jwkOf(t, newRSA(2048), nil))}, nil)
		want(t, s, "", "EdDSA", ed, nil)
		want(t, s, "", "ES256", nil, ErrUnknown)
		want(t, s, "x", "EdDSA", nil, ErrUnknown)
	})
}

// TestRotation: a token of a new key is good as soon as the issuer has the key, and no flood of unknown ones makes more
// than one fetch in an interval.
func TestRotation(t *testing.T) {
	before, after := newEd25519(t), newEd25519(t)
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{body: setOf(jwkOf(t, before, map[string]any{"kid": "1"})), delay: time.Second}
		r := prometheus.NewRegistry()
		s := newSource(t, i, func(c *Config) { c.Registerer = r })
		want(t, s, "1", "EdDSA", before, nil)
		time.Sleep(DefaultInterval)
		i.set(setOf(jwkOf(t, before, map[string]any{"kid": "1"}), jwkOf(t, after, map[string]any{"kid": "2"})), nil)
		start := time.Now()
		var wg sync.WaitGroup
		for range maxWaiting {
			wg.Go(func() { want(t, s, "2", "EdDSA", after, nil) })
		}
		wg.Wait()
		if n, took := i.count(), time.Since(start); n != 2 || took != time.Second {
			t.Errorf("%d fetches in %v, want 2, and one second", n, took)
		}
		for range 1000 {
			want(t, s, "made up", "EdDSA", nil, ErrUnknown)
		}
		if n := i.count(); n != 2 {
			t.Errorf("%d fetches, want no further one within %v", n, DefaultInterval)
		}
		i.set(setOf(jwkOf(t, after, map[string]any{"kid": "2"})), nil)
		time.Sleep(DefaultInterval)
		want(t, s, "made up", "EdDSA", nil, ErrUnknown)
		want(t, s, "1", "EdDSA", nil, ErrUnknown) // withdrawn
		want(t, s, "2", "EdDSA", after, nil)
		if n := i.count(); n != 3 {
			t.Errorf("%d fetches, want 3", n)
		}
		wantMetrics(t, r, 3, 0, 1)
	})
}

func wantMetrics(t *testing.T, r *prometheus.Registry, ok, failed, keys int) {
	t.Helper()
	m, err := newMetrics(r, "jwt")
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c := testutil.ToFloat64(m.ok), testutil.ToFloat64(m.failed), testutil.ToFloat64(m.keys); a != float64(ok) || b != float64(failed) || c != float64(keys) {
		t.Errorf("counted ok %v, failed %v, keys %v, want %d, %d, %d", a, b, c, ok, failed, keys)
	}
}

// TestRefresh: nobody asks, and the keys are fetched again; the key that is gone is no good then.
func TestRefresh(t *testing.T) {
	before, after := newEd25519(t), newEd25519(t)
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{body: setOf(jwkOf(t, before, map[string]any{"kid": "1"}))}
		s := newSource(t, i, nil)
		synctest.Wait()
		i.set(setOf(jwkOf(t, after, map[string]any{"kid": "1"})), nil)
		time.Sleep(DefaultRefresh * 8 / 10)
		want(t, s, "1", "EdDSA", before, nil)
		time.Sleep(DefaultRefresh * 4 / 10)
		want(t, s, "1", "EdDSA", after, nil)
		if n := i.count(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

// TestDownAtStart: the source is there, nobody is rejected, and keys that come late are found without a token that asks.
func TestDownAtStart(t *testing.T) {
	ed := newEd25519(t)
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{err: errors.New("connection refused")}
		r, log := prometheus.NewRegistry(), &bytes.Buffer{}
		s := newSource(t, i, func(c *Config) { c.Registerer, c.Logger = r, slog.New(slog.NewTextHandler(log, nil)) })
		for range 1000 {
			want(t, s, "1", "EdDSA", nil, ErrUnavailable)
			want(t, s, "", "EdDSA", nil, ErrUnavailable)
		}
		if n := i.count(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		failed := i.count()
		if failed < 5 || failed > 6 { // after 1, 2, 4, 8 and 16 seconds
			t.Errorf("%d fetches in half a minute, want five or six", failed)
		}
		want(t, s, "1", "EdDSA", nil, ErrUnavailable) // perhaps after a fetch that it asked for
		failed = i.count()
		i.set(setOf(jwkOf(t, ed, map[string]any{"kid": "1"})), nil)
		time.Sleep(lastRetry * 11 / 10)
		want(t, s, "1", "EdDSA", ed, nil)
		synctest.Wait()
		wantMetrics(t, r, 1, failed, 1)
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "connection refused") || !strings.Contains(log.String(), `msg="the keys of tokens were fetched" verifier=jwt keys=1`) {
			t.Errorf("logged %s, want one warning, and that the keys came", log)
		}
	})
}

// TestDownLater: the keys stay, and a token that names another is not rejected, since the issuer may have it by now.
func TestDownLater(t *testing.T) {
	ed := newEd25519(t)
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{body: setOf(jwkOf(t, ed, map[string]any{"kid": "1"}))}
		r, log := prometheus.NewRegistry(), &bytes.Buffer{}
		s := newSource(t, i, func(c *Config) { c.Registerer, c.Logger = r, slog.New(slog.NewTextHandler(log, nil)) })
		want(t, s, "1", "EdDSA", ed, nil)
		i.set("", errors.New("no route"))
		time.Sleep(23 * time.Hour)
		want(t, s, "1", "EdDSA", ed, nil)
		want(t, s, "2", "EdDSA", nil, ErrUnavailable)
		synctest.Wait()
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings in a day, want 1", n)
		}
		if n := i.count(); n < 23*60*9/10 || n > 23*60*11/10+10 {
			t.Errorf("%d fetches in a day, want one a minute", n)
		}
		i.set(setOf(jwkOf(t, ed, map[string]any{"kid": "1"})), nil)
		time.Sleep(lastRetry * 11 / 10)
		want(t, s, "2", "EdDSA", nil, ErrUnknown)
		synctest.Wait()
		if !strings.Contains(log.String(), "can be fetched again") {
			t.Errorf("logged %s", log)
		}
	})
}

// TestEmptySet: an issuer that withdraws every key is obeyed, and since that looks like a mistake, nobody is rejected.
func TestEmptySet(t *testing.T) {
	ed := newEd25519(t)
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{body: setOf(jwkOf(t, ed, nil))}
		r, log := prometheus.NewRegistry(), &bytes.Buffer{}
		s := newSource(t, i, func(c *Config) { c.Registerer, c.Logger = r, slog.New(slog.NewTextHandler(log, nil)) })
		want(t, s, "", "EdDSA", ed, nil)
		i.set("", errors.New("no route")) // a failure before it must not hide what it means
		time.Sleep(DefaultRefresh * 11 / 10)
		want(t, s, "", "EdDSA", ed, nil)
		i.set(setOf(jwkOf(t, newRSA(2048), nil)), nil)
		time.Sleep(DefaultRefresh * 11 / 10)
		want(t, s, "", "EdDSA", nil, ErrUnavailable)
		wantMetrics(t, r, 1, i.count()-1, 0)
		synctest.Wait()
		if warned, told := strings.Count(log.String(), "stay in force"), strings.Count(log.String(), "none of the keys that were fetched can be used"); warned != 1 || told != 1 {
			t.Errorf("%d times that the old keys stay, %d times that they are gone, want once each:\n%s", warned, told, log)
		}
	})
}

// TestWaiting: few wait for an issuer that is slow; the others are answered at once, and whoever waits may give up.
func TestWaiting(t *testing.T) {
	ed := newEd25519(t)
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{body: setOf(jwkOf(t, ed, map[string]any{"kid": "1"})), delay: 5 * time.Second}
		s := newSource(t, i, nil)
		start := time.Now()
		var wg sync.WaitGroup
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wg.Go(func() {
			_, err := s.Find(impatient, []byte("1"), "EdDSA")
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
		})
		for range maxWaiting - 1 {
			wg.Go(func() { want(t, s, "1", "EdDSA", ed, nil) })
		}
		synctest.Wait()
		want(t, s, "1", "EdDSA", nil, ErrUnavailable)
		if time.Since(start) != 0 {
			t.Errorf("one too many waited for %v", time.Since(start))
		}
		wg.Wait()
		if time.Since(start) != 5*time.Second || i.count() != 1 {
			t.Errorf("%d fetches in %v, want 1", i.count(), time.Since(start))
		}
	})
}

// TestSlowIssuer: a fetch has its time, and the next is not begun the moment that it is over.
func TestSlowIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{delay: time.Hour}
		s := newSource(t, i, nil)
		start := time.Now()
		want(t, s, "1", "EdDSA", nil, ErrUnavailable)
		if time.Since(start) != DefaultTimeout {
			t.Errorf("answered after %v, want %v", time.Since(start), DefaultTimeout)
		}
		want(t, s, "1", "EdDSA", nil, ErrUnavailable)
		if n := i.count(); time.Since(start) != DefaultTimeout || n != 1 {
			t.Errorf("answered after %v and %d fetches", time.Since(start), n)
		}
	})
}
