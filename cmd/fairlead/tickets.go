package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The proofs that both registers are where tickets can be spent.
var (
	_ authn.Verifier = (*authn.Tickets)(nil)
	_ authn.Spender  = (*bus.Register)(nil)
	_ authn.Spender  = (*bus.LocalRegister)(nil)
	_ authn.Spender  = (*ticketDesk)(nil)
)

// minSessionSecret is the least length of session.secret in bytes.
const minSessionSecret = 32

// ticketDesk is what all tickets of a node have in common, whatever is reloaded: the secret that signs them, and the register
// in which they are spent, which is there once the bus is.
type ticketDesk struct {
	secret   []byte                        // fixed after newTicketDesk
	register atomic.Pointer[authn.Spender] // nil: not yet
}

var errNoDesk = errors.New("this program makes no tickets, it looks at the configuration")

// newTicketDesk returns the desk of a node. Without session.secret its tickets are good on this node only.
func newTicketDesk(l *config.Loaded) *ticketDesk {
	d := &ticketDesk{secret: []byte(l.Session.Secret)}
	if len(d.secret) == 0 {
		d.secret = make([]byte, minSessionSecret)
		rand.Read(d.secret) // it never fails
	}
	return d
}

// Place implements [authn.Spender].
func (d *ticketDesk) Place(ctx context.Context) (string, error) {
	if r := d.register.Load(); r != nil {
		return (*r).Place(ctx)
	}
	return "", errNoDesk
}

// Spend implements [authn.Spender].
func (d *ticketDesk) Spend(ctx context.Context, place, id string) (first bool, err error) {
	if r := d.register.Load(); r != nil {
		return (*r).Spend(ctx, place, id)
	}
	return false, errNoDesk
}

// openDesk gives tickets a register: in JetStream, which all nodes share, or in memory for a node that is alone.
func (n *node) openDesk() error {
	var register authn.Spender = bus.NewLocalRegister()
	if n.embedded == nil {
		r, err := bus.NewRegister(bus.RegisterConfig{
			Conn: n.control, Cluster: n.parts.cluster, Replicas: n.config.Journal.Replicas, Logger: n.logger,
		})
		if err != nil {
			return err
		}
		register = r
	}
	n.desk.register.Store(&register)
	n.checkTickets(n.config)
	return nil
}

// checkTickets warns where l has tickets and they could not be made. It waits for NATS, two seconds at most.
func (n *node) checkTickets(l *config.Loaded) {
	if !hasTickets(l.Config) {
		return
	}
	if _, err := n.desk.Place(context.Background()); err != nil {
		n.logger.Warn("tickets can be neither made nor used: handshakes with one are refused with 503", "err", err)
	}
}

// hasTickets reports whether a verifier takes tickets.
func hasTickets(c *config.Config) bool {
	return slices.ContainsFunc(c.Verifiers, func(v config.Verifier) bool { return v.Kind == config.KindTicket })
}

// addTickets makes a verifier of kind ticket.
func (a *assembler) addTickets(key string, c *config.Verifier) {
	desk := a.desk
	if desk == nil { // nobody serves
		desk = newTicketDesk(a.l)
	}
	if s := a.l.Session.Secret; s != "" && len(s) < minSessionSecret {
		a.problem("session.secret", fmt.Errorf("it has %d bytes; want at least %d, such as `openssl rand -hex 32` makes", len(s), minSessionSecret))
		return
	}
	v, err := authn.NewTickets(authn.TicketsConfig{Name: c.Name, Secret: desk.secret, Spender: desk, Registerer: a.meter("verifier", c.Name)})
	if err != nil {
		a.problem(key, err)
		return
	}
	a.verifiers[c.Name] = v
}

// ticketIssuer makes tickets for the routes of a node that are in force. It implements api.Tickets.
type ticketIssuer struct{ node *node }

// Issue makes a ticket for a route that takes them.
func (i ticketIssuer) Issue(ctx context.Context, p authn.TicketParams) (authn.IssuedTicket, error) {
	rl := i.node.reloader
	rl.mu.Lock()
	tickets, routes := rl.parts.ticketsOf(rl.settings.Config, p.Route)
	rl.mu.Unlock()
	switch {
	case tickets != nil:
		return tickets.Issue(ctx, p)
	case len(routes) == 0:
		return authn.IssuedTicket{}, fmt.Errorf("%w: no route takes tickets: none has a credential whose verifier is of kind ticket", authn.ErrTicketParams)
	}
	return authn.IssuedTicket{}, fmt.Errorf("%w: no such route takes tickets; want one of %s", authn.ErrTicketParams, strings.Join(routes, ", "))
}

// ticketsOf returns who makes the tickets of a route, or nil and the paths of those routes that take any.
func (a *assembly) ticketsOf(c *config.Config, path string) (_ *authn.Tickets, routes []string) {
	for _, r := range c.Routes {
		for _, credential := range r.Credentials {
			tickets, ok := a.verifiers[credential.Verifier].(*authn.Tickets)
			switch {
			case !ok:
			case r.Path == path:
				return tickets, nil
			case !slices.Contains(routes, r.Path):
				routes = append(routes, r.Path)
			}
		}
	}
	return nil, routes
}
