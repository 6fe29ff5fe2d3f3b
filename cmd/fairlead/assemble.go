package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/api"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
	"github.com/fairlead-ws/fairlead/gateway"
)

// assembly is what a configuration means: its routes with all that they ask.
type assembly struct {
	cluster     bus.Cluster
	certificate *gateway.Certificate // as it was found; nil: plain TCP
	routes      []gateway.Route
	apiKeys     []api.Key // none: nobody is asked for one
	proxies     []netip.Prefix

	databases   authn.Databases // of those with the same dsn
	verifiers   map[string]authn.Verifier
	authorizers map[string]authn.Authorizer
	closers     []io.Closer

	series *series // nil: nothing is counted
	uses   []use

	news
}

// Close releases what the verifiers and authorizers hold, and takes the series of those away that nobody has any more.
func (a *assembly) Close() error {
	var errs []error
	for _, c := range a.closers {
		errs = append(errs, c.Close())
	}
	if a.series != nil {
		a.series.release(a.uses)
		a.uses = nil
	}
	return errors.Join(errs...)
}

// assembler collects what is wrong while it goes on, so that one run finds every mistake.
type assembler struct {
	*assembly
	l        *config.Loaded
	logger   *slog.Logger // of what goes on behind a handshake, such as keys that are fetched
	desk     *ticketDesk
	problems config.Errors
}

// assemble makes the parts that l describes. Databases are not asked yet, but a file of SQLite must be there. The error is
// a [config.Errors] with every mistake; nothing is left open then. The caller closes the assembly. Without series s
// nothing is counted; without a desk no ticket can be made or used.
func assemble(ctx context.Context, l *config.Loaded, s *series, logger *slog.Logger, desk *ticketDesk) (*assembly, error) {
	a := &assembler{
		assembly: &assembly{verifiers: map[string]authn.Verifier{}, authorizers: map[string]authn.Authorizer{}, series: s},
		l:        l, logger: logger, desk: desk,
	}
	var err error
	if a.cluster, err = bus.ParseCluster(l.NATS.Cluster); err != nil {
		a.problem("nats.cluster", err)
	}
	a.addProxies()
	a.checkNATSFiles()
	a.checkCertificate()
	if a.apiKeys, err = readAPIKeys(l.API.KeysFile); err != nil {
		a.problem("api.keys_file", err)
	}
	a.addVerifiers(ctx)
	a.keepAnswers()
	a.addAuthorizers()
	a.addListeners()
	for i := range l.Routes {
		a.addRoute(i)
	}
	if len(a.problems) == 0 {
		a.checkTogether()
	}
	if err := a.problems.Err(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a.assembly, nil
}

func verifierKey(i int) string { return fmt.Sprintf("verifier[%d]", i) }

func authorizerKey(i int) string { return fmt.Sprintf("authorizer[%d]", i) }

// problem notes err as a mistake in the key. The name of the package and of the entry, which stand before the constructors'
// errors, are cut off: the key says both.
func (a *assembler) problem(key string, err error) {
	p := a.l.At(key, err)
	p.Text = strings.TrimPrefix(strings.TrimPrefix(p.Text, "authn: "), "gateway: ")
	for _, kind := range []string{"verifier ", "authorizer ", "route "} {
		if rest, ok := strings.CutPrefix(p.Text, kind); ok {
			if _, text, ok := strings.Cut(rest, ": "); ok {
				p.Text = text
			}
		}
	}
	a.problems = append(a.problems, p)
}

// checkNATSFiles looks for the files that the bus will read when it connects.
func (a *assembler) checkNATSFiles() {
	n := a.l.NATS
	for _, f := range []struct{ key, name string }{
		{"nats.creds", n.Creds}, {"nats.tls_ca", n.TLSCA}, {"nats.tls_cert", n.TLSCert}, {"nats.tls_key", n.TLSKey},
	} {
		if f.name == "" {
			continue
		}
		if _, err := os.Stat(f.name); err != nil {
			a.problem(f.key, err)
		}
	}
}

// addProxies reads the networks of proxies. What is wrong with them config has said already.
func (a *assembler) addProxies() {
	for _, s := range a.l.Listen.TrustedProxies {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a.problem("listen.trusted_proxies", err)
			continue
		}
		a.proxies = append(a.proxies, p)
	}
}

