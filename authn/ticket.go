package authn

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	// DefaultTicketTTL is how long a ticket is good where nobody asks for another time.
	DefaultTicketTTL = 30 * time.Second
	// MaxTicketTTL is the longest time.
	MaxTicketTTL = 5 * time.Minute
	// minTicketTTL keeps a ticket from being over before it arrives.
	minTicketTTL = time.Second
	// ticketSkew is how far ahead the clock of the node that issued may be.
	ticketSkew = 30 * time.Second
	// minTicketSecret is the least length of a secret in bytes.
	minTicketSecret = 32
)

// Spender remembers which tickets were used, for all nodes that accept them. Its methods may block until ctx ends, and may be
// called by many goroutines. An error means that it cannot say; whether the ticket is used then is unknown, and nobody may
// come in with it.
type Spender interface {
	// Place names what a ticket that is issued now will be spent in: 1 to 64 letters and digits. When what was remembered
	// is lost, the place changes.
	Place(ctx context.Context) (string, error)
	// Spend uses a ticket of a place up. first is true for one caller among all that spend it, on any node, within twice
	// MaxTicketTTL; it is false for the others, and where the place is lost. id is letters and digits.
	Spend(ctx context.Context, place, id string) (first bool, err error)
}

// TicketsConfig is the configuration of [Tickets].
type TicketsConfig struct {
	Name string // Identity.Source and the label of metrics; "" is "ticket"
	// Secret signs, at least 32 bytes: the same on all nodes that accept each other's tickets. Another key is derived
	// from it (HKDF, RFC 5869), so that it can sign other things as well. It is copied. Required.
	Secret []byte
	// Spender sees to it that a ticket is used once. Required.
	Spender Spender

	Registerer prometheus.Registerer // gets the metrics; nil: nobody
	Now        func() time.Time      // nil is time.Now
}

// Tickets makes and verifies one-time tickets: a page asks its own application for one, which asks Fairlead, and connects
// with it, so that no token that is good for longer stands in a URL. A ticket is bound to a user, a route and, where the
// application says so, an origin; it ends after seconds, and lets one connection in among all nodes. It is a signed value:
// nothing is kept for one that nobody uses.
//
// It is fixed after NewTickets and may be used by many goroutines. All Tickets of one secret accept each other's.
type Tickets struct {
	name    string
	key     []byte
	spender Spender
	seconds latency
	metrics ticketMetrics
	now     func() time.Time
}

// TicketParams is what one ticket says.
type TicketParams struct {
	Subject string // the user's primary key; required
	Name    string
	// Route is the path pattern of the route that the ticket is good for; it is not checked whether there is one. Required.
	Route string
	// Origin is the page's, such as "https://app.example.com"; "": any that the route takes.
	Origin string
	// Groups are grants, as a JWT's: names of groups, or with one * at the end.
	Groups []string
	TTL    time.Duration // from a second to MaxTicketTTL; 0 is DefaultTicketTTL
	// SessionExpires is when a connection that was opened with it ends; zero: it does not.
	SessionExpires time.Time
}

// IssuedTicket is a new ticket.
type IssuedTicket struct {
	Value   string // the ticket: a secret, though not for long
	ID      string // can be told: the TokenID of the identity that it becomes
	Expires time.Time
}

// ErrTicketParams is wrapped by what is wrong with [TicketParams].
var ErrTicketParams = errors.New("no such ticket")

// NewTickets checks the configuration. An error never holds the secret.
func NewTickets(c TicketsConfig) (*Tickets, error) {
	name, err := verifierName(c.Name, "ticket")
	if err != nil {
		return nil, err
	}
	switch {
	case c.Spender == nil:
		return nil, fmt.Errorf("authn: verifier %s: it has no Spender", name)
	case len(c.Secret) < minTicketSecret:
		return nil, fmt.Errorf("authn: verifier %s: the secret has %d bytes; want at least %d, such as `openssl rand -hex 32` makes",
			name, len(c.Secret), minTicketSecret)
	}
	t := &Tickets{name: name, spender: c.Spender, now: c.Now}
	if t.now == nil {
		t.now = time.Now
	}
	if t.key, err = hkdf.Key(sha256.New, c.Secret, nil, "fairlead ticket 1", sha256.Size); err != nil {
		return nil, fmt.Errorf("authn: verifier %s: %w", name, err)
	}
	if t.seconds, err = newAuthSeconds(c.Registerer, name); err != nil {
		return nil, err
	}
	if t.metrics, err = newTicketMetrics(c.Registerer); err != nil {
		return nil, err
	}
	return t, nil
}

// Issue makes a ticket. It blocks as long as the Spender does. The error wraps [ErrTicketParams] and says what would be
// right, or is an [*Error] of kind [ErrUnavailable] while tickets could not be spent either.
func (t *Tickets) Issue(ctx context.Context, p TicketParams) (IssuedTicket, error) {
	v, err := p.value(t.now())
	if err != nil {
		return IssuedTicket{}, fmt.Errorf("%w: %w", ErrTicketParams, err)
	}
	if v.place, err = t.spender.Place(ctx); err != nil {
		t.metrics.unavailable.Inc()
		return IssuedTicket{}, &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: err, By: t.name}
	}
	rand.Read(v.id[:]) // it never fails
	text := v.seal(t.key)
	if len(text) > MaxTicket {
		return IssuedTicket{}, fmt.Errorf("%w: it would have %d bytes; want at most %d, so allow fewer groups, or app_* for all of a kind",
			ErrTicketParams, len(text), MaxTicket)
	}
	t.metrics.issued.Inc()
	return IssuedTicket{Value: string(text), ID: hex.EncodeToString(v.id[:]), Expires: v.issued.Add(v.ttl)}, nil
}

