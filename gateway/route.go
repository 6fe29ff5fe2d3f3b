package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// Route is a path with its rules: who may come in, which groups a connection joins, what its messages do.
type Route struct {
	// Path is a pattern of segments, as in [net/http.ServeMux]: "/ws/{group}", "/chat/{room}", "/files/{name...}". It
	// matches with or without a slash at its end. Where two routes match, the one that matches fewer paths wins; two of
	// which neither does are an error. A parameter that is called group must be the name of a group ([session.ParseGroup]).
	Path string

	// Category restricts the route to paths whose {group} has this category, which is what stands before the last
	// underscore of its name: "app" for app_1234. "": any. Two routes may share a Path when their categories differ.
	Category string

	// Join are the groups that a connection joins: texts with {name} for a parameter of Path, {group.category} and
	// {group.id} for what stands before and behind the last underscore of {group}.
	Join []string

	// Origins says which web pages may connect. Nil: those of the host that they connect to, and clients without Origin.
	Origins *authn.OriginPolicy

	// Chain finds out who connects. Nil: nobody has a credential, so AllowAnonymous must be set.
	Chain *authn.Chain

	// AllowAnonymous lets clients without a credential in, as session.Anonymous.
	AllowAnonymous bool

	// InvalidAnonymous lets clients whose credential was rejected in, as session.Anonymous. It says nothing about clients
	// without one. A credential that cannot be verified at present is refused in any case.
	InvalidAnonymous bool

	// Recheck looks at the credential, and asks the Authorizer, again and again while a connection lasts, so that it is closed
	// at most so much later when the credential is no good any more (4401) or the permission is gone (4403). It is by the
	// routes in force, see [Gateway.SetRoutes], for connections that were opened while it was set; what they were let in with
	// is kept for it in memory. 0: never.
	Recheck time.Duration

	// RejectClose refuses by a close frame behind an upgrade, with 4401, 4403, 4429 or 4503, where it would else be HTTP's
	// 401, 403, 429 or 503: a page's script sees the code, and of a status nothing. No actor is made for it. All else is
	// refused over HTTP, as is what is found out before the route is.
	RejectClose bool

	// Authorizer is asked for each group of Join. Nil: any identity may join.
	Authorizer authn.Authorizer

	// Handler says what a client's message does. Nil: actor.Broadcast.
	Handler actor.Handler

	// Greet sends the identity as the first frame.
	Greet bool

	// Protocols are the subprotocols that the route speaks. The first of them that the client offers, in the client's
	// order, is selected. A subprotocol that holds a credential is never selected. Where none can be, the answer names none,
	// and browsers then close: a page that sends its token as a subprotocol offers a second one, and it must be here.
	Protocols []string
}

// route is a Route that was checked. It is fixed after newRoute.
type route struct {
	Route
	pattern   pattern
	group     int // the index of {group} among the pattern's params; -1: none
	joins     []template
	challenge string // what a 401 asks for
}

// routes finds the route of a path. It is fixed after newRoutes.
type routes []*route

// newRoutes checks all routes and sorts them, narrower ones first.
func newRoutes(list []Route) (routes, error) {
	if len(list) == 0 {
		return nil, errors.New("gateway: no routes: nobody could connect")
	}
	t := make(routes, 0, len(list))
	for i := range list {
		r, err := newRoute(list[i])
		if err != nil {
			return nil, fmt.Errorf("gateway: route %d, %q: %w", i+1, list[i].Path, err)
		}
		for _, o := range t {
			switch rel := r.pattern.relate(&o.pattern); {
			case rel == crossing:
				return nil, fmt.Errorf("gateway: routes %q and %q: some paths match both, and neither is the narrower one",
					o.Path, r.Path)
			case rel == same && r.Category == o.Category:
				return nil, fmt.Errorf("gateway: routes %q and %q match the same paths: give them different categories", o.Path, r.Path)
			}
		}
		t = append(t, r)
	}
	slices.SortStableFunc(t, func(a, b *route) int {
		if c := a.pattern.compare(&b.pattern); c != 0 {
			return c
		}
		return strings.Compare(b.Category, a.Category) // "" last: it takes what the others leave
	})
	return t, nil
}

