package authn

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// Retainer is a [Verifier] or an [Authorizer] that looks at the request. Retain returns an owned copy of no more of r than
// it needs to be asked again when the request is gone, nil where that is nothing; again is false where asking again means
// nothing, since the credential is used up. Of what it returned it returns the same again. It does not block, and may be
// called by many goroutines.
type Retainer interface {
	Retain(r *Request) (kept *Request, again bool)
}

// Kept is a credential that outlives its handshake, to be verified again while the connection lasts. It is fixed after
// [Chain.Keep], may be used by many goroutines, and hides its value from fmt and slog.
type Kept struct {
	source     *Source
	credential Credential
}

// Keep returns a copy of the credential behind f, or nil where it cannot be verified again. r is the request that f came
// from.
func (c *Chain) Keep(f Found, r *Request) *Kept {
	k := &Kept{source: f.source, credential: f.credential}
	k.credential.Value, k.credential.Request = bytes.Clone(f.credential.Value), nil
	if v, ok := f.source.Verifier.(Retainer); ok {
		kept, again := v.Retain(r)
		if !again {
			return nil
		}
		k.credential.Request = kept
	}
	return k
}

// Verify asks the verifier again. Its identity and its error are those of [Chain.Find]; [ErrAbsent] where there is no
// credential any more, as when a session was logged out of.
func (k *Kept) Verify(ctx context.Context) (*session.Identity, error) {
	id, err := k.source.Verifier.Verify(ctx, k.credential)
	switch {
	case err != nil && errors.Is(err, ErrAbsent):
		return nil, &Error{Kind: ErrAbsent, Reason: ReasonNoCredential, Err: err, By: k.source.Name}
	case err != nil:
		return nil, decided(err, ReasonUnknownToken, k.source.Name)
	case id == nil:
		return nil, decided(errors.New("the verifier returned neither identity nor error"), "", k.source.Name)
	}
	return id, nil
}

// String returns where the credential was, never what it is.
func (k *Kept) String() string { return k.credential.String() }

// GoString returns the same as String.
func (k *Kept) GoString() string { return k.String() }

// maxAgeKey is the key of WithMaxAge.
type maxAgeKey struct{}

// WithMaxAge returns a context in which caches answer only with what is no older than d: who asks again while a connection
// lasts wants to know what is so now.
func WithMaxAge(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, maxAgeKey{}, d)
}

// MaxAge returns what WithMaxAge set.
func MaxAge(ctx context.Context) (d time.Duration, ok bool) {
	d, ok = ctx.Value(maxAgeKey{}).(time.Duration)
	return d, ok
}
