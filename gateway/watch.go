package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// watch is what is kept of a connection to look at it again: its credential, and what else the answer depends on. It ends
// with the connection.
type watch struct {
	// Fixed before the first check.
	actor    *actor.Actor
	identity *session.Identity // as at the opening
	route    string            // the path pattern
	path     []byte            // as on the request line
	groups   []session.Group   // that were joined at the opening
	request  *authn.Request    // what the authorizer kept of the handshake
	heard    uint64            // news.count before anybody was asked who it is
	permit   bool              // the authorizer is asked, too

	// Owned by the check that goes on; there is one at most.
	moved   bool          // table is not that of the opening
	table   *table        // by whose routes kept is
	every   time.Duration // the route's Recheck
	expires time.Time     // when the credential ends, as the actor was told

	// Guarded by rechecks.mu. Only the check sets kept, until the watch is removed.
	kept   *authn.Kept   // nil: the credential cannot be verified again, or there is none
	due    time.Duration // by rechecks.now
	index  int           // in the queue; -1: not in it
	place  int           // in rechecks.all; -1: not in it
	urgent bool          // asked for at once
	fresh  bool          // it was asked for at once, and nobody has answered since: what a cache has may be from before
	soon   time.Duration // when it is to be looked at, however late it is due, by rechecks.now; 0: nobody asked for that
}

// watched is the Handler of a connection that is looked at again: the route's, and beside it the watch begins and ends. A
// connection without costs nothing.
type watched struct {
	actor.Handler
	rechecks *rechecks
	watch    *watch
}

// Open implements [actor.Handler].
func (h *watched) Open(a *actor.Actor) {
	fine := false
	defer func() { h.after(fine) }()
	h.watch.actor = a
	h.rechecks.add(h.watch)
	h.Handler.Open(a)
	fine = true
}

// Message implements [actor.Handler].
func (h *watched) Message(a *actor.Actor, m actor.Message) {
	fine := false
	defer func() { h.after(fine) }()
	h.Handler.Message(a, m)
	fine = true
}

// after ends the watch where the route's Handler has panicked: then nobody calls Close.
func (h *watched) after(fine bool) {
	if !fine {
		h.rechecks.remove(h.watch)
	}
}

// Close implements [actor.Handler].
func (h *watched) Close(a *actor.Actor, c actor.Closure) {
	h.rechecks.remove(h.watch)
	h.Handler.Close(a, c)
}

// watch returns the Handler of a connection of the route, which is looked at again if the route says so and there is
// anything to ask: not where the client is nobody, or its credential is used up, and any identity may join. heard is how much
// news there had been before found was looked for.
func (h *handshake) watch(t *table, found authn.Found, groups []session.Group, heard uint64) actor.Handler {
	route := h.match.route
	if route.Recheck == 0 {
		return route.Handler
	}
	w := &watch{
		identity: found.Identity, route: route.Path, groups: groups, permit: true, heard: heard,
		table: t, every: route.Recheck, expires: found.Identity.Expires, index: -1, place: -1,
	}
	if route.Chain != nil {
		w.kept = route.Chain.Keep(found, &h.request)
	}
	if a, ok := route.Authorizer.(authn.Retainer); ok {
		w.request, w.permit = a.Retain(&h.request)
	}
	if w.kept == nil && (route.Authorizer == nil || !w.permit) {
		return route.Handler
	}
	w.path = bytes.Clone(h.request.Path)
	return &watched{Handler: route.Handler, rechecks: h.gateway.rechecks, watch: w}
}

// recheckResult is what comes of looking at a connection again: a metric's label, and the end of the connection for some.
type recheckResult uint8

const (
	recheckOK          recheckResult = iota // all is as it was
	recheckRefreshed                        // the credential ends at another time
	recheckUnavailable                      // nobody could say: the connection stays
	recheckRejected                         // the credential is no good any more
	recheckOther                            // it is somebody else's
	recheckForbidden                        // the permission is gone
	recheckMoved                            // the route, or the verifier, is gone from the configuration

	numRecheckResults
	recheckOff // the route does not look again any more; not counted
)

// recheckNames are the metric's labels.
var recheckNames = [numRecheckResults]string{"ok", "refreshed", "unavailable", "rejected", "other_user", "forbidden", "moved"}

// recheckEnds are the closes of those results that end a connection. The client is not told more than at a handshake.
var recheckEnds = map[recheckResult]actor.Closure{
	recheckRejected:  {Code: actor.CloseUnauthenticated, Reason: "the credential is not accepted any more: get a new one"},
	recheckOther:     {Code: actor.CloseUnauthenticated, Reason: "the credential is not accepted any more: get a new one"},
	recheckForbidden: {Code: actor.CloseForbidden, Reason: "this identity may not be in the group any more"},
	recheckMoved:     {Code: actor.CloseServiceRestart, Reason: "the server's routes have changed: connect again"},
}