func newRoute(cfg Route) (*route, error) {
	p, err := parsePattern(cfg.Path)
	if err != nil {
		return nil, err
	}
	r := &route{Route: cfg, pattern: p, group: slices.Index(p.params, "group")}
	if r.Category != "" {
		if r.group < 0 {
			return nil, errors.New("a category is that of {group}, which the path does not have")
		}
		if _, err := session.ParseGroup(r.Category); err != nil {
			return nil, fmt.Errorf("category %q: %w", r.Category, err)
		}
	}
	for _, text := range cfg.Join {
		j, err := parseTemplate(text, p.params)
		if err != nil {
			return nil, fmt.Errorf("join %q: %w", text, err)
		}
		r.joins = append(r.joins, j)
	}
	if r.Chain == nil && !r.AllowAnonymous {
		return nil, errors.New("nobody may come in: it has no credentials and refuses anonymous clients")
	}
	if r.Authorizer != nil && len(r.joins) == 0 {
		return nil, errors.New("an authorizer decides who may join a group, and this route joins none")
	}
	if r.Recheck < 0 {
		return nil, errors.New("Recheck is negative: want 0 for never, or more")
	}
	if r.Handler == nil {
		r.Handler = actor.Broadcast
	}
	var secret [][]byte
	if r.Chain != nil {
		r.challenge, secret = r.Chain.Challenge(), r.Chain.SubprotocolPrefixes()
	}
	if a, ok := r.Authorizer.(interface{ SubprotocolPrefixes() [][]byte }); ok { // it finds signed values there
		secret = slices.Concat(secret, a.SubprotocolPrefixes())
	}
	return r, checkProtocols(r.Protocols, secret)
}

// checkProtocols sees to it that no subprotocol of a route can be a credential: what is selected is answered in clear.
func checkProtocols(protocols []string, secret [][]byte) error {
	for i, p := range protocols {
		if !isTokens([]byte(p)) {
			return fmt.Errorf("%q cannot be a subprotocol: want one word without spaces or commas", p)
		}
		if slices.Contains(protocols[:i], p) {
			return fmt.Errorf("subprotocol %q is there twice", p)
		}
		for _, s := range secret {
			if bytes.HasPrefix([]byte(p), s) {
				return fmt.Errorf("subprotocol %q begins with %q, behind which clients send credentials", p, s)
			}
		}
	}
	return nil
}

// match is a route with what a path gives it.
type match struct {
	route    *route
	segments [][]byte     // scratch
	values   []string     // of the pattern's params
	params   authn.Params // scratch
	group    session.Group
}

// find fills m with the route of path and its parameters. path is not decoded; its escapes are well-formed.
// The error is a *[reasonError].
func (t routes) find(path []byte, m *match) (err error) {
	if m.segments, err = splitPath(m.segments[:0], path); err != nil {
		return err
	}
	for _, r := range t {
		if !r.pattern.match(m.segments) {
			continue
		}
		m.values = r.pattern.values(m.values[:0], m.segments)
		m.group = session.Group{}
		if r.group >= 0 {
			if m.group, err = checkGroup(m.values[r.group]); err != nil {
				return err
			}
			if r.Category != "" {
				if category, _, ok := m.group.Split(); !ok || category != r.Category {
					continue
				}
			}
		}
		m.route = r
		return nil
	}
	return errNoRoute
}

// path returns the pattern of the route, or "" while there is none.
func (m *match) path() string {
	if m.route == nil {
		return ""
	}
	return m.route.Path
}

// reset forgets the path and keeps the capacity, unless a path of thousands of segments made it.
func (m *match) reset() {
	if cap(m.segments) > maxKept {
		m.segments = nil
	}
	clear(m.segments)
	clear(m.values)
	clear(m.params)
	*m = match{segments: m.segments[:0], values: m.values[:0], params: m.params[:0]}
}

// maxKept is up to how many elements a list keeps its capacity for the next handshake, so that one large request does not
// leave its size behind.
const maxKept = 64

// groups returns the groups that the connection joins, each once, in order. The slice is new.
// The error is errNoCategory or errGroup.
func (m *match) groups() ([]session.Group, error) {
	if len(m.route.joins) == 0 {
		return nil, nil
	}
	groups := make([]session.Group, 0, len(m.route.joins))
	for _, j := range m.route.joins {
		g, err := j.expand(m.values, m.group)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// paramsFor returns what an authorizer may look at to decide about g: the path's parameters, then group, group.category and
// group.id. The last three are always those of g, whatever {group} is, so that the group that was asked about is the group
// that is joined. A group without an underscore has no category and no id. The slice dies with the next
// call.
func (m *match) paramsFor(g session.Group) authn.Params {
	p := m.params[:0]
	for i, v := range m.values {
		if i != m.route.group {
			p = append(p, authn.Param{Name: m.route.pattern.params[i], Value: v})
		}
	}
	p = append(p, authn.Param{Name: "group", Value: g.String()})
	if category, id, ok := g.Split(); ok {
		p = append(p, authn.Param{Name: "group.category", Value: category}, authn.Param{Name: "group.id", Value: id})
	}
	m.params = p
	return p
}

// selectProtocol returns the first of the offered subprotocols that the route speaks, or "".
func (r *route) selectProtocol(offered [][]byte) string {
	for _, o := range offered {
		for _, p := range r.Protocols {
			if p == string(o) {
				return p
			}
		}
	}
	return ""
}
