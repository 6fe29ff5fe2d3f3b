package authn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// MaxCallbackConns is how many connections to its application a callback has at most. Questions that have none wait for one.
const MaxCallbackConns = 128

const (
	// maxCallbackBody is how much of an answer is read.
	maxCallbackBody = 64 << 10
	// maxCallbackHeader is how many bytes of header fields an answer may have.
	maxCallbackHeader = 64 << 10
	// callbackIdleTime is how long a connection waits for the next question.
	callbackIdleTime = 90 * time.Second

	// A window of breakerWindow with breakerMin questions of which half failed opens the breaker, or so many in a row.
	breakerWindow, breakerBucket = 10 * time.Second, time.Second
	breakerMin, breakerRow       = 20, 10
	breakerOpen                  = 5 * time.Second
	breakerProbes                = 3 // that must succeed before it closes

	// A question earns retryEarns, a retry costs retryCosts, and no more than retryMax is saved.
	retryEarns, retryCosts, retryMax = 1, 10, 100
	// retryPause is how long a retry waits at least; up to twice that.
	retryPause = 10 * time.Millisecond
)

// asker asks one URL of an application.
type asker struct {
	// Fixed after newAsker.
	kind, name string
	target     *url.URL
	timeout    time.Duration
	forward    []string // canonical names
	secret     []byte   // nil: questions are not signed
	signed     string   // the names that are signed, as the header has them
	signedList []string // the same, canonical
	transport  *http.Transport
	breaker    *gobreaker.CircuitBreaker[callbackReply]
	metrics    callbackMetrics
	now        func() time.Time

	// Atomic.
	credit atomic.Int64 // what retries are paid with
	asked  atomic.Bool
}

func newAsker(c CallbackConfig, kind, name string) (*asker, error) {
	a := &asker{kind: kind, name: name, timeout: c.Timeout, now: c.Now}
	if a.now == nil {
		a.now = time.Now
	}
	switch {
	case c.Timeout == 0:
		a.timeout = DefaultCallbackTimeout
	case c.Timeout < 0:
		return nil, fmt.Errorf("the timeout is %v; want more than 0", c.Timeout)
	}
	var err error
	if a.target, err = callbackURL(c.URL); err != nil {
		return nil, err
	}
	if err := a.setFields(c.Forward, c.Secret); err != nil {
		return nil, err
	}
	if a.metrics, err = newCallbackMetrics(c.Registerer, kind, name); err != nil {
		return nil, err
	}
	a.credit.Store(retryCosts)
	a.transport = &http.Transport{ // no proxy: what the environment says is not looked at here
		DialContext:            (&net.Dialer{Timeout: a.timeout}).DialContext,
		TLSHandshakeTimeout:    a.timeout,
		MaxConnsPerHost:        MaxCallbackConns,
		MaxIdleConnsPerHost:    MaxCallbackConns,
		IdleConnTimeout:        callbackIdleTime,
		MaxResponseHeaderBytes: maxCallbackHeader,
		DisableCompression:     true, // so that an answer is no longer than it looks
	}
	a.breaker = gobreaker.NewCircuitBreaker[callbackReply](gobreaker.Settings{
		MaxRequests: breakerProbes, Interval: breakerWindow, BucketPeriod: breakerBucket, Timeout: breakerOpen,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return n.ConsecutiveFailures >= breakerRow || n.Requests >= breakerMin && n.TotalFailures >= n.Requests/2
		},
		OnStateChange: func(_ string, _, to gobreaker.State) { a.metrics.state.Set(float64(to)) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errAbandoned) || errors.Is(err, errHurried) },
	})
	return a, nil
}

// callbackURL checks a URL. The error does not quote it: there may be a secret in it.
func callbackURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Hostname() == "":
		return nil, errors.New("the URL is missing or none; want one such as https://app.example.com/fairlead/")
	case u.User != nil:
		return nil, errors.New("the URL has a user: sign the questions with a secret instead")
	case u.Fragment != "" || u.RawFragment != "":
		return nil, errors.New("the URL has a fragment (#), which no server sees")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// The ways in which a question has no answer that counts.
var (
	errBreaker   = errors.New("it failed again and again, so it is not asked for some seconds")
	errAbandoned = errors.New("the client left before it answered")
	errHurried   = errors.New("the handshake had no time left for its answer")
	errTimeout   = errors.New("it did not answer in time")
	errNoHTTP    = errors.New("it broke off, or what it answers is no TLS or no HTTP")
	errTooLong   = fmt.Errorf("the answer is over %d bytes", maxCallbackBody)

	errHeaderTooLong = fmt.Errorf("the header of its answer is over %d bytes", maxCallbackHeader)
)

// callbackReply is what came of a question: a status of which the caller knows what it means, or an error.
type callbackReply struct {
	status int
	body   []byte // of 200
	err    error
}

