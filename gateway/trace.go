package gateway

import (
	"context"
	"log/slog"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// Tracer is told of handshakes, for distributed tracing: "handshake", and in it "authenticate" and "authorize". Handshakes'
// goroutines call it, many at once, and it must not block.
type Tracer interface {
	// Begin begins a span inside that of ctx. It returns a context with the span, for what happens inside of it, and what
	// ends it: with whether a fault on this side is to blame, and with what is known by then. That is never a token, a
	// query, an address or who the client is. A span that is not ended is none: nothing came of the connection.
	Begin(ctx context.Context, name string, start time.Time) (context.Context, func(failed bool, attrs ...slog.Attr))
}

// beginTrace begins the handshake's span, if somebody wants to know.
func (h *handshake) beginTrace(ctx context.Context) context.Context {
	if t := h.gateway.tracer; t != nil {
		ctx, h.endTrace = t.Begin(ctx, "handshake", h.start)
	}
	return ctx
}

// trace ends the handshake's span, where its request had come.
func (h *handshake) trace(why reason, status int) {
	if h.endTrace == nil || h.head.end == 0 {
		return
	}
	h.endTrace(why.fault(), slog.Int("http.response.status_code", status), slog.String("http.route", h.match.path()),
		slog.String("fairlead.reason", why.String()))
}

// authenticate asks the route's chain who the client is.
func (h *handshake) authenticate(ctx context.Context) (authn.Found, error) {
	t := h.gateway.tracer
	if t == nil {
		return h.match.route.Chain.Find(ctx, &h.request)
	}
	ctx, end := t.Begin(ctx, "authenticate", time.Now())
	found, err := h.match.route.Chain.Find(ctx, &h.request)
	why, source := outcome(err), ""
	if err == nil {
		source = found.Identity.Source
	}
	end(why.fault(), slog.String("fairlead.reason", why.String()), slog.String("fairlead.source", source))
	return found, err
}

// permit asks the route's authorizer whether id may join g, and by which rule.
func (h *handshake) permit(ctx context.Context, id *session.Identity, g session.Group) (rule string, err error) {
	route, t := h.match.route, h.gateway.tracer
	q := &authn.Question{Identity: id, Group: g, Params: h.match.paramsFor(g), Request: &h.request}
	if t == nil {
		return route.Authorizer.Authorize(ctx, q)
	}
	ctx, end := t.Begin(ctx, "authorize", time.Now())
	rule, err = route.Authorizer.Authorize(ctx, q)
	why := reasonOK
	if err != nil {
		why = outcome(undecided(err))
	}
	end(why.fault(), slog.String("fairlead.reason", why.String()))
	return rule, err
}

// outcome is what a handshake would be refused for, if err were its last word.
func outcome(err error) reason {
	if err == nil {
		return reasonOK
	}
	return refusalOf(err, "").reason
}
