package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/memo"
)

// DecisionCacheConfig says what a [DecisionCache] keeps of whose decisions.
type DecisionCacheConfig struct {
	Name       string     // of the authorizer: a metric's label
	Authorizer Authorizer // whose decisions are kept. The cache closes it, if it can be closed
	// TTL is how long a yes is good, though never beyond the end of the identity, and NegativeTTL how long a no is
	// ([ErrForbidden]). 0 keeps none of the kind.
	TTL, NegativeTTL time.Duration
	MaxEntries       int // yeses; 0 is DefaultCacheEntries
	MaxBytes         int // that they take, about; 0 is DefaultCacheBytes
	Registerer       prometheus.Registerer
}

// DecisionCache is an [Authorizer] that remembers what another one said about an identity and a group, with the path's
// parameters and with what the other one retains of the request. What [Cache] does with those who ask at the same time, with
// what it does not keep and with [WithMaxAge], it does as well. It may be used by many goroutines.
type DecisionCache struct {
	// Fixed after NewDecisionCache.
	inner   Authorizer
	retain  Retainer // the same; nil: it looks at no request
	answers *memo.Memo[string]
	counts  cacheCounts

	// Atomic.
	cap atomic.Int64 // a Duration, above 0; 0: none
}

// NewDecisionCache returns the cache of an authorizer.
func NewDecisionCache(c DecisionCacheConfig) (*DecisionCache, error) {
	name, err := verifierName(c.Name, "cache")
	if err != nil {
		return nil, err
	}
	if c.Authorizer == nil {
		return nil, fmt.Errorf("authn: the cache of %s has no authorizer", name)
	}
	metrics, err := newCacheMetrics(c.Registerer, "authorizer")
	if err != nil {
		return nil, err
	}
	mc, err := memoConfig(c.TTL, c.NegativeTTL, c.MaxEntries, c.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("authn: the cache of %s: %w", name, err)
	}
	a := &DecisionCache{inner: c.Authorizer, counts: metrics.of(name, &mc), answers: memo.New[string](mc)}
	a.retain, _ = c.Authorizer.(Retainer)
	return a, nil
}

// Authorize implements [Authorizer]. It blocks while the other authorizer does, until ctx ends: that is [ErrUnavailable].
func (a *DecisionCache) Authorize(ctx context.Context, q *Question) (rule string, err error) {
	var kept *Request // what the answer depends on beside who asks for what
	if a.retain != nil && q.Request != nil {
		var again bool
		if kept, again = a.retain.Retain(q.Request); !again {
			a.counts.asked.Inc()
			return a.inner.Authorize(ctx, q)
		}
	}
	key, age := questionKey(q, kept), askedAge(ctx, &a.cap)
	if rule, err, how, ok := a.answers.Peek(key, age); ok {
		a.counts.count(how)
		return rule, err
	}
	own := &Question{Identity: q.Identity, Group: q.Group, Params: q.Params.clone(), Request: kept}
	rule, how, err := a.answers.Get(ctx, key, age, func(ctx context.Context) memo.Answer[string] {
		rule, err := a.inner.Authorize(ctx, own)
		return decision(own, rule, err)
	})
	a.counts.count(how)
	if how == memo.Left {
		return "", &Error{Kind: ErrUnavailable, Reason: ReasonAuthorizerUnavailable, Err: err}
	}
	return rule, err
}

// decision says how long the answer of an authorizer can be kept.
func decision(q *Question, rule string, err error) memo.Answer[string] {
	a := memo.Answer[string]{
		Kind: memo.Fleeting, Value: rule, Err: err, Subject: q.Identity.Subject, Until: q.Identity.Expires,
		Size: len(rule) + len(q.Identity.Subject),
	}
	switch {
	case err == nil:
		a.Kind = memo.Good
	case errors.Is(KindOf(err), ErrForbidden):
		a.Kind, a.Size = memo.Bad, a.Size+len(err.Error())
	}
	return a
}

// questionKey returns the key of a decision.
func questionKey(q *Question, kept *Request) memo.Key {
	var room [512]byte
	k := keyParts(room[:0]).bool(q.Identity.Anonymous).text(q.Identity.Subject).text(q.Identity.Name).text(q.Identity.Source)
	k = k.text(q.Group.String()).number(len(q.Params))
	for _, p := range q.Params {
		k = k.text(p.Name).text(p.Value)
	}
	k = k.number(len(q.Identity.Grants))
	for _, g := range q.Identity.Grants {
		k = k.text(g)
	}
	return sha256.Sum256(k.request(kept))
}

// clone returns a copy that lives as long as it likes.
func (p Params) clone() Params {
	own := make(Params, len(p))
	for i := range p {
		own[i] = Param{strings.Clone(p[i].Name), strings.Clone(p[i].Value)}
	}
	return own
}

// Retain implements [Retainer] as the other authorizer does.
func (a *DecisionCache) Retain(r *Request) (kept *Request, again bool) {
	if a.retain == nil {
		return nil, true
	}
	return a.retain.Retain(r)
}

// SubprotocolPrefixes returns those of the other authorizer, behind which a subprotocol is a signed value.
func (a *DecisionCache) SubprotocolPrefixes() [][]byte {
	if v, ok := a.inner.(interface{ SubprotocolPrefixes() [][]byte }); ok {
		return v.SubprotocolPrefixes()
	}
	return nil
}

// Check asks the other authorizer what keeps it from answering. It blocks as Authorize does. One that cannot be asked is
// well.
func (a *DecisionCache) Check(ctx context.Context) error { return check(ctx, a.inner) }

// Apply forgets what the change may have made untrue. It does not block. That a token or a session is gone changes nothing
// about what its user may do.
func (a *DecisionCache) Apply(c Change) {
	if c.Kind == ChangeToken || c.Kind == ChangeSession {
		return
	}
	apply(a.answers, c)
}

// SetCap is that of [Cache].
func (a *DecisionCache) SetCap(d time.Duration) { a.cap.Store(int64(max(d, 0))) }

// Close ends what it asks, and closes the other authorizer, if that can be closed. It may be called again.
func (a *DecisionCache) Close() error {
	a.answers.Close()
	if c, ok := a.inner.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
