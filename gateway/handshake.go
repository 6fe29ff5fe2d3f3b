package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// handshake is a connection from its accept to its actor or its refusal. It belongs to the handshake's goroutine, and is
// used again for another.
type handshake struct {
	// Fixed after New.
	gateway  *Gateway
	upgrader *upgrader

	conn    net.Conn
	secure  *actor.TLSConn // over conn, and then conn itself; nil: there is no TLS, or not yet
	start   time.Time
	head    head
	request authn.Request
	upgrade upgrade
	match   match
	answer  []byte // scratch

	endTrace func(failed bool, attrs ...slog.Attr) // nil: nobody traces

	counted  bool // as an attempt of its address
	parsed   bool // the head is complete and well-formed
	entered  bool // it has a place among the handshakes that go on
	released bool // it has given its place back
	opening  bool // Open was called
	panicked bool // something that was called did

	// Guarded by the serving's mu.
	older, newer *handshake // neighbours in the serving's list
	listed       bool       // it is in the list
	crowded      bool       // it had to leave the list
}

// handshake is the life of one connection in this package. It ends with the connection in an actor's hands, or closed.
func (s *serving) handshake(ctx context.Context, conn net.Conn) {
	defer s.handshakes.Done()
	g := s.gateway
	h := g.handshakes.Get().(*handshake)
	h.conn, h.start = conn, time.Now()

	err := h.open(h.beginTrace(ctx), s, h.start.Add(g.timeout))

	if h.head.end > 0 {
		g.metrics.seconds.Observe(time.Since(h.start).Seconds())
	}
	if err == nil {
		h.release()
		g.metrics.handshakes[reasonOK].Inc()
		h.trace(reasonOK, 101)
	} else {
		h.refuse(ctx, err)
	}
	if h.panicked {
		return // who panicked may still hold what it borrowed: nobody else gets it
	}
	h.reset()
	g.handshakes.Put(h)
}

// open reads the request, finds out who asks and whether they may, and hands the connection to its actor. On an error the
// connection is still ours. The order of the checks is that of what they cost and of what they tell a stranger.
func (h *handshake) open(ctx context.Context, s *serving, at time.Time) (err error) {
	defer func() {
		if v := recover(); v != nil {
			h.panicked = true
			err = newPanicError(v, debug.Stack())
		}
	}()
	h.request.Remote = remoteAddr(h.conn)
	_ = h.conn.SetReadDeadline(at) // it fails when reading does
	if err := s.readHead(h, at); err != nil {
		return err
	}
	err = parseHead(h.head.bytes(), &h.request, &h.upgrade)
	h.parsed = err == nil
	if aerr := h.attempt(); aerr != nil {
		return aerr
	}
	if err != nil {
		return err
	}
	if err := h.upgrade.check(); err != nil {
		return err
	}
	routes := h.gateway.acquire()
	defer routes.release()
	if err := routes.find(h.request.Path, &h.match); err != nil {
		return err
	}
	route := h.match.route
	h.request.Route = route.Path
	if err := route.Origins.Check(&h.request); err != nil {
		return err
	}
	if err := h.enter(ctx, at); err != nil {
		return err
	}
	d := &deadline{parent: ctx, at: at}
	defer d.end()
	ctx = d
	heard := h.gateway.rechecks.news.count.Load() // first: what is told from here on may be too late for who is asked
	found, err := h.identify(ctx)
	if err != nil {
		return err
	}
	groups, rule, err := h.authorize(ctx, found.Identity)
	if err != nil {
		return err
	}
	extension := ""
	if h.gateway.compress {
		extension = negotiate(h.request.Header)
	}
	response, err := h.upgrader.respond(h.upgrade.key, route.selectProtocol(h.request.Protocols), extension)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable, Err: err}
	}
	_ = h.conn.SetReadDeadline(time.Time{})
	h.opening = true
	return h.gateway.actors.Open(ctx, h.conn, actor.Birth{
		Identity:   found.Identity,
		Route:      route.Path,
		Handler:    h.watch(routes, found, groups, heard),
		Groups:     groups,
		By:         found.By,
		Rule:       rule,
		Greet:      route.Greet,
		Response:   response,
		Compressed: extension != "",
		Pending:    h.head.pending(),
		Remote:     h.request.Remote.Addr(),
	})
}

