package authn

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/memo"
)

// UserCacheConfig says what a [UserCache] keeps of whose answers.
type UserCacheConfig struct {
	Name  string     // of the verifier that looks users up: a metric's label
	Users UserFinder // whose answers are kept. The cache closes it, if it can be closed
	// TTL is how long an active user is known, and NegativeTTL how long one who is inactive or not there. 0 keeps none of
	// the kind.
	TTL, NegativeTTL time.Duration
	MaxEntries       int // active users; 0 is DefaultCacheEntries
	MaxBytes         int // that they take, about; 0 is DefaultCacheBytes
	Registerer       prometheus.Registerer
}

// UserCache is a [UserFinder] that remembers what another one said, for a [JWT]: the token is verified each time, and only
// its user is known from before. What [Cache] does with those who ask at the same time, with an answer that nobody had and
// with [WithMaxAge], it does as well. It keeps no password, and gives none. It may be used by many goroutines.
type UserCache struct {
	// Fixed after NewUserCache.
	inner   UserFinder
	answers *memo.Memo[found]
	counts  cacheCounts

	// Atomic.
	cap atomic.Int64 // a Duration, above 0; 0: none
}

// found is what a UserFinder said.
type found struct {
	user  User
	there bool
}

// NewUserCache returns the cache of a finder.
func NewUserCache(c UserCacheConfig) (*UserCache, error) {
	name, err := verifierName(c.Name, "cache")
	if err != nil {
		return nil, err
	}
	if c.Users == nil {
		return nil, fmt.Errorf("authn: the cache of %s has no users", name)
	}
	metrics, err := newCacheMetrics(c.Registerer, "verifier")
	if err != nil {
		return nil, err
	}
	mc, err := memoConfig(c.TTL, c.NegativeTTL, c.MaxEntries, c.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("authn: the cache of %s: %w", name, err)
	}
	return &UserCache{inner: c.Users, counts: metrics.of(name, &mc), answers: memo.New[found](mc)}, nil
}

// ByField implements [UserFinder]. It blocks while the other finder does, until ctx ends.
func (u *UserCache) ByField(ctx context.Context, value string) (User, bool, error) {
	key, age := memo.Key(sha256.Sum256([]byte(value))), askedAge(ctx, &u.cap)
	if f, err, how, ok := u.answers.Peek(key, age); ok {
		u.counts.count(how)
		return f.user, f.there, err
	}
	value = strings.Clone(value) // it may be a part of something that dies with the caller
	f, how, err := u.answers.Get(ctx, key, age, func(ctx context.Context) memo.Answer[found] {
		user, there, err := u.inner.ByField(ctx, value)
		return knowledge(user, there, err)
	})
	u.counts.count(how)
	return f.user, f.there, err
}

// knowledge says how long what a finder said can be kept.
func knowledge(user User, there bool, err error) memo.Answer[found] {
	user.Password = ""
	a := memo.Answer[found]{
		Kind: memo.Bad, Value: found{user, there}, Err: err, Subject: user.ID,
		Size: userSize + len(user.ID) + len(user.Name),
	}
	switch {
	case err != nil:
		a.Kind = memo.Fleeting
	case there && user.Active:
		a.Kind = memo.Good
	}
	return a
}

// userSize is about what a found takes without its texts.
const userSize = 64

// Check asks the other finder for a user that nobody is, and returns what keeps it from answering.
func (u *UserCache) Check(ctx context.Context) error { return checkUsers(ctx, u.inner) }

// Apply forgets what the change may have made untrue. It does not block. That a token or a session is gone changes nothing
// about its user.
func (u *UserCache) Apply(c Change) {
	if c.Kind == ChangeToken || c.Kind == ChangeSession {
		return
	}
	apply(u.answers, c)
}

// SetCap sets how old answers may be from now on, as [Cache.SetCap] does.
func (u *UserCache) SetCap(d time.Duration) { u.cap.Store(int64(max(d, 0))) }

// Close ends what it asks, and closes the other finder, if that can be closed. It may be called again.
func (u *UserCache) Close() error {
	u.answers.Close()
	if c, ok := u.inner.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// checkUsers asks for a user that nobody is.
func checkUsers(ctx context.Context, users UserFinder) error {
	if c, ok := users.(interface{ Check(context.Context) error }); ok {
		return c.Check(ctx)
	}
	_, _, err := users.ByField(ctx, "0")
	return err
}
