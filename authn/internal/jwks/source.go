package jwks

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The defaults of a [Config].
const (
	DefaultRefresh  = 10 * time.Minute
	DefaultInterval = 10 * time.Second
	DefaultTimeout  = 10 * time.Second
	DefaultMaxStale = 24 * time.Hour
)

// MinMaxStale is the least that [Config.MaxStale] can be.
const MinMaxStale = time.Minute

// The waits after a fetch that failed: the first, and the longest that it doubles to.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// maxWaiting is how many callers of [Source.Find] may wait for a fetch. More are answered at once with [ErrUnavailable]:
// tokens that name keys at random must not take all the handshakes that a node makes at once.
const maxWaiting = 64

var (
	// ErrUnknown means that the issuer has no such key, or that the token does not say which of several it is.
	ErrUnknown = errors.New("no such key")
	// ErrUnavailable means that nobody could say: the keys have not come, or perhaps not all of them.
	ErrUnavailable = errors.New("the keys could not be fetched")
)

// Config says where the keys of one issuer are, and which of them count.
type Config struct {
	Name   string // of the verifier: a metric's label
	URL    string // of the JWK set; "": found by way of the issuer's OpenID configuration
	Issuer string // with which the issuer's OpenID configuration must agree exactly; only used without URL

	Algorithms []string                                         // that tokens may be signed with
	Fits       func(algorithm string, k crypto.PublicKey) error // whether a key may be used with an algorithm; any goroutine

	Refresh  time.Duration // how often the keys are fetched, give or take a tenth; 0 is DefaultRefresh
	Interval time.Duration // the least time between two fetches that tokens ask for; 0 is DefaultInterval
	Timeout  time.Duration // for one fetch; 0 is DefaultTimeout
	// MaxStale is how long keys stay in force when the issuer does not answer any more; 0 is DefaultMaxStale, and below 0
	// there is no bound. Keys are fetched twice in that time at least.
	MaxStale time.Duration

	Transport  http.RoundTripper // nil is one of its own, without a proxy; it is the caller's otherwise
	Logger     *slog.Logger      // nil logs nothing
	Registerer prometheus.Registerer
}

// Source keeps the keys of one issuer. Its goroutine fetches them from New to Close. It may be used by many goroutines.
type Source struct {
	// Fixed after New.
	config  Config
	url     *url.URL // nil: found by discovery
	client  *http.Client
	metrics metrics
	wake    chan struct{} // holds one: somebody asks for a fetch
	cancel  context.CancelFunc
	done    chan struct{} // closed when the goroutine has ended

	// Owned by the goroutine.
	stale bool // it was said that the keys are too old

	// Guarded by mu.
	mu      sync.Mutex
	round   chan struct{} // closed when the fetch that was asked for, or is under way, has ended; nil: there is none
	waiting int           // for round
	ended   time.Time     // the last fetch; zero: there was none
	failed  bool          // the last fetch

	// Atomic.
	set atomic.Pointer[set] // nil until the first fetch that succeeds
}

// New checks the configuration and begins to fetch. It does not wait for an answer: an issuer that is down fails [Find],
// and not New.
func New(c Config) (*Source, error) {
	s := &Source{wake: make(chan struct{}, 1), done: make(chan struct{})}
	var err error
	switch {
	case c.URL != "":
		if s.url, err = parseURL(c.URL); err != nil {
			return nil, fmt.Errorf("jwks: the URL of the keys: %w", err)
		}
	case c.Issuer != "":
		if _, err = parseURL(c.Issuer); err != nil {
			return nil, fmt.Errorf("jwks: the issuer cannot be asked for its keys: %w", err)
		}
	default:
		return nil, errors.New("jwks: want the URL of the keys, or an issuer to ask for it")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Algorithms = slices.Clone(c.Algorithms)
	c.Refresh, c.Interval, c.Timeout = orDefault(c.Refresh, DefaultRefresh), orDefault(c.Interval, DefaultInterval), orDefault(c.Timeout, DefaultTimeout)
	if c.MaxStale == 0 {
		c.MaxStale = DefaultMaxStale
	}
	if c.MaxStale > 0 {
		if c.MaxStale < MinMaxStale {
			return nil, fmt.Errorf("jwks: keys stay in force for %v without an answer: want %v or more", c.MaxStale, MinMaxStale)
		}
		c.Refresh = min(c.Refresh, c.MaxStale/2)
	}
	if s.metrics, err = newMetrics(c.Registerer, c.Name); err != nil {
		return nil, err
	}
	s.client = &http.Client{Transport: c.Transport, CheckRedirect: checkRedirect}
	if c.Transport == nil {
		s.client.Transport = &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 16} // the next fetch is minutes away
	}
	s.config = c
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	go s.run(ctx)
	return s, nil
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}

