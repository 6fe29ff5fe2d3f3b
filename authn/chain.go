package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/fairlead-ws/fairlead/session"
)

// MaxCredential is the longest credential that an extractor hands on, in bytes; a longer one is malformed.
const MaxCredential = 8192

// Credential is what a client presented, not verified. It hides its value from fmt and slog.
type Credential struct {
	From  string // "header", "cookie", "query", "subprotocol" or "request"
	Value []byte // borrowed from the request, or a decoded copy; only valid during the handshake
	// Request is what the credential came in, for verifiers that look at more of it. Borrowed, like Value. When a kept
	// credential is verified again it is what the verifier's Retain returned, or nil.
	Request *Request
}

// String returns where the credential was, never what it is.
func (c Credential) String() string { return "a credential from " + c.From }

// GoString returns the same as String.
func (c Credential) GoString() string { return c.String() }

// LogValue returns the same as String.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Extractor finds a credential in a request. Extract returns [ErrAbsent] when there is none, and an [*Error] of kind
// [ErrRejected] when there is one that cannot be read. It does not block, and may be called by many goroutines.
type Extractor interface {
	Extract(*Request) (Credential, error)
}

// Verifier says who a credential stands for. Verify may block until ctx ends, and may be called by many goroutines. Its
// error is an [*Error] of kind [ErrRejected] or [ErrUnavailable], or of another kind as [Chain.Find] has it; the identity
// keeps nothing of the credential.
type Verifier interface {
	Verify(context.Context, Credential) (*session.Identity, error)
}

// Source is one place to look at, and who verifies what is found there.
type Source struct {
	Extractor Extractor
	Verifier  Verifier
	Name      string // of the verifier, from the configuration: for [Found] and [Error.By]
}

// Chain tries sources in order; the first whose credential is present decides. It is fixed after NewChain and may be used
// by many goroutines. It does not own its verifiers: who made them closes them.
type Chain struct {
	sources   []Source
	by        []string // of each source: what Found says
	challenge string
	prefixes  [][]byte
}

// NewChain returns a chain of sources. Without any, nobody has a credential.
func NewChain(sources ...Source) (*Chain, error) {
	c := &Chain{}
	var challenges []string
	for i, s := range sources {
		if s.Extractor == nil || s.Verifier == nil {
			return nil, fmt.Errorf("authn: source %d needs an extractor and a verifier", i+1)
		}
		switch e := s.Extractor.(type) {
		case *Header:
			if ch := e.challenge(); ch != "" && !containsFold(challenges, ch) {
				challenges = append(challenges, ch)
			}
		case *Subprotocol:
			c.prefixes = append(c.prefixes, []byte(e.prefix))
		}
		c.sources = append(c.sources, s)
		c.by = append(c.by, describe(s))
	}
	if len(challenges) == 0 {
		challenges = []string{`Bearer realm="fairlead"`}
	}
	c.challenge = strings.Join(challenges, ", ")
	return c, nil
}

func containsFold(list []string, s string) bool {
	for _, l := range list {
		if strings.EqualFold(l, s) {
			return true
		}
	}
	return false
}

// describe says where the source looks and who verifies, in words of the configuration.
func describe(s Source) string {
	var where string
	switch e := s.Extractor.(type) {
	case *Header:
		where = "header " + e.name
	case *Cookie:
		where = "cookie " + e.name
	case *Query:
		where = "query " + e.name
	case *Subprotocol:
		where = "subprotocol " + e.prefix
	case *Whole:
		where = "request"
	default:
		where = "credential"
	}
	if s.Name == "" {
		return where
	}
	return where + ", " + s.Name
}

// Found is who was found behind which credential.
type Found struct {
	Identity *session.Identity
	// By says where the credential was and who verified it, as in "header Authorization, drf": words of the configuration.
	By string

	source     *Source
	credential Credential
}

// String returns who it is and where the credential was, never what it is.
func (f Found) String() string {
	switch {
	case f.Identity == nil:
		return "nobody"
	case f.By == "":
		return f.Identity.Subject
	}
	return f.Identity.Subject + ", by " + f.By
}