// handlers are the values of on_message.
var handlers = map[string]actor.Handler{"broadcast": actor.Broadcast, "echo": actor.Echo, "ignore": actor.Ignore}

func (a *assembler) addRoute(i int) {
	c, key := &a.l.Routes[i], fmt.Sprintf("route[%d]", i)
	before := len(a.problems)
	r := gateway.Route{
		Path: c.Path, Category: c.Category, Join: c.Join,
		AllowAnonymous: c.Anonymous == "allow", InvalidAnonymous: c.Invalid == "anonymous", RejectClose: c.Reject == "close", Recheck: c.Recheck,
		Handler: handlers[c.OnMessage], Greet: c.Greet, Protocols: c.Subprotocols,
	}
	var err error
	if r.Origins, err = authn.NewOriginPolicy(c.Origins, c.NoOrigin == "allow"); err != nil {
		a.problem(key+".origins", err)
	}
	whole := true // all that the route asks could be made; if not, it has a problem of its own
	if len(c.Credentials) > 0 {
		r.Chain = a.chain(key, c.Credentials)
		whole = r.Chain != nil
	}
	if c.Authorize != "" {
		r.Authorizer = a.authorizers[c.Authorize]
		whole = whole && r.Authorizer != nil
	}
	checked := r // what is missing must not hide what else is wrong
	checked.AllowAnonymous = r.AllowAnonymous || !whole
	if _, err := gateway.New(gateway.Config{Routes: []gateway.Route{checked}, Actors: noActors{}}); err != nil {
		a.problem(key, err)
	}
	if whole && len(a.problems) == before {
		a.routes = append(a.routes, r)
	}
}

// chain returns the chain of a route's credentials, or nil where a part of it is wrong.
func (a *assembler) chain(key string, credentials []config.Credential) *authn.Chain {
	var sources []authn.Source
	for j, c := range credentials {
		e, err := extractor(c)
		if err != nil {
			a.problem(fmt.Sprintf("%s.credential[%d]", key, j), err)
			continue
		}
		if v := a.verifiers[c.Verifier]; v != nil { // else it has a problem of its own
			sources = append(sources, authn.Source{Extractor: e, Verifier: v, Name: c.Verifier})
		}
	}
	if len(sources) < len(credentials) {
		return nil
	}
	chain, err := authn.NewChain(sources...)
	if err != nil {
		a.problem(key+".credential", err)
		return nil
	}
	return chain
}

func extractor(c config.Credential) (authn.Extractor, error) {
	switch c.From {
	case "header":
		return authn.NewHeader(c.Name, c.Scheme)
	case "cookie":
		return authn.NewCookie(c.Name)
	case "query":
		return authn.NewQuery(c.Name)
	case "subprotocol":
		return authn.NewSubprotocol(c.Prefix)
	case "request":
		return authn.NewWhole(), nil
	default:
		return nil, fmt.Errorf("from is %q", c.From) // checked by config
	}
}

// checkTogether finds what only all routes together show, such as two that match the same paths.
func (a *assembler) checkTogether() {
	if len(a.l.Routes) == 0 {
		a.problem("", errors.New("there is no [[route]], so nobody could connect; `fairlead config example` has one, and `fairlead serve --dev` needs none"))
		return
	}
	if _, err := gateway.New(gateway.Config{Routes: a.routes, Actors: noActors{}}); err != nil {
		a.problem("route", err)
	}
}

// noActors is what a gateway that is only checked opens connections with: none.
type noActors struct{}

func (noActors) Open(context.Context, net.Conn, actor.Birth) error { return errors.ErrUnsupported }
