package authn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/memo"
	"github.com/fairlead-ws/fairlead/session"
)

const (
	// DefaultCacheEntries is how many good answers one cache keeps at most.
	DefaultCacheEntries = 1 << 16
	// DefaultCacheBytes is how many bytes they take at most, about.
	DefaultCacheBytes = 64 << 20
	// Bad answers have a room of their own, since a stranger makes as many as he likes.
	maxBadEntries = 1 << 13
	maxBadBytes   = 8 << 20
	// cacheTimeout ends a look-up for which nobody waits any more. Verifiers have timeouts of their own, which are shorter.
	cacheTimeout = 30 * time.Second
)

// CacheConfig says what a [Cache] keeps of whose answers.
type CacheConfig struct {
	Name     string   // of the verifier: a metric's label
	Verifier Verifier // whose answers are kept. The cache closes it, if it can be closed
	// TTL is how long an identity is good, though never beyond its own end, and NegativeTTL how long a rejection is.
	// 0 keeps none of the kind.
	TTL, NegativeTTL time.Duration
	MaxEntries       int // identities; 0 is DefaultCacheEntries
	MaxBytes         int // that they take, about; 0 is DefaultCacheBytes
	Registerer       prometheus.Registerer
}

// Cache is a [Verifier] that remembers what another one said. Many who show the same credential at the same time are one
// question to it, which goes on when one of them leaves. It keeps identities and rejections ([ErrRejected]), by digests of
// the credentials; that nobody could say ([ErrUnavailable]), or that it was none ([ErrAbsent]), it does not keep. It answers
// with nothing that is older than [WithMaxAge] wants. It may be used by many goroutines.
type Cache struct {
	// Fixed after NewCache.
	inner   Verifier
	retain  Retainer // the same; nil: it looks at nothing but the credential
	answers *memo.Memo[*session.Identity]
	counts  cacheCounts

	// Atomic.
	cap atomic.Int64 // a Duration, above 0; 0: none
}

// NewCache returns the cache of a verifier.
func NewCache(c CacheConfig) (*Cache, error) {
	name, err := verifierName(c.Name, "cache")
	if err != nil {
		return nil, err
	}
	if c.Verifier == nil {
		return nil, fmt.Errorf("authn: the cache of %s has no verifier", name)
	}
	metrics, err := newCacheMetrics(c.Registerer, "verifier")
	if err != nil {
		return nil, err
	}
	mc, err := memoConfig(c.TTL, c.NegativeTTL, c.MaxEntries, c.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("authn: the cache of %s: %w", name, err)
	}
	v := &Cache{inner: c.Verifier, counts: metrics.of(name, &mc), answers: memo.New[*session.Identity](mc)}
	v.retain, _ = c.Verifier.(Retainer)
	return v, nil
}

// memoConfig returns the bounds of what a cache keeps.
func memoConfig(ttl, negative time.Duration, entries, size int) (memo.Config, error) {
	if ttl < 0 || negative < 0 || entries < 0 || size < 0 {
		return memo.Config{}, errors.New("a bound is negative: want 0 or more")
	}
	if entries == 0 {
		entries = DefaultCacheEntries
	}
	if size == 0 {
		size = DefaultCacheBytes
	}
	return memo.Config{
		TTL: ttl, NegativeTTL: negative, MaxGood: entries, GoodBytes: size,
		MaxBad: maxBadEntries, BadBytes: maxBadBytes, Timeout: cacheTimeout,
	}, nil
}

// Verify implements [Verifier]. It blocks while the other verifier does, until ctx ends: that is [ErrUnavailable].
func (v *Cache) Verify(ctx context.Context, c Credential) (*session.Identity, error) {
	var kept *Request // what the answer depends on beside the credential
	if v.retain != nil && c.Request != nil {
		var again bool
		if kept, again = v.retain.Retain(c.Request); !again {
			v.counts.asked.Inc()
			return v.inner.Verify(ctx, c) // it is used up
		}
	}
	key, age := credentialKey(c, kept), v.age(ctx)
	if id, err, how, ok := v.answers.Peek(key, age); ok {
		v.counts.count(how)
		return id, err
	}
	return v.ask(ctx, key, age, c, kept)
}