// value checks p. The error says what is wrong and what would be right, and never quotes.
func (p *TicketParams) value(now time.Time) (v ticketValue, err error) {
	v = ticketValue{
		issued: now.UTC().Truncate(time.Millisecond), ttl: p.TTL, session: p.SessionExpires,
		subject: p.Subject, name: p.Name, route: p.Route, groups: p.Groups,
	}
	if v.ttl == 0 {
		v.ttl = DefaultTicketTTL
	}
	texts := []struct{ what, text string }{{"subject", p.Subject}, {"name", p.Name}, {"route", p.Route}}
	for i, g := range p.Groups {
		texts = append(texts, struct{ what, text string }{"groups[" + strconv.Itoa(i) + "]", g})
	}
	for _, s := range texts {
		if err := checkText(s.text); err != nil {
			return v, fmt.Errorf("%s %w", s.what, err)
		}
	}
	switch {
	case p.Subject == "":
		return v, errors.New("subject is missing; want the user's primary key as text")
	case p.Route == "":
		return v, errors.New("route is missing; want the path of a route as the configuration has it, such as /ws/{group}")
	case v.ttl < minTicketTTL || v.ttl > MaxTicketTTL:
		return v, fmt.Errorf("the ticket would be good for %v; want %v to %v", v.ttl, minTicketTTL, MaxTicketTTL)
	case len(p.Groups) > maxTicketGroups:
		return v, fmt.Errorf("there are %d groups; want at most %d, or app_* for all of a kind", len(p.Groups), maxTicketGroups)
	case !v.session.IsZero() && (!v.session.After(now) || v.session.Unix() > maxYear9999):
		return v, errors.New("the connection would end in the past, or beyond the year 9999")
	}
	if p.Origin != "" {
		o, ok := parseOrigin([]byte(p.Origin))
		if !ok {
			return v, errors.New("origin is none; want SCHEME://HOST or SCHEME://HOST:PORT, such as https://app.example.com")
		}
		v.origin = o.canonical()
	}
	return v, nil
}

// checkText checks a text that an identity is to keep.
func checkText(s string) error {
	switch {
	case len(s) > maxText:
		return fmt.Errorf("is longer than %d bytes", maxText)
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("has a control character")
	}
	return nil
}

// canonical returns the one spelling of an origin.
func (o origin) canonical() string {
	s := strings.ToLower(string(o.scheme)) + "://" + canonicalHost(o.host)
	if o.port != noPort && o.port != defaultPort(o.scheme) {
		s += ":" + strconv.Itoa(o.port)
	}
	return s
}

// Verify implements [Verifier]. Everything that can be wrong with a ticket is looked at before it is used up: the signature,
// the time, the route and the origin of the request. A ticket whose place is lost is refused as a used one, since nobody
// knows; one of which the Spender does not say is refused as [ErrUnavailable], and may be used up nevertheless.
func (t *Tickets) Verify(ctx context.Context, c Credential) (*session.Identity, error) {
	defer t.seconds.since(time.Now())
	v, err := unsealTicket(t.key, c.Value)
	if err == nil {
		err = v.check(t.now(), c.Request)
	}
	if err != nil {
		return nil, err
	}
	id := hex.EncodeToString(v.id[:])
	first, err := t.spender.Spend(ctx, v.place, id)
	switch {
	case err != nil:
		t.metrics.unavailable.Inc()
		return nil, &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: err, By: t.name}
	case !first:
		t.metrics.used.Inc()
		return nil, reject(ReasonUsed, "the ticket was used before, or what was remembered of tickets is lost")
	}
	t.metrics.accepted.Inc()
	return &session.Identity{
		Subject: v.subject, Name: v.name, Source: t.name, Expires: v.session, TokenID: id, IssuedAt: v.issued, Grants: v.groups,
	}, nil
}

// check looks at what a genuine ticket is good for.
func (v *ticketValue) check(now time.Time, r *Request) error {
	switch {
	case !now.Before(v.issued.Add(v.ttl)):
		return reject(ReasonExpired, "the ticket is over")
	case now.Before(v.issued.Add(-ticketSkew)):
		return reject(ReasonNotYetValid, "the ticket is of the future: the nodes' clocks differ")
	case !v.session.IsZero() && !now.Before(v.session):
		return reject(ReasonExpired, "the connection that the ticket is for would be over")
	case r == nil || r.Route != v.route:
		return reject(ReasonBadClaims, "the ticket is for another route")
	case v.origin == "":
		return nil
	case !r.HasOrigin:
		return reject(ReasonBadClaims, "the ticket is for a page of one origin, and no Origin came")
	}
	if o, ok := parseOrigin(r.Origin); !ok || o.canonical() != v.origin {
		return reject(ReasonBadClaims, "the ticket is for a page of another origin")
	}
	return nil
}

// Retain implements [Retainer]: a ticket is used up, so asking again would mean nothing.
func (t *Tickets) Retain(*Request) (kept *Request, again bool) { return nil, false }