// Close ends the fetching and waits for its goroutine. Whoever waits in Find is answered. It may be called again.
func (s *Source) Close() error {
	s.cancel()
	<-s.done
	return nil
}

// Find returns the key that a token names by its kid, or without one the only key that there is, if it may be used with
// algorithm. When the issuer may have a new key it waits for a fetch, which all who wait share. The error is ErrUnknown,
// ErrUnavailable, or that of ctx with ErrUnavailable. id is not kept.
func (s *Source) Find(ctx context.Context, id []byte, algorithm string) (crypto.PublicKey, error) {
	key, known, current := s.look(id, algorithm)
	if key == nil && !known && !current {
		if err := s.wait(ctx); err != nil {
			return nil, err
		}
		key, known, current = s.look(id, algorithm)
	}
	switch {
	case key != nil:
		return key, nil
	case known || current:
		return nil, ErrUnknown
	case s.old():
		return nil, fmt.Errorf("%w for %v, and those from before are too old", ErrUnavailable, s.config.MaxStale)
	default:
		return nil, ErrUnavailable
	}
}

// look returns the key among those that are there. current is true where the last fetch has brought some and is so young
// that no other may follow it: what it did not bring is not there.
func (s *Source) look(id []byte, algorithm string) (key crypto.PublicKey, known, current bool) {
	set := s.set.Load()
	if set == nil || len(set.keys) == 0 || s.left(set) <= 0 {
		return nil, false, false
	}
	if key, known = set.find(id, algorithm); known {
		return key, true, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return nil, false, !s.failed && s.round == nil && time.Since(s.ended) < s.config.Interval && s.set.Load() == set
}

// left returns for how long keys stay in force without an answer.
func (s *Source) left(keys *set) time.Duration {
	if s.config.MaxStale < 0 {
		return math.MaxInt64
	}
	return s.config.MaxStale - time.Since(keys.at)
}

// old reports whether there are keys, and they are too old.
func (s *Source) old() bool {
	set := s.set.Load()
	return set != nil && len(set.keys) > 0 && s.left(set) <= 0
}

// wait waits for the fetch that is under way, or for one that it asks for. It returns at once where one may not begin yet.
func (s *Source) wait(ctx context.Context) error {
	s.mu.Lock()
	if s.round == nil {
		if !s.ended.IsZero() && time.Since(s.ended) < s.config.Interval {
			s.mu.Unlock()
			return nil
		}
		s.round = make(chan struct{})
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	round := s.round
	if s.waiting >= maxWaiting {
		s.mu.Unlock()
		return ErrUnavailable
	}
	s.waiting++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}()
	select {
	case <-round:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	case <-s.done:
		return fmt.Errorf("%w: the verifier was closed", ErrUnavailable)
	}
}

// run fetches at once, then every Refresh, sooner after a failure, and whenever a token asks.
func (s *Source) run(ctx context.Context) {
	defer close(s.done)
	if s.Plain() {
		s.config.Logger.Warn("the keys of tokens come over http: whoever can change them on the way can be anybody; https is safe", "verifier", s.config.Name)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		if s.fetch(ctx) {
			retry = firstRetry
			timer.Reset(spread(s.config.Refresh))
			continue
		}
		timer.Reset(s.soon(spread(retry)))
		retry = min(2*retry, lastRetry)
	}
}

// Plain reports whether the keys come over http from another machine: whoever can change them on the way can be anybody.
func (s *Source) Plain() bool {
	u := s.url
	if u == nil {
		u, _ = parseURL(s.config.Issuer) // New has looked at it
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// soon returns d, or less where the keys would be too old by then: so it is tried and said in time.
func (s *Source) soon(d time.Duration) time.Duration {
	if set := s.set.Load(); set != nil {
		if left := s.left(set); left > 0 {
			return min(d, left)
		}
	}
	return d
}

// spread returns d, give or take a tenth, so that the nodes of a cluster do not ask together.
func spread(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5+1) }

// fetch fetches once and lets those who wait go on. It reports whether there are keys now that are up to date.
func (s *Source) fetch(ctx context.Context) bool {
	s.mu.Lock()
	if s.round == nil {
		s.round = make(chan struct{})
	}
	select { // whoever asked gets this one
	case <-s.wake:
	default:
	}
	s.mu.Unlock()

	fetching, cancel := context.WithTimeout(ctx, s.config.Timeout)
	fetched, err := s.load(fetching)
	cancel()

	s.mu.Lock()
	again := s.failed
	s.mu.Unlock()
	if ctx.Err() == nil {
		s.report(s.set.Load(), fetched, err, again)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if fetched != nil {
		fetched.at = time.Now()
		s.set.Store(fetched)
	}
	s.failed, s.ended = err != nil, time.Now()
	close(s.round)
	s.round = nil
	return err == nil
}

// report counts and logs a fetch; failures that follow a failure are only counted.
func (s *Source) report(before, fetched *set, err error, again bool) {
	if fetched != nil {
		s.metrics.keys.Set(float64(len(fetched.keys)))
	}
	log := s.config.Logger.With("verifier", s.config.Name)
	if err != nil {
		s.metrics.failed.Inc()
		switch {
		case fetched != nil && (!again || !fetched.same(before)): // it says so itself, and is believed
			log.Error("none of the keys that were fetched can be used: until there are others, its tokens are answered with 503", "error", err)
		case fetched == nil && !again:
			log.Warn("the keys of tokens could not be fetched; those from before stay in force until jwks_max_stale, and without any its tokens are answered with 503",
				"error", err, "jwks_max_stale", max(s.config.MaxStale, 0))
		}
		if fetched == nil && s.old() && !s.stale {
			s.stale = true
			s.metrics.keys.Set(0)
			log.Error("the keys of tokens could not be fetched for jwks_max_stale: those from before are not trusted any more, and its tokens are answered with 503",
				"error", err, "jwks_max_stale", s.config.MaxStale)
		}
		return
	}
	s.metrics.ok.Inc()
	s.stale = false
	switch {
	case !fetched.same(before):
		log.Info("the keys of tokens were fetched", "keys", len(fetched.keys), "unusable", len(fetched.skipped))
	case again:
		log.Info("the keys of tokens can be fetched again", "keys", len(fetched.keys))
	}
}

// Inherit takes over the keys that from has, as old as they are, if it fetches them from the same place for the same
// algorithms, and this source has none of its own yet. They are fetched anew all the same.
func (s *Source) Inherit(from *Source) {
	if s.config.URL != from.config.URL || s.config.Issuer != from.config.Issuer || !slices.Equal(s.config.Algorithms, from.config.Algorithms) {
		return
	}
	if keys := from.set.Load(); keys != nil {
		if s.set.CompareAndSwap(nil, keys) && s.left(keys) > 0 {
			s.metrics.keys.Set(float64(len(keys.keys))) // for the one before they may have been too old
		}
	}
}

// Check asks for the keys, apart from those that are in force, and returns what keeps them from coming. It blocks until ctx
// ends at the latest.
func (s *Source) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	_, err := s.load(ctx)
	return err
}