// check looks at w's connection again, once, and says when it is looked at next, if it is.
func (r *rechecks) check(w *watch) {
	kept, maxAge, ok := r.begin(w)
	if !ok {
		return
	}
	if w.actor.Ended() { // a function that its Handler left with it has panicked, and Close was not called
		r.remove(w)
		return
	}
	d := &deadline{parent: r.ctx, at: time.Now().Add(r.gateway.timeout)}
	defer d.end()
	id, result, err := r.ask(authn.WithMaxAge(d, maxAge), w, kept)
	if r.ctx.Err() != nil { // we have interrupted it
		return
	}
	next := time.Duration(float64(w.every) * (0.7 + 0.1*rand.Float64())) //nolint:gosec // not a secret
	switch {
	case result == recheckOff:
		r.remove(w)
		return
	case result == recheckOK && !id.Expires.Equal(w.expires) && w.actor.Extend(id.Expires):
		w.expires = id.Expires
		result = recheckRefreshed
	case result == recheckUnavailable:
		next = min(w.every/5, maxRecheckRetry)
	}
	r.gateway.metrics.rechecks[result].Inc()
	if result > recheckRefreshed {
		r.log(w, result, err)
	}
	if end, ok := recheckEnds[result]; ok {
		w.actor.Close(end.Code, end.Reason)
		r.remove(w)
		return
	}
	r.again(w, next, result != recheckUnavailable)
}

// ask finds out, by the routes in force, what a handshake with kept would come to now. The identity is that of the
// credential now.
func (r *rechecks) ask(ctx context.Context, w *watch, kept *authn.Kept) (id *session.Identity, result recheckResult, err error) {
	defer func() {
		if v := recover(); v != nil {
			id, result, err = nil, recheckUnavailable, newPanicError(v, debug.Stack())
		}
	}()
	t := r.gateway.acquire()
	defer t.release()
	m := r.matches.Get().(*match)
	defer func() {
		m.reset()
		r.matches.Put(m)
	}()
	if t.find(w.path, m) != nil || m.route.Path != w.route {
		return nil, recheckMoved, nil
	}
	route := m.route
	if route.Recheck == 0 {
		return nil, recheckOff, nil
	}
	if w.table != t {
		own, ok := adopt(route, kept)
		if !ok {
			return nil, recheckMoved, nil
		}
		r.adopt(w, t, own)
		kept = own
		w.moved = true
		w.every = route.Recheck
	}
	return w.decide(ctx, m, kept)
}

// adopt returns kept as one of the route's own, and reports false where it has none such any more.
func adopt(route *route, kept *authn.Kept) (_ *authn.Kept, ok bool) {
	switch {
	case kept == nil:
		return nil, true
	case route.Chain == nil:
		return nil, false
	}
	kept = route.Chain.Adopt(kept)
	return kept, kept != nil
}

// decide asks the verifier and the authorizer of m's route.
func (w *watch) decide(ctx context.Context, m *match, kept *authn.Kept) (id *session.Identity, result recheckResult, err error) {
	route := m.route
	id = w.identity
	switch {
	case kept != nil:
		if id, err = kept.Verify(ctx); err != nil {
			return nil, recheckResultOf(err), err
		}
	case id.Anonymous && !route.AllowAnonymous && !route.InvalidAnonymous:
		return nil, recheckRejected, nil
	}
	if id.Subject != w.identity.Subject || id.Anonymous != w.identity.Anonymous {
		return nil, recheckOther, nil
	}
	if route.Authorizer == nil || !w.permit {
		return id, recheckOK, nil
	}
	for _, g := range w.groups {
		q := &authn.Question{Identity: id, Group: g, Params: m.paramsFor(g), Request: w.request}
		if _, err := route.Authorizer.Authorize(ctx, q); err != nil {
			err = undecided(err)
			_, retains := route.Authorizer.(authn.Retainer)
			if result = recheckResultOf(err); result == recheckForbidden && w.moved && (retains || w.request != nil) {
				result = recheckMoved // it may look for something that the authorizer from before did not retain
			}
			return nil, result, err
		}
	}
	return id, recheckOK, nil
}

// recheckResultOf maps the error of a verifier or an authorizer. What is none of the refusals is a fault, which ends nothing.
func recheckResultOf(err error) recheckResult {
	kind := authn.KindOf(err)
	switch {
	case errors.Is(kind, authn.ErrRejected), errors.Is(kind, authn.ErrAbsent):
		return recheckRejected
	case errors.Is(kind, authn.ErrForbidden):
		return recheckForbidden
	}
	return recheckUnavailable
}

// log logs why a connection ends for who debugs, and what went wrong here for who is on call, a line a second.
func (r *rechecks) log(w *watch, result recheckResult, err error) {
	level, logger := slog.LevelDebug, r.gateway.logger
	attrs := []slog.Attr{
		slog.String("session", w.actor.ID().String()), slog.String("route", w.route), slog.String("result", recheckNames[result]),
	}
	if result == recheckUnavailable {
		level = slog.LevelError
		held, ok := r.faults.Allow(time.Now())
		if !ok {
			return
		}
		attrs = append(attrs, slog.Uint64("lines_held_back", held))
	}
	if !logger.Enabled(r.ctx, level) {
		return
	}
	if err != nil {
		why := refusalOf(err, "")
		attrs = append(attrs, slog.String("reason", why.reason.String()), slog.String("by", why.by), slog.String("error", err.Error()))
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	logger.LogAttrs(r.ctx, level, "connection looked at again", attrs...)
}
