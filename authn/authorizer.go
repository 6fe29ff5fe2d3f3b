package authn

import (
	"context"
	"fmt"
	"strings"

	"github.com/fairlead-ws/fairlead/session"
)

// Question is what an [Authorizer] decides about: whether Identity may join Group. All of it is only valid during the call.
type Question struct {
	Identity *session.Identity
	Group    session.Group
	Params   Params
	// Request is the handshake. When a connection is asked about again it is what the authorizer's Retain returned, or nil.
	Request *Request
}

// Authorizer says whether an identity may join a group. Authorize returns the rule that allows it, in words of the
// configuration, for the journal; or an [*Error] of kind [ErrForbidden] or [ErrUnavailable]. It may block until ctx ends,
// and may be called by many goroutines. See also [Retainer].
type Authorizer interface {
	Authorize(ctx context.Context, q *Question) (rule string, err error)
}

// Params are the values of a route's path parameters, decoded. A parameter called group comes with group.category and
// group.id, its parts around the last underscore, where it has them.
type Params []Param

// Param is one path parameter.
type Param struct{ Name, Value string }

// Get returns the value of the parameter called name.
func (p Params) Get(name string) (value string, ok bool) {
	for i := range p {
		if p[i].Name == name {
			return p[i].Value, true
		}
	}
	return "", false
}

// Grants is the authorizer that believes the credential: a group is allowed when Identity.Grants names it, or names what
// it begins with and a * at the end. The grant "*" allows every group. It has no state.
type Grants struct{ name string }

// NewGrants returns the authorizer. name is for errors and the journal; "" is "grants".
func NewGrants(name string) *Grants { return &Grants{orDefault(name, "grants")} }

// granted reports whether one of the grants is the name, or what it begins with and a * at the end.
func granted(grants []string, name string) bool {
	for _, grant := range grants {
		prefix, open := strings.CutSuffix(grant, "*")
		if open && strings.HasPrefix(name, prefix) || grant == name {
			return true
		}
	}
	return false
}

// Authorize implements [Authorizer]. It does not block. The rule is the authorizer's name: which grant it was is the
// client's own business.
func (a *Grants) Authorize(_ context.Context, q *Question) (rule string, err error) {
	name := q.Group.String()
	if granted(q.Identity.Grants, name) {
		return a.name, nil
	}
	return "", &Error{
		Kind: ErrForbidden, Reason: ReasonForbidden, By: a.name,
		Err: fmt.Errorf("%s: none of %d grants allows group %s", a.name, len(q.Identity.Grants), name),
	}
}