// attempt finds out where the client is, and counts an attempt of its address. A bad request that came by way of a trusted
// proxy is nobody's: the proxy is not to blame for it, nor are its other clients.
func (h *handshake) attempt() error {
	g := h.gateway
	if h.counted {
		return nil
	}
	if len(g.proxies) > 0 {
		switch {
		case h.parsed:
			h.request.Remote = g.proxies.client(h.request.Remote, h.request.Header)
		case g.proxies.trusts(h.request.Remote.Addr()):
			return nil
		}
	}
	return h.count()
}

// count counts an attempt of the client's address.
func (h *handshake) count() error {
	g := h.gateway
	h.counted = true
	if !g.rates.attempt(h.request.Remote.Addr()) {
		g.metrics.limitedAttempts.Inc()
		return errAttempts
	}
	return nil
}

// identify returns who asks. Absent, rejected and unavailable are three answers: the route says what the first two mean,
// and nothing makes an anonymous client of the third.
func (h *handshake) identify(ctx context.Context) (authn.Found, error) {
	route := h.match.route
	if route.Chain == nil {
		return authn.Found{Identity: session.Anonymous()}, nil
	}
	rates, remote := h.gateway.rates, h.request.Remote.Addr()
	if rates.suspects(remote) && route.Chain.Present(&h.request) {
		h.gateway.metrics.limitedRejections.Inc()
		return authn.Found{}, errRejections
	}
	found, err := h.authenticate(ctx)
	if err == nil {
		return found, nil
	}
	kind := authn.KindOf(err)
	if errors.Is(kind, authn.ErrRejected) {
		rates.reject(remote)
	}
	switch {
	case route.AllowAnonymous && errors.Is(kind, authn.ErrAbsent), route.InvalidAnonymous && errors.Is(kind, authn.ErrRejected):
		return authn.Found{Identity: session.Anonymous()}, nil
	}
	return authn.Found{}, err
}

// authorize returns the groups that the connection joins, if id may join each, and the rule that allowed the last of them.
func (h *handshake) authorize(ctx context.Context, id *session.Identity) (groups []session.Group, rule string, err error) {
	groups, err = h.match.groups()
	if err != nil || h.match.route.Authorizer == nil {
		return groups, "", err
	}
	for _, g := range groups {
		if rule, err = h.permit(ctx, id, g); err != nil {
			return nil, "", undecided(err)
		}
	}
	return groups, rule, nil
}

// undecided makes an error that does not say forbidden, or what else it is, into one that says unavailable: that an
// authorizer failed lets nobody in, and tells nobody to stay away.
func undecided(err error) error {
	if _, ok := errors.AsType[*authn.Error](err); ok {
		return err
	}
	if errors.Is(authn.KindOf(err), authn.ErrForbidden) {
		return &authn.Error{Kind: authn.ErrForbidden, Reason: authn.ReasonForbidden, Err: err}
	}
	return &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonAuthorizerUnavailable, Err: err}
}

// reset makes h ready for another connection, and forgets this one.
func (h *handshake) reset() {
	h.head.release()
	if cap(h.request.Protocols) > maxKept {
		h.request.Protocols = nil
	}
	h.request.Reset()
	h.match.reset()
	h.conn, h.secure, h.upgrade, h.endTrace = nil, nil, upgrade{}, nil
	h.counted, h.parsed, h.entered, h.released, h.opening, h.crowded = false, false, false, false, false, false
}

// remoteAddr returns who is at the other end; the zero AddrPort where that is no TCP address.
func remoteAddr(conn net.Conn) netip.AddrPort {
	if c, ok := conn.(interface{ RemoteAddrPort() netip.AddrPort }); ok {
		return c.RemoteAddrPort()
	}
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
