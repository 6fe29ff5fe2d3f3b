package main

import (
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// The proofs that what authn makes is what the gateway asks for.
var (
	_ authn.Verifier   = (*authn.Callback)(nil)
	_ authn.Authorizer = (*authn.CallbackAuthorizer)(nil)
)

// answerTime returns how long an application has for an answer. A handshake waits no longer than it may take itself, and one
// that ends before half of that time is over is not held against the application.
func (a *assembler) answerTime(timeout time.Duration) time.Duration {
	return min(timeout, a.l.Limits.HandshakeTimeout)
}

// addCallback makes a verifier that asks an application.
func (a *assembler) addCallback(key string, c *config.Verifier) {
	v, err := authn.NewCallback(authn.CallbackConfig{
		Name: c.Name, URL: c.URL, Timeout: a.answerTime(c.Timeout), Forward: c.Forward, Secret: []byte(c.Secret), Registerer: a.meter("verifier", c.Name),
	})
	if err != nil {
		a.problem(key, err)
		return
	}
	a.verifiers[c.Name] = v
	a.closers = append(a.closers, v)
}

// addCallbackAuthorizer makes an authorizer that asks an application.
func (a *assembler) addCallbackAuthorizer(key string, c *config.Authorizer) {
	v, err := authn.NewCallbackAuthorizer(authn.CallbackConfig{
		Name: c.Name, URL: c.URL, Timeout: a.answerTime(c.Timeout), Forward: c.Forward, Secret: []byte(c.Secret), Registerer: a.meter("authorizer", c.Name),
	})
	if err != nil {
		a.problem(key, err)
		return
	}
	a.authorizers[c.Name] = v
	a.closers = append(a.closers, v)
}
