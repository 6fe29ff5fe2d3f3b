package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/session"
)

// DefaultCallbackTimeout is how long an application has to answer, where the configuration says nothing else.
const DefaultCallbackTimeout = 2 * time.Second

// CallbackConfig is the configuration of a [Callback] or a [CallbackAuthorizer].
type CallbackConfig struct {
	Name string // for metrics, errors and Identity.Source; "" is "callback"
	// URL is what is asked with GET: http or https, without a user. Required.
	URL string
	// Timeout is for one question, retries included. 0 is DefaultCallbackTimeout. More than the gateway gives a handshake
	// would never pass: an application that hangs would look like clients in a hurry, and would not be left alone.
	Timeout time.Duration
	// Forward are the names of header fields of the handshake that go along, as they are.
	Forward []string
	// Secret signs questions, at least 32 bytes, see [Callback]. Empty: they are not signed. It is copied.
	Secret []byte

	Registerer prometheus.Registerer // gets the metrics; nil: nobody
	Now        func() time.Time      // nil is time.Now
}

// Callback is the [Verifier] that asks the application, as auth_request of nginx does: with GET, the handshake's header
// fields that are to be forwarded, and these:
//
//	Fairlead-Path         the handshake's path, as it was sent; never its query
//	Fairlead-Route        the path pattern of the route
//	Fairlead-Credential   the credential, where a header, a cookie, a parameter or a subprotocol holds it
//	X-Forwarded-For       the client's address
//	Fairlead-Timestamp, Fairlead-Signed, Fairlead-Signature    with a secret
//
// The signature is "v1=" and the hexadecimal HMAC-SHA256 of lines with a line feed between: "fairlead-v1", the timestamp
// (Unix seconds), "GET", path and query of the URL, and NAME:VALUE for each name of Fairlead-Signed in its order, with
// nothing for the value of a field that is not there. All fields are signed that stand above or are forwarded.
//
// The application answers
//
//	200 and JSON    who it is: {"subject": "42", "name": "ann", "expires": 1790000000, "groups": ["app_*"], "claims": {…}};
//	                subject is a text or an integer, expires Unix seconds or RFC 3339, all but subject may be left out
//	204             there is no credential: [ErrAbsent]
//	401             the credential is no good: [ErrRejected]. So are 302, 303 and 307, which lead to a page for logging in.
//	                If none of the fields came that are forwarded, and no credential, there was none: [ErrAbsent]
//	403             [ErrForbidden]
//
// Anything else is [ErrUnavailable]: another status, an answer that is no such JSON or over 64 KiB, none in time. Redirects
// are not followed. A question that fails for want of a connection, or with 502, 503 or 504, is asked once more if there is
// time, and if no more than a tenth of the questions were; when half of them fail, nobody is asked for five seconds (a
// circuit breaker).
//
// It may be used by many goroutines. Close it.
type Callback struct {
	asker   *asker
	seconds latency
}

// NewCallback checks the configuration. It asks nothing. An error holds neither the secret nor the URL's query.
func NewCallback(c CallbackConfig) (*Callback, error) {
	name, err := verifierName(c.Name, "callback")
	if err != nil {
		return nil, err
	}
	v := &Callback{}
	if v.asker, err = newAsker(c, "verifier", name); err != nil {
		return nil, fmt.Errorf("authn: verifier %s: %w", name, err)
	}
	v.seconds, err = newAuthSeconds(c.Registerer, name)
	return v, err
}

// Verify implements [Verifier]. It blocks until the application has answered or ctx or the timeout ends.
func (v *Callback) Verify(ctx context.Context, c Credential) (*session.Identity, error) {
	defer v.seconds.since(time.Now())
	return v.verify(ctx, c)
}

func (v *Callback) verify(ctx context.Context, c Credential) (*session.Identity, error) {
	a := v.asker
	h, err := a.header(c.Request)
	came := v.sees(c.Request)
	if err == nil && c.From != "request" {
		came = true
		err = setCredential(h, c.Value)
	}
	if err != nil {
		a.metrics.malformed.Inc()
		return nil, err
	}
	r := a.ask(ctx, h)
	switch {
	case r.err != nil:
		return nil, r.unavailable(a, ReasonVerifierUnavailable)
	case r.status == http.StatusOK:
		id, err := readIdentity(r.body, a.now())
		switch {
		case errors.Is(err, errOver):
			a.metrics.rejected.Inc()
			return nil, reject(ReasonExpired, "the application's answer has expired")
		case err != nil:
			a.metrics.badAnswer.Inc()
			r.err = err
			return nil, r.unavailable(a, ReasonVerifierUnavailable)
		}
		a.metrics.allowed.Inc()
		id.Source = a.name
		return id, nil
	case r.status == http.StatusNoContent:
		a.metrics.absent.Inc()
		return nil, ErrAbsent
	case !came && r.status != http.StatusForbidden: // of 401 and its like
		a.metrics.absent.Inc()
		return nil, ErrAbsent
	case r.status == http.StatusForbidden:
		a.metrics.forbidden.Inc()
		return nil, forbid(ReasonForbidden, "the application answers 403")
	default:
		a.metrics.rejected.Inc()
		return nil, reject(ReasonUnknownToken, fmt.Sprintf("the application answers %d", r.status))
	}
}

