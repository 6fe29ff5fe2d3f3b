package authn

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
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

// parted is a [Retainer] that says which parts of a request it keeps.
type parted interface{ parts() []string }

// partsOf returns them, nil where nobody says.
func partsOf(v Verifier) []string {
	if p, ok := v.(parted); ok {
		return p.parts()
	}
	return nil
}

// Kept is a credential that outlives its handshake, to be verified again while the connection lasts. It is fixed after
// [Chain.Keep], may be used by many goroutines, and hides its value from fmt and slog.
type Kept struct {
	// Fixed after Keep.
	source     *Source
	credential Credential

	// Atomic.
	head atomic.Uint64 // what DigestHead returns; 0: nobody has asked
}

// Keep returns a copy of the credential behind f, or nil where there is none, or it cannot be verified again. r is the
// request that f came from.
func (c *Chain) Keep(f Found, r *Request) *Kept {
	if f.source == nil {
		return nil
	}
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
	case errors.Is(KindOf(err), ErrAbsent):
		return nil, &Error{Kind: ErrAbsent, Reason: ReasonNoCredential, Err: err, By: k.source.Name}
	case err != nil:
		return nil, decided(err, ReasonUnknownToken, k.source.Name)
	case id == nil:
		return nil, decided(errors.New("the verifier returned neither identity nor error"), "", k.source.Name)
	}
	return id, nil
}

// Adopt returns k for a source of c that looks at the same place and has a verifier of the same name, which is the one that
// is asked then; nil where c has no such source. So a credential outlives the verifiers of a configuration that is read
// again. What was retained of the request stays what k's verifier wanted of it; where a [Callback] wants more it is nil, too,
// since what the application would say without that means nothing.
func (c *Chain) Adopt(k *Kept) *Kept {
	by := describe(*k.source)
	for i := range c.sources {
		if c.by[i] == by {
			has := partsOf(k.source.Verifier)
			if slices.ContainsFunc(partsOf(c.sources[i].Verifier), func(part string) bool { return !slices.Contains(has, part) }) {
				return nil
			}
			own := &Kept{source: &c.sources[i], credential: k.credential}
			own.head.Store(k.head.Load())
			return own
		}
	}
	return nil
}

// Digest returns the [CredentialDigest], by which a [Change] names it. It is computed each time: see DigestHead.
func (k *Kept) Digest() [sha256.Size]byte { return CredentialDigest(k.credential.Value) }

// DigestHead returns the [DigestHead] of Digest. It is computed once, when somebody asks, so that all connections can be gone
// through for each change, and those for which nobody does cost nothing. The eight bytes fit into what a Kept takes anyway.
func (k *Kept) DigestHead() uint64 {
	head := k.head.Load()
	if head == 0 {
		head = DigestHead(k.Digest())
		k.head.Store(head)
	}
	return head
}

// DigestHead returns the first eight bytes of a digest. That is enough to find whom a [Change] is about, since who is found
// by chance is only asked about once more.
func DigestHead(digest [sha256.Size]byte) uint64 { return binary.BigEndian.Uint64(digest[:]) }

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