// GoString returns the same as String.
func (f Found) GoString() string { return f.String() }

// LogValue returns the same as String.
func (f Found) LogValue() slog.Value { return slog.StringValue(f.String()) }

// Find returns who is behind the first credential that is present. The error is an [*Error] of kind [ErrAbsent],
// [ErrRejected], [ErrForbidden] (a callback says so) or [ErrUnavailable]; the last also where a verifier breaks its contract, since a fault of ours must neither
// let anyone in nor tell a client that its credential is dead. A verifier that finds that what came is no credential at all
// (a session in which nobody logged in) returns [ErrAbsent]: the next source is tried. Find blocks as long as the verifiers
// do. What is returned borrows from r.
func (c *Chain) Find(ctx context.Context, r *Request) (Found, error) {
	for i := range c.sources {
		s := &c.sources[i]
		cred, err := s.Extractor.Extract(r)
		if errors.Is(KindOf(err), ErrAbsent) {
			continue
		}
		if err != nil {
			return Found{}, decided(err, ReasonMalformed, s.Name)
		}
		cred.Request = r
		id, err := s.Verifier.Verify(ctx, cred)
		switch {
		case errors.Is(KindOf(err), ErrAbsent):
			continue
		case err != nil:
			return Found{}, decided(err, ReasonUnknownToken, s.Name)
		case id == nil:
			return Found{}, &Error{
				Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, By: s.Name,
				Err: errors.New("the verifier returned neither identity nor error"),
			}
		}
		return Found{Identity: id, By: c.by[i], source: s, credential: cred}, nil
	}
	return Found{}, &Error{Kind: ErrAbsent, Reason: ReasonNoCredential}
}

// Present reports whether r has a credential for any of the sources, one that cannot be read too. Nobody is asked about it,
// and it does not block.
func (c *Chain) Present(r *Request) bool {
	for i := range c.sources {
		s := &c.sources[i]
		if _, err := s.Extractor.Extract(r); errors.Is(KindOf(err), ErrAbsent) {
			continue
		}
		if _, whole := s.Extractor.(*Whole); !whole || sees(s.Verifier, r) {
			return true
		}
	}
	return false
}

// sight is a [Verifier] of whole requests that says whether there is anything in r which could be a credential.
type sight interface{ sees(r *Request) bool }

// sees asks v, and reports true where it does not say.
func sees(v Verifier, r *Request) bool {
	s, ok := v.(sight)
	return !ok || s.sees(r)
}

// Authenticate is Find without what only the caller of Keep needs.
func (c *Chain) Authenticate(ctx context.Context, r *Request) (*session.Identity, error) {
	f, err := c.Find(ctx, r)
	return f.Identity, err
}

// decided returns err as it is, but for who refused, when it is a refusal that a credential can meet with; a bare
// [ErrRejected] gets a reason. Anything else is a fault.
func decided(err error, rejected Reason, by string) error {
	if e, ok := errors.AsType[*Error](err); ok && !errors.Is(e.Kind, ErrAbsent) {
		if e.By != "" || by == "" {
			return err
		}
		return &Error{Kind: e.Kind, Reason: e.Reason, Err: e.Err, By: by} // e may be shared: a cache keeps it
	}
	if errors.Is(KindOf(err), ErrRejected) {
		return &Error{Kind: ErrRejected, Reason: rejected, Err: err, By: by}
	}
	return &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: err, By: by}
}

// Challenge returns the value of WWW-Authenticate for a refusal with 401: one challenge for each scheme that the chain
// reads from Authorization (RFC 9110 section 11.6.1), and Bearer where it reads none.
func (c *Chain) Challenge() string { return c.challenge }

// SubprotocolPrefixes returns the prefixes behind which a subprotocol is a credential. An offer that begins with one is
// never selected: the answer would put the token into a response. The slices are read-only.
func (c *Chain) SubprotocolPrefixes() [][]byte { return c.prefixes }