// Retain implements [Retainer]: it keeps the fields that go along, the path, the route and the address.
func (v *Callback) Retain(r *Request) (kept *Request, again bool) { return v.asker.retain(r), true }

// parts implements parted.
func (v *Callback) parts() []string {
	return append([]string{"path, route and address"}, v.asker.forward...)
}

// sees implements sight: a request without any field that goes along brings nothing to decide by.
func (v *Callback) sees(r *Request) bool {
	return r != nil && slices.ContainsFunc(r.Header, func(f HeaderField) bool {
		return slices.ContainsFunc(v.asker.forward, func(name string) bool { return equalFold(f.Name, name) })
	})
}

// ErrKnowsEverybody is what [Callback.Check] says of an application that lets everybody in.
var ErrKnowsEverybody = errors.New("the application knows who a client without any credential is: so everybody would be; it should answer 204 or 401")

// Check asks who sends a request with nothing in it, and returns what keeps the application from answering; also when it
// knows such a client ([ErrKnowsEverybody]). It blocks as Verify does.
func (v *Callback) Check(ctx context.Context) error {
	id, err := v.verify(ctx, Credential{From: "request", Request: &Request{Path: []byte("/")}})
	switch {
	case errors.Is(err, ErrUnavailable):
		return fmt.Errorf("%s: %w", v.asker.name, err)
	case err == nil && id != nil:
		return fmt.Errorf("%s: %w", v.asker.name, ErrKnowsEverybody)
	}
	return nil
}

// Close closes the connections to the application. Nothing is asked afterwards.
func (v *Callback) Close() error {
	v.asker.transport.CloseIdleConnections()
	return nil
}

// CallbackAuthorizer is the [Authorizer] that asks the application. It asks as a [Callback] does, and sends these as well,
// which are signed too:
//
//	Fairlead-Subject   who, percent-encoded; not there for an anonymous client
//	Fairlead-Group     the group
//
// 200 and 204 allow, whatever the body; 401, 403, 302, 303 and 307 are [ErrForbidden]; anything else is [ErrUnavailable].
type CallbackAuthorizer struct {
	asker   *asker
	seconds latency
}

// NewCallbackAuthorizer checks the configuration, as NewCallback does.
func NewCallbackAuthorizer(c CallbackConfig) (*CallbackAuthorizer, error) {
	name := orDefault(c.Name, "callback")
	a, err := newAsker(c, "authorizer", name)
	if err != nil {
		return nil, fmt.Errorf("authn: authorizer %s: %w", name, err)
	}
	observe, err := newDecisionSeconds(c.Registerer, name)
	return &CallbackAuthorizer{a, observe}, err
}

// Authorize implements [Authorizer]. It blocks until the application has answered or ctx or the timeout ends. The rule is the
// authorizer's name.
func (z *CallbackAuthorizer) Authorize(ctx context.Context, q *Question) (rule string, err error) {
	a := z.asker
	h, err := a.header(q.Request)
	if err != nil {
		a.metrics.malformed.Inc()
		return "", &Error{Kind: ErrForbidden, Reason: ReasonBadParameter, Err: err, By: a.name}
	}
	setQuestion(h, q)
	start := time.Now()
	r := a.ask(ctx, h)
	z.seconds.since(start)
	switch {
	case r.err != nil:
		return "", r.unavailable(a, ReasonAuthorizerUnavailable)
	case r.status == http.StatusOK, r.status == http.StatusNoContent:
		a.metrics.allowed.Inc()
		return a.name, nil
	}
	a.metrics.forbidden.Inc()
	return "", &Error{
		Kind: ErrForbidden, Reason: ReasonForbidden, By: a.name,
		Err: fmt.Errorf("the application answers %d about group %s", r.status, q.Group),
	}
}

// Retain implements [Retainer].
func (z *CallbackAuthorizer) Retain(r *Request) (kept *Request, again bool) {
	return z.asker.retain(r), true
}

// Check asks whether an anonymous client may join a group that nobody has, and returns what keeps the application from
// answering. It blocks as Authorize does.
func (z *CallbackAuthorizer) Check(ctx context.Context) error {
	group, err := session.ParseGroup("fairlead_check")
	if err != nil {
		return err
	}
	_, err = z.Authorize(ctx, &Question{Identity: session.Anonymous(), Group: group, Request: &Request{Path: []byte("/")}})
	if errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%s: %w", z.asker.name, err)
	}
	return nil
}

// Close closes the connections to the application. Nothing is asked afterwards.
func (z *CallbackAuthorizer) Close() error {
	z.asker.transport.CloseIdleConnections()
	return nil
}
