package authn

import (
	"context"
	"fmt"
	"strings"

	"github.com/fairlead-ws/fairlead/session"
)

// Authorizer says whether an identity may join a group. Authorize returns nil, or an [*Error] of kind [ErrForbidden] or
// [ErrUnavailable]. It may block until ctx ends, and may be called by many goroutines. p is only valid during the call.
type Authorizer interface {
	Authorize(ctx context.Context, id *session.Identity, g session.Group, p Params) error
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
type Grants struct{}

// NewGrants returns the authorizer.
func NewGrants() *Grants { return &Grants{} }

// Authorize implements [Authorizer]. It does not block.
func (*Grants) Authorize(_ context.Context, id *session.Identity, g session.Group, _ Params) error {
	name := g.String()
	for _, grant := range id.Grants {
		prefix, open := strings.CutSuffix(grant, "*")
		if open && strings.HasPrefix(name, prefix) || grant == name {
			return nil
		}
	}
	return &Error{ErrForbidden, ReasonForbidden, fmt.Errorf("grants: none of %d grants allows group %s", len(id.Grants), name)}
}
