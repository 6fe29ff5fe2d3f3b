package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
)

// refusal is the answer to a handshake that may not become a connection.
type refusal struct {
	reason    reason
	status    int    // 0: the client is gone, there is no answer
	header    string // further header lines, each with its CR LF
	challenge string // WWW-Authenticate; "": none
	retry     int    // Retry-After in seconds; 0: none
	text      string // the body: one line, without its end
	by        string // the verifier or authorizer that refused; "": none
}

// refusalOf maps err to a refusal. It alone makes one. challenge is what a 401 asks for.
func refusalOf(err error, challenge string) refusal {
	r, text := reasonOf(err)
	a := &answers[r]
	if text == "" {
		text = a.text
	}
	out := refusal{reason: r, status: a.status, header: a.header, text: text}
	if e, ok := errors.AsType[*authn.Error](err); ok {
		out.by = e.By
	}
	if a.status == 401 {
		out.challenge = challenge
	}
	if a.retry > 0 {
		out.retry = a.retry + rand.IntN(a.retry+1) // or all come again at once
	}
	return out
}

// reasonOf finds the reason in err, and the text for the client where the reason has more than one.
// What it does not know is a fault of ours.
func reasonOf(err error) (r reason, text string) {
	if e, ok := errors.AsType[*reasonError](err); ok {
		return e.reason, e.text
	}
	if e, ok := errors.AsType[*authn.Error](err); ok {
		kind := reasonOfKind(authn.KindOf(err))
		if r, ok := byName[string(e.Reason)]; ok && answers[r].status == answers[kind].status {
			return r, ""
		}
		return kind, "" // a verifier of someone else's with a reason of its own
	}
	switch {
	case errors.Is(err, actor.ErrAddressFull):
		return reasonAddressFull, ""
	case errors.Is(err, actor.ErrUserFull):
		return reasonUserFull, ""
	case errors.Is(err, actor.ErrFull):
		return reasonFull, ""
	case errors.Is(err, actor.ErrDraining):
		return reasonDraining, ""
	case errors.Is(err, actor.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return reasonUnavailable, ""
	}
	if _, ok := errors.AsType[*panicError](err); ok {
		return reasonPanic, ""
	}
	if _, ok := errors.AsType[*tlsError](err); ok {
		return reasonTLS, ""
	}
	return reasonInternal, ""
}

// reasonOfKind is the reason of an [authn.Error] whose own reason is not one of package authn's; kind is that of KindOf.
func reasonOfKind(kind error) reason {
	switch {
	case errors.Is(kind, authn.ErrAbsent):
		return reasonNoCredential
	case errors.Is(kind, authn.ErrRejected):
		return reasonUnknownToken
	case errors.Is(kind, authn.ErrForbidden):
		return reasonForbidden
	case errors.Is(kind, authn.ErrUnavailable):
		return reasonVerifierUnavailable
	}
	return reasonInternal
}

// append writes the whole response behind dst. It always ends the connection, since nothing can follow on it.
func (r *refusal) append(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.status), 10)
	dst = append(dst, ' ')
	dst = append(dst, phrase(r.status)...)
	if r.status == 426 { // RFC 9110 section 7.8: who sends Upgrade names it in Connection
		dst = append(dst, "\r\nConnection: close, Upgrade\r\n"...)
	} else {
		dst = append(dst, "\r\nConnection: close\r\n"...)
	}
	dst = append(dst, r.header...)
	if r.challenge != "" {
		dst = append(dst, "WWW-Authenticate: "...)
		dst = append(dst, r.challenge...)
		dst = append(dst, "\r\n"...)
	}
	if r.retry > 0 {
		dst = append(dst, "Retry-After: "...)
		dst = strconv.AppendInt(dst, int64(r.retry), 10)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(r.text)+1), 10)
	dst = append(dst, "\r\n\r\n"...)
	dst = append(dst, r.text...)
	return append(dst, '\n')
}

// phrase returns the reason phrase of a status that answers have (RFC 9110 section 15, RFC 6585 section 5).
func phrase(status int) string {
	switch status {
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 426:
		return "Upgrade Required"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 503:
		return "Service Unavailable"
	case 505:
		return "HTTP Version Not Supported"
	default:
		return "Internal Server Error"
	}
}

// panicError is a panic in code that the gateway called. What was panicked with may hold a credential: only the type of the
// value is kept, and the text where the Go runtime itself wrote it. The stack has addresses, no contents.
type panicError struct {
	what  string
	stack []byte
}

func newPanicError(value any, stack []byte) *panicError {
	if e, ok := value.(runtime.Error); ok {
		return &panicError{what: e.Error(), stack: stack}
	}
	return &panicError{what: fmt.Sprintf("a value of type %T", value), stack: stack}
}

// Error returns what is known of the panic, without the stack.
func (e *panicError) Error() string { return "panic: " + e.what }
