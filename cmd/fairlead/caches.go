package main

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The proofs that a cache is what it stands around, and hears of changes.
var (
	_ authn.Verifier   = (*authn.Cache)(nil)
	_ authn.Retainer   = (*authn.Cache)(nil)
	_ cache            = (*authn.Cache)(nil)
	_ cache            = (*authn.UserCache)(nil)
	_ authn.Authorizer = (*authn.DecisionCache)(nil)
	_ authn.Retainer   = (*authn.DecisionCache)(nil)
	_ cache            = (*authn.DecisionCache)(nil)
)

// unheardAge is how old what is kept may be while changes are not heard that should be. Without listen the configuration
// would have a cache_ttl like that.
const unheardAge = 30 * time.Second

// cache is what forgets.
type cache interface {
	Apply(authn.Change)
	SetCap(time.Duration)
}

// news brings changes to all caches of an assembly: whose database it was that told does not matter, since a user is the
// same one everywhere.
type news struct {
	// Fixed after assemble.
	caches    []cache
	listeners []*authn.Listener

	// Fixed after listen.
	onChange func(c authn.Change, verifiers []string)

	// Guarded by mu.
	mu      sync.Mutex
	hearing int // how many of the listeners hear
}

// change tells all caches, then who else wants to know. verifiers are those whose database it was that told.
func (n *news) change(c authn.Change, verifiers []string) {
	for _, cache := range n.caches {
		cache.Apply(c)
	}
	if n.onChange != nil {
		n.onChange(c, verifiers)
	}
}

// hears notes that one more listener hears, or one less. While one does not, nothing may get old.
func (n *news) hears(listening bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if listening {
		n.hearing++
	} else {
		n.hearing--
	}
	n.limit()
}

func (n *news) limit() {
	age := unheardAge
	if n.hearing == len(n.listeners) {
		age = 0
	}
	for _, cache := range n.caches {
		cache.SetCap(age)
	}
}

// listen lets the listeners serve until the assembly is closed. onChange is told of each change behind the caches; it must
// not block.
func (a *assembly) listen(onChange func(c authn.Change, verifiers []string)) {
	if len(a.listeners) == 0 {
		return
	}
	a.onChange = onChange
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	for _, l := range a.listeners {
		serving.Go(func() { _ = l.Serve(ctx) }) // nil, by its contract
	}
	a.closers = slices.Insert(a.closers, 0, io.Closer(closeFunc(func() error {
		cancel()
		serving.Wait()
		return nil
	})))
}

type closeFunc func() error

func (f closeFunc) Close() error { return f() }

// keepAnswers puts caches around the verifiers that the configuration wants them for.
func (a *assembler) keepAnswers() {
	for i := range a.l.Verifiers {
		c := &a.l.Verifiers[i]
		v := a.verifiers[c.Name]
		cached := c.Kind == config.KindDRFToken || c.Kind == config.KindDjangoSession || c.Kind == config.KindCallback
		if v == nil || !cached || c.CacheTTL == 0 && c.NegativeTTL == 0 {
			continue
		}
		k, err := authn.NewCache(authn.CacheConfig{
			Name: c.Name, Verifier: v, TTL: c.CacheTTL, NegativeTTL: c.NegativeTTL, Registerer: a.meter("verifier", c.Name),
		})
		if err != nil {
			a.problem(verifierKey(i), err)
			continue
		}
		a.verifiers[c.Name] = k
		a.keep(k)
	}
}

// keepDecisions puts caches around the authorizers that the configuration wants them for.
func (a *assembler) keepDecisions() {
	for i := range a.l.Authorizers {
		c := &a.l.Authorizers[i]
		z := a.authorizers[c.Name]
		cached := c.Kind == config.KindSQL || c.Kind == config.KindCallback
		if z == nil || !cached || c.CacheTTL == 0 && c.NegativeTTL == 0 {
			continue
		}
		k, err := authn.NewDecisionCache(authn.DecisionCacheConfig{
			Name: c.Name, Authorizer: z, TTL: c.CacheTTL, NegativeTTL: c.NegativeTTL, Registerer: a.meter("authorizer", c.Name),
		})
		if err != nil {
			a.problem(authorizerKey(i), err)
			continue
		}
		a.authorizers[c.Name] = k
		a.keep(k)
	}
}

// keep notes a cache. It is closed before what it stands around.
func (a *assembler) keep(k interface {
	cache
	io.Closer
},
) {
	a.caches = append(a.caches, k)
	a.closers = slices.Insert(a.closers, 0, io.Closer(k))
}

// addListeners makes a listener for each database that is to tell of changes.
func (a *assembler) addListeners() {
	var seen []string
	for i := range a.l.Verifiers {
		c := &a.l.Verifiers[i]
		dsn := c.Database()
		if !c.Listen || slices.Contains(seen, dsn) {
			continue
		}
		seen = append(seen, dsn)
		verifiers := askersOf(a.l.Config, dsn)
		tables, err := triggersOf(a.l.Config, dsn).Tables()
		var l *authn.Listener
		if err == nil {
			l, err = authn.NewListener(authn.ListenerConfig{
				Name: c.Name, DSN: dsn, Tables: tables, OnListening: a.hears, Logger: a.logger, Registerer: a.meter("verifier", c.Name),
				OnChange: func(change authn.Change) { a.change(change, verifiers) },
			})
		}
		if err != nil {
			a.problem(verifierKey(i)+".listen", err)
			continue
		}
		a.listeners = append(a.listeners, l)
	}
	a.limit() // nobody hears anything yet
}

// triggersOf returns what of a database the verifiers look at.
func triggersOf(c *config.Config, dsn string) authn.Triggers {
	var t authn.Triggers
	for i := range c.Verifiers {
		v := &c.Verifiers[i]
		if v.Database() != dsn {
			continue
		}
		users := userModel(v)
		switch v.Kind {
		case config.KindDRFToken:
			users.PasswordColumn = "" // a token is good whatever the password is
			t.Tokens = append(t.Tokens, authn.TokenModel{Table: v.TokenTable, KeyColumn: v.TokenKey, UserColumn: v.TokenUser})
		case config.KindJWT:
			users.PasswordColumn = ""
			if v.UserField != config.UserFieldPK { // who is found by another value is another one
				by := users
				by.NameColumn = v.UserField
				t.Users = append(t.Users, by)
			}
		case config.KindDjangoSession:
			if v.Engine == "db" || v.Engine == "cached_db" {
				t.Sessions = append(t.Sessions, v.SessionTable)
			}
		}
		t.Users = append(t.Users, users)
	}
	return t
}

// askersOf returns the verifiers about whose users a database may have news: those that ask it themselves, and those of routes
// on which an authorizer does. The names are those of Identity.Source.
func askersOf(c *config.Config, dsn string) (verifiers []string) {
	for i := range c.Verifiers {
		if v := &c.Verifiers[i]; v.Database() == dsn {
			verifiers = append(verifiers, v.Name)
		}
	}
	for i := range c.Authorizers {
		z := &c.Authorizers[i]
		if z.Kind != config.KindSQL || z.DSN != dsn {
			continue
		}
		for j := range c.Routes {
			r := &c.Routes[j]
			if !asks(c, r, z.Name) {
				continue
			}
			for _, credential := range r.Credentials {
				verifiers = append(verifiers, credential.Verifier)
				if k := c.VerifierIndex(credential.Verifier); k >= 0 { // of kind issuers: one of these is the source
					verifiers = append(verifiers, c.Verifiers[k].Of...)
				}
			}
		}
	}
	slices.Sort(verifiers)
	return slices.Compact(verifiers)
}