// unavailable returns what a question without an answer means.
func (r *callbackReply) unavailable(a *asker, reason Reason) error {
	return &Error{Kind: ErrUnavailable, Reason: reason, By: a.name, Err: fmt.Errorf("the application at %s: %w", a.target.Host, r.err)}
}

// ask signs the question and asks the application. Unless the reply has an error, its status is 200, 204, 302, 303, 307, 401 or 403.
func (a *asker) ask(ctx context.Context, h http.Header) callbackReply {
	if c := a.credit.Load(); c < retryMax {
		a.credit.CompareAndSwap(c, min(retryMax, c+retryEarns)) // one that is lost in a race is no loss
	}
	if !a.asked.Load() && a.asked.CompareAndSwap(false, true) {
		a.metrics.state.Set(0) // the one before, of whom a reload has made this, may have left another
	}
	a.sign(h)
	reply, err := a.breaker.Execute(func() (callbackReply, error) { return a.try(ctx, h) })
	switch {
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
		a.metrics.breaker.Inc()
		return callbackReply{err: errBreaker}
	case err != nil:
		return callbackReply{err: err}
	}
	return reply
}

// try asks once, and once more where that makes sense. Its error means that the application is in trouble; an answer that
// is wrong in itself is an error of the reply.
func (a *asker) try(parent context.Context, h http.Header) (callbackReply, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(parent, a.timeout)
	defer cancel()
	r, err := a.once(ctx, h)
	if err != nil && ctx.Err() == nil && retryable(r) && a.pay() {
		pause := time.NewTimer(retryPause + rand.N(retryPause))
		defer pause.Stop()
		select {
		case <-ctx.Done(): // the first error is the one to tell
		case <-pause.C:
			a.metrics.retries.Inc()
			r, err = a.once(ctx, h)
		}
	}
	switch {
	case err == nil:
	case errors.Is(parent.Err(), context.Canceled):
		a.metrics.abandoned.Inc()
		err = errAbandoned
	case parent.Err() != nil && time.Since(start) < a.timeout/2:
		a.metrics.abandoned.Inc()
		err = errHurried // a client that is slow to ask must not make the application look slow
	case ctx.Err() != nil:
		a.metrics.timeout.Inc()
		err = errTimeout
	case r.status != 0:
		a.metrics.badStatus.Inc()
	default:
		a.metrics.unreachable.Inc()
	}
	return r, err
}

// retryable reports whether a question that failed so may be asked again at once.
func retryable(r callbackReply) bool {
	switch r.status {
	case 0, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// pay takes the price of a retry, if there is so much.
func (a *asker) pay() bool {
	for c := a.credit.Load(); c >= retryCosts; c = a.credit.Load() {
		if a.credit.CompareAndSwap(c, c-retryCosts) {
			return true
		}
	}
	return false
}

// once asks once.
func (a *asker) once(ctx context.Context, h http.Header) (r callbackReply, err error) {
	request := (&http.Request{
		Method: http.MethodGet, URL: a.target, Host: a.target.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	response, err := a.transport.RoundTrip(request) // which follows no redirect and keeps no cookie
	if err != nil {
		return r, told(err)
	}
	defer response.Body.Close()
	var body []byte
	if response.StatusCode != http.StatusSwitchingProtocols { // behind which is the connection itself, whose reading ctx does not end
		if body, err = io.ReadAll(io.LimitReader(response.Body, maxCallbackBody+1)); err != nil {
			return r, told(err)
		}
	}
	r.status = response.StatusCode
	switch r.status {
	case http.StatusOK:
		if r.body = body; len(body) > maxCallbackBody {
			a.metrics.badAnswer.Inc()
			r.err = errTooLong
		}
	case http.StatusNoContent, http.StatusUnauthorized, http.StatusForbidden, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect:
	case http.StatusMovedPermanently, http.StatusPermanentRedirect:
		a.metrics.badStatus.Inc()
		r.err = fmt.Errorf("it answers %d: the URL is another one; look at its scheme and at the slash at its end", r.status)
	default:
		err = fmt.Errorf("it answers %d; want 200, 204, 401 or 403", r.status)
		if !retryable(r) && r.status != http.StatusTooManyRequests {
			// It is well, and does not know the question, or cannot answer this one (500): a client that finds such a question
			// must not keep the others from theirs.
			a.metrics.badStatus.Inc()
			r.err, err = err, nil
		}
	}
	return r, err
}

// told returns what of an error of net/http may be told. An application may send back what it was asked, and net/http quotes
// what it cannot read, so only what stands below HTTP speaks for itself.
func told(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok { // of TLS too: "remote error"
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return e
	}
	for _, plain := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, plain) {
			return plain
		}
	}
	if strings.Contains(err.Error(), "response headers exceeded") {
		return errHeaderTooLong
	}
	return errNoHTTP
}
