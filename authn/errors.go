package authn

import (
	"errors"
	"slices"
)

// The four kinds of refusal. Every error of a [Chain], an [OriginPolicy] and an [Authorizer] is one of them, by [KindOf].
var (
	// ErrAbsent means that there was no credential: the next source is tried, or the client may be anonymous.
	ErrAbsent = errors.New("no credential")
	// ErrRejected means that a credential came and is no good. It is final: no other source is tried.
	ErrRejected = errors.New("credential rejected")
	// ErrForbidden means that the client is known, or need not be, and may not do this.
	ErrForbidden = errors.New("forbidden")
	// ErrUnavailable means that nobody could say: a database did not answer. The client should come again.
	ErrUnavailable = errors.New("unavailable")
)

// Reason says why in one word of a closed set, so that it can be a metric's label and the body of a refusal.
type Reason string

// The reasons. A reason's name never changes its meaning.
const (
	ReasonNoCredential          Reason = "no_credential"          // nothing came where the route looks
	ReasonMalformed             Reason = "malformed"              // it cannot be read as a credential of its kind
	ReasonUnknownToken          Reason = "unknown_token"          // the database has no such token
	ReasonInactiveUser          Reason = "inactive_user"          // the user was deactivated
	ReasonUnknownUser           Reason = "unknown_user"           // the credential names a user that does not exist
	ReasonExpired               Reason = "expired"                // it was good once
	ReasonUsed                  Reason = "used"                   // it was good once, for one connection
	ReasonNotYetValid           Reason = "not_yet_valid"          // it is of the future
	ReasonBadSignature          Reason = "bad_signature"          // not signed by our key, or changed since
	ReasonBadAlgorithm          Reason = "bad_algorithm"          // signed in a way that is not configured
	ReasonBadClaims             Reason = "bad_claims"             // genuine, but not for us, or without what we need
	ReasonVerifierUnavailable   Reason = "verifier_unavailable"   // who it is could not be found out
	ReasonOrigin                Reason = "origin"                 // the page that asks is not a friend
	ReasonForbidden             Reason = "forbidden"              // no permission for the group
	ReasonBadParameter          Reason = "bad_parameter"          // a value of the request cannot be bound to the query
	ReasonAuthorizerUnavailable Reason = "authorizer_unavailable" // whether it may could not be found out
)

var reasons = [...]Reason{
	ReasonNoCredential, ReasonMalformed, ReasonUnknownToken, ReasonInactiveUser, ReasonUnknownUser, ReasonExpired,
	ReasonUsed, ReasonNotYetValid, ReasonBadSignature, ReasonBadAlgorithm, ReasonBadClaims, ReasonVerifierUnavailable, ReasonOrigin,
	ReasonForbidden, ReasonBadParameter, ReasonAuthorizerUnavailable,
}

// Reasons returns every reason, for metrics whose children are made at construction. The slice is the caller's.
func Reasons() []Reason { return slices.Clone(reasons[:]) }

// Error is a refusal: its kind, its reason, and the cause for the log. errors.Is and errors.As see Kind and Err both: whoever
// decides by the kind takes it from [KindOf].
// Neither the text nor the cause ever holds the credential.
type Error struct {
	Kind   error // ErrAbsent, ErrRejected, ErrForbidden or ErrUnavailable
	Reason Reason
	Err    error // the cause; nil where the reason says it all
	// By is the name of the verifier or authorizer that refused, from the configuration; "" where none did.
	By string
}

// Error returns the kind, the reason and the cause in one line.
func (e *Error) Error() string {
	s := e.Kind.Error() + " (" + string(e.Reason) + ")"
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf returns which of the four kinds err is, nil where it is none: that is a fault. The outermost [*Error] decides. Its
// cause may be a refusal, too, of another kind: that a service which was asked on the way rejected us, or knew nobody, says
// nothing about the client, and must make nobody anonymous of a client that nobody could say anything about. Without an
// [*Error] unavailable goes before all others, for the same reason.
func KindOf(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		err = e.Kind
	}
	for _, kind := range [...]error{ErrUnavailable, ErrRejected, ErrForbidden, ErrAbsent} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

func reject(r Reason, cause string) error {
	return &Error{Kind: ErrRejected, Reason: r, Err: errors.New(cause)}
}

func forbid(r Reason, cause string) error {
	return &Error{Kind: ErrForbidden, Reason: r, Err: errors.New(cause)}
}
