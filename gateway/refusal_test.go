package gateway

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
)

func TestRefusalOf(t *testing.T) {
	own := func(kind error) error { return &authn.Error{Kind: kind, Reason: "of_someone_else"} }
	for _, c := range []struct {
		err    error
		status int
		reason string
	}{
		{errGone, 0, "client_gone"},
		{newTLSError(errors.New("remote error: tls: unknown certificate")), 0, "tls"},
		{errPlainHTTP, 400, "plain_http"},
		{errHeadTimeout, 408, "timeout"},
		{errHeadTooLarge, 431, "head_too_large"},
		{errTooManyFields, 431, "head_too_large"},
		{errHTTPVersion, 505, "http_version"},
		{errMethod, 405, "method"},
		{errRequestLine, 400, "request_line"},
		{errFolded, 400, "header"},
		{errTwice, 400, "duplicate_header"},
		{errHost, 400, "host"},
		{errBody, 400, "body"},
		{errNotUpgrade, 426, "not_upgrade"},
		{errWebSocketVersion, 426, "websocket_version"},
		{errKey, 400, "key"},
		{errPathByte, 400, "path"},
		{errGroup, 400, "group"},
		{errNoRoute, 404, "no_route"},
		{errDraining, 503, "draining"},
		{fmt.Errorf("wrapped: %w", errNoRoute), 404, "no_route"},

		{&authn.Error{Kind: authn.ErrAbsent, Reason: authn.ReasonNoCredential}, 401, "no_credential"},
		{&authn.Error{Kind: authn.ErrRejected, Reason: authn.ReasonExpired, Err: errors.New("x")}, 401, "expired"},
		{&authn.Error{Kind: authn.ErrForbidden, Reason: authn.ReasonOrigin}, 403, "origin"},
		{&authn.Error{Kind: authn.ErrForbidden, Reason: authn.ReasonBadParameter}, 403, "bad_parameter"},
		{&authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonAuthorizerUnavailable}, 503, "authorizer_unavailable"},
		{fmt.Errorf("wrapped: %w", &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable}), 503, "verifier_unavailable"},
		{own(authn.ErrAbsent), 401, "no_credential"},
		{own(authn.ErrRejected), 401, "unknown_token"},
		{own(authn.ErrForbidden), 403, "forbidden"},
		{own(authn.ErrUnavailable), 503, "verifier_unavailable"},
		{own(errors.New("none of the four")), 500, "internal"},
		// The kind is what counts: a reason that says otherwise must not turn an outage into a no.
		{&authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonUnknownToken}, 503, "verifier_unavailable"},
		{&authn.Error{Kind: authn.ErrRejected, Reason: "full"}, 401, "unknown_token"},

		{actor.ErrFull, 503, "full"},
		{actor.ErrDraining, 503, "draining"},
		{actor.ErrUnavailable, 503, "unavailable"},
		{context.DeadlineExceeded, 503, "unavailable"},
		{context.Canceled, 503, "unavailable"},
		{errors.New("secret"), 500, "internal"},
		{newPanicError("secret", nil), 500, "panic"},
	} {
		r := refusalOf(c.err, `Token realm="fairlead"`)
		if r.status != c.status || r.reason.String() != c.reason {
			t.Errorf("%v: %d %s, want %d %s", c.err, r.status, r.reason, c.status, c.reason)
		}
		if (r.challenge != "") != (c.status == 401) || (r.retry > 0) != (c.status == 503) {
			t.Errorf("%v: challenge %q, retry %d", c.err, r.challenge, r.retry)
		}
		if strings.Contains(r.text, "secret") {
			t.Errorf("%v: the text repeats it: %q", c.err, r.text)
		}
	}
}

// Every reason of package authn has its own answer here, with the status of its kind.
func TestReasonsOfAuthn(t *testing.T) {
	for _, r := range authn.Reasons() {
		own, ok := byName[string(r)]
		if !ok || own < reasonNoCredential {
			t.Errorf("%s has no answer", r)
		}
	}
	if want := int(numReasons - reasonNoCredential); len(authn.Reasons()) != want {
		t.Errorf("there are %d reasons, answers for %d", len(authn.Reasons()), want)
	}
}

var reasonName = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// A reason's name is API, and so is that what has an answer has all of it.
func TestAnswers(t *testing.T) {
	if len(byName) != int(numReasons) {
		t.Errorf("%d names for %d reasons", len(byName), numReasons)
	}
	own := map[reason]bool{} // whose errors have a text of their own
	for _, c := range headCases() {
		if c.want != nil && c.want.text != "" {
			own[c.want.reason] = true
		}
	}
	for r := range numReasons {
		a := answers[r]
		if !reasonName.MatchString(a.name) {
			t.Errorf("reason %d is called %q", r, a.name)
		}
		if a.status >= 400 && a.text == "" && !own[r] && r != reasonPath {
			t.Errorf("%s has nothing to say", r)
		}
		if (a.retry > 0) != (a.status == 503 || a.status == 429) {
			t.Errorf("%s is %d and has a retry of %d", r, a.status, a.retry)
		}
		if a.status >= 400 && phrase(a.status) == phrase(500) && a.status != 500 {
			t.Errorf("status %d has no phrase", a.status)
		}
	}
}

func TestRefusalAppend(t *testing.T) {
	for _, c := range []struct {
		r    refusal
		want string
	}{
		{
			refusalOf(errNoRoute, `Token realm="fairlead"`),
			"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 69\r\n\r\n" +
				"no route has this path: see the routes in the server's configuration\n",
		},
		{
			refusalOf(errWebSocketVersion, ""),
			"HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
				"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 65\r\n\r\n" +
				"the WebSocket version must be 13: send Sec-WebSocket-Version: 13\n",
		},
		{
			refusal{status: 401, challenge: `Token realm="fairlead"`, text: "x"},
			"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nWWW-Authenticate: Token realm=\"fairlead\"\r\n" +
				"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nx\n",
		},
		{
			refusal{status: 503, retry: 7, text: "x"},
			"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 7\r\n" +
				"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nx\n",
		},
	} {
		if got := string(c.r.append([]byte("before"))); got != "before"+c.want {
			t.Errorf("got\n%q\nwant\n%q", got, c.want)
		}
	}
}

// Clients that are sent away together must not be asked to come again together.
func TestRefusalRetryIsSpread(t *testing.T) {
	seen := map[int]bool{}
	for range 1000 {
		r := refusalOf(actor.ErrFull, "")
		if base := answers[reasonFull].retry; r.retry < base || r.retry > 2*base {
			t.Fatalf("retry after %d s, want %d to %d", r.retry, base, 2*base)
		}
		seen[r.retry] = true
	}
	if len(seen) < 3 {
		t.Errorf("all come again after one of %v s", seen)
	}
}

func BenchmarkRefusal(b *testing.B) {
	err := &authn.Error{Kind: authn.ErrRejected, Reason: authn.ReasonUnknownToken}
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		r := refusalOf(err, `Token realm="fairlead"`)
		buf = r.append(buf[:0])
	}
}
