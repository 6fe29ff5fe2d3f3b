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
	From  string // "header", "cookie", "query" or "subprotocol"
	Value []byte // borrowed from the request, or a decoded copy; only valid during the handshake
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
// error is an [*Error] of kind [ErrRejected] or [ErrUnavailable]; the identity keeps nothing of the credential.
type Verifier interface {
	Verify(context.Context, Credential) (*session.Identity, error)
}

// Source is one place to look at, and who verifies what is found there.
type Source struct {
	Extractor Extractor
	Verifier  Verifier
}

// Chain tries sources in order; the first whose credential is present decides. It is fixed after NewChain and may be used
// by many goroutines. It does not own its verifiers: who made them closes them.
type Chain struct {
	sources   []Source
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

// Authenticate returns the identity behind the first credential that is present. The error is an [*Error] of kind
// [ErrAbsent], [ErrRejected] or [ErrUnavailable]; the last also where a verifier breaks its contract, since a fault of ours
// must neither let anyone in nor tell a client that its credential is dead. It blocks as long as the verifier does.
func (c *Chain) Authenticate(ctx context.Context, r *Request) (*session.Identity, error) {
	for i := range c.sources {
		cred, err := c.sources[i].Extractor.Extract(r)
		if errors.Is(err, ErrAbsent) {
			continue
		}
		if err != nil {
			return nil, decided(err, ReasonMalformed)
		}
		id, err := c.sources[i].Verifier.Verify(ctx, cred)
		if err != nil {
			return nil, decided(err, ReasonUnknownToken)
		}
		if id == nil {
			return nil, &Error{ErrUnavailable, ReasonVerifierUnavailable, errors.New("the verifier returned neither identity nor error")}
		}
		return id, nil
	}
	return nil, &Error{ErrAbsent, ReasonNoCredential, nil}
}

// decided returns err as it is when it is a refusal that a credential can meet with; a bare [ErrRejected] gets a reason.
// Anything else is a fault, and so is an absence that only the verifier noticed.
func decided(err error, rejected Reason) error {
	if e, ok := errors.AsType[*Error](err); ok && (errors.Is(e.Kind, ErrRejected) || errors.Is(e.Kind, ErrUnavailable)) {
		return err
	}
	if errors.Is(err, ErrRejected) {
		return &Error{ErrRejected, rejected, err}
	}
	return &Error{ErrUnavailable, ReasonVerifierUnavailable, err}
}

// Challenge returns the value of WWW-Authenticate for a refusal with 401: one challenge for each scheme that the chain
// reads from Authorization (RFC 9110 section 11.6.1), and Bearer where it reads none.
func (c *Chain) Challenge() string { return c.challenge }

// SubprotocolPrefixes returns the prefixes behind which a subprotocol is a credential. An offer that begins with one is
// never selected: the answer would put the token into a response. The slices are read-only.
func (c *Chain) SubprotocolPrefixes() [][]byte { return c.prefixes }