// ask asks the other verifier, or waits for somebody who has. c and kept are what the handshake lends and what is ours.
func (v *Cache) ask(ctx context.Context, key memo.Key, age time.Duration, c Credential, kept *Request) (*session.Identity, error) {
	own := Credential{From: c.From, Value: bytes.Clone(c.Value), Request: kept}
	id, how, err := v.answers.Get(ctx, key, age, func(ctx context.Context) memo.Answer[*session.Identity] {
		return verdict(v.inner.Verify(ctx, own))
	})
	v.counts.count(how)
	if how == memo.Left {
		return nil, &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: err}
	}
	return id, err
}

// verdict says how long the answer of a verifier can be kept.
func verdict(id *session.Identity, err error) memo.Answer[*session.Identity] {
	if err == nil && id != nil {
		return memo.Answer[*session.Identity]{Kind: memo.Good, Value: id, Subject: id.Subject, Until: id.Expires, Size: sizeOf(id)}
	}
	switch kind := KindOf(err); {
	case errors.Is(kind, ErrRejected):
		return memo.Answer[*session.Identity]{Kind: memo.Bad, Err: err, Size: len(err.Error())}
	case errors.Is(kind, ErrAbsent), errors.Is(kind, ErrForbidden):
		return memo.Answer[*session.Identity]{Kind: memo.Gone, Err: err}
	default: // nobody could say, or a fault
		return memo.Answer[*session.Identity]{Kind: memo.Fleeting, Err: err}
	}
}

// age returns how old an answer may be.
func (v *Cache) age(ctx context.Context) time.Duration { return askedAge(ctx, &v.cap) }

// askedAge returns how old an answer may be for one who asks with ctx, where the cache has a cap.
func askedAge(ctx context.Context, limit *atomic.Int64) time.Duration {
	age := memo.Any
	if d, ok := MaxAge(ctx); ok {
		age = max(d, 0)
	}
	if d := time.Duration(limit.Load()); d > 0 && (age < 0 || d < age) {
		age = d
	}
	return age
}

// Retain implements [Retainer] as the other verifier does.
func (v *Cache) Retain(r *Request) (kept *Request, again bool) {
	if v.retain == nil {
		return nil, true
	}
	return v.retain.Retain(r)
}

// parts implements parted as the other verifier does.
func (v *Cache) parts() []string { return partsOf(v.inner) }

// sees implements sight as the other verifier does.
func (v *Cache) sees(r *Request) bool { return sees(v.inner, r) }

// Check asks the other verifier what keeps it from answering. It blocks as Verify does. One that cannot be asked is well.
func (v *Cache) Check(ctx context.Context) error { return check(ctx, v.inner) }

func check(ctx context.Context, part any) error {
	if c, ok := part.(interface{ Check(context.Context) error }); ok {
		return c.Check(ctx)
	}
	return nil
}

// Apply forgets what the change may have made untrue. It does not block.
func (v *Cache) Apply(c Change) { apply(v.answers, c) }

// apply forgets what a change may have made untrue.
func apply[V any](answers *memo.Memo[V], c Change) {
	switch c.Kind {
	case ChangeUser:
		answers.DropSubject(c.User)
	case ChangeToken, ChangeSession:
		answers.DropKey(memo.Key(c.Digest))
	default:
		answers.DropAll()
	}
}

// SetCap sets how old answers may be from now on, whatever the TTLs are; 0: as old as those say. It is for one who knows
// that he would not hear of a change.
func (v *Cache) SetCap(d time.Duration) { v.cap.Store(int64(max(d, 0))) }

// Close ends what it asks, and closes the other verifier, if that can be closed. It may be called again.
func (v *Cache) Close() error {
	v.answers.Close()
	if c, ok := v.inner.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
