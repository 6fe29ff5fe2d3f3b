package authn

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Any is the authorizer that asks others, in order: the first that allows decides. It owns none of them, and may be used by
// many goroutines.
type Any struct {
	// Fixed after NewAny.
	name string
	of   []Authorizer
}

// NewAny returns the authorizer. name is for errors; "" is "any".
func NewAny(name string, of ...Authorizer) (*Any, error) {
	a := &Any{orDefault(name, "any"), slices.Clone(of)}
	if len(of) == 0 || slices.Contains(of, nil) {
		return nil, fmt.Errorf("authn: authorizer %s: has nobody to ask; want one authorizer or more", a.name)
	}
	return a, nil
}

// Authorize implements [Authorizer]. The rule is that of the one who allowed. If none does, it is [ErrUnavailable] where one
// of them could not say, since that one might have allowed; else it is [ErrForbidden] with the reason that they share, or
// [ReasonForbidden]. It blocks while the others do, one after the other, until ctx ends.
func (a *Any) Authorize(ctx context.Context, q *Question) (rule string, err error) {
	var noes, faults []error
	var reason Reason
	for _, one := range a.of {
		rule, err := one.Authorize(ctx, q)
		if err == nil {
			return rule, nil
		}
		why := ReasonForbidden
		e, ok := errors.AsType[*Error](err)
		if ok {
			why = e.Reason
		}
		if !errors.Is(KindOf(err), ErrForbidden) {
			faults = append(faults, err)
			continue
		}
		if len(noes) > 0 && why != reason {
			why = ReasonForbidden
		}
		reason = why
		noes = append(noes, err)
	}
	if len(faults) > 0 {
		return "", &Error{
			Kind: ErrUnavailable, Reason: ReasonAuthorizerUnavailable, By: a.name,
			Err: fmt.Errorf("%s: none allows, and %d cannot say: %w", a.name, len(faults), hideKinds(faults)),
		}
	}
	return "", &Error{Kind: ErrForbidden, Reason: reason, By: a.name, Err: fmt.Errorf("%s: none allows: %w", a.name, hideKinds(noes))}
}

// hideKinds returns the errors' texts in one line: their kinds are not those of the whole.
func hideKinds(errs []error) error {
	text := ""
	for i, err := range errs {
		if i > 0 {
			text += "; "
		}
		text += err.Error()
	}
	return errors.New(text)
}

// Retain implements [Retainer]: what all of them retain, in one. It can be asked again if each of them can.
func (a *Any) Retain(r *Request) (kept *Request, again bool) {
	for _, one := range a.of {
		v, ok := one.(Retainer)
		if !ok {
			continue
		}
		k, again := v.Retain(r)
		if !again {
			return nil, false
		}
		kept = merge(kept, k)
	}
	return kept, true
}

// SubprotocolPrefixes returns those of all of them, behind which a subprotocol is a signed value.
func (a *Any) SubprotocolPrefixes() [][]byte {
	var all [][]byte
	for _, one := range a.of {
		if v, ok := one.(interface{ SubprotocolPrefixes() [][]byte }); ok {
			all = append(all, v.SubprotocolPrefixes()...)
		}
	}
	return all
}

// merge returns a request with what a or b has. What both have is the same, since it is of one request.
func merge(a, b *Request) *Request {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	m := *a
	for _, f := range [...]struct {
		to   *[]byte
		from []byte
	}{
		{&m.Path, b.Path}, {&m.Host, b.Host}, {&m.Origin, b.Origin}, {&m.Authorization, b.Authorization},
	} {
		if *f.to == nil {
			*f.to = f.from
		}
	}
	m.HasOrigin = a.HasOrigin || b.HasOrigin
	m.HasAuthorization = a.HasAuthorization || b.HasAuthorization
	m.TLS = a.TLS || b.TLS
	m.Route = cmp.Or(a.Route, b.Route)
	if !m.Remote.IsValid() {
		m.Remote = b.Remote
	}
	// Of these each may have kept a part of its own.
	m.RawQuery, m.Cookie = both(a.RawQuery, b.RawQuery, "&"), both(a.Cookie, b.Cookie, "; ")
	m.Protocols = slices.Clone(a.Protocols)
	for _, p := range b.Protocols {
		if !slices.ContainsFunc(m.Protocols, func(q []byte) bool { return bytes.Equal(p, q) }) {
			m.Protocols = append(m.Protocols, p)
		}
	}
	m.Header = mergeFields(a.Header, b.Header)
	return &m
}

// both returns what a and b have, with sep between. What comes twice then is the same.
func both(a, b []byte, sep string) []byte {
	switch {
	case len(b) == 0 || bytes.Equal(a, b):
		return a
	case len(a) == 0:
		return b
	}
	return slices.Concat(a, []byte(sep), b)
}

// mergeFields returns a, and of b the fields whose names a does not have.
func mergeFields(a, b []HeaderField) []HeaderField {
	all := slices.Clone(a)
	for _, f := range b {
		if !slices.ContainsFunc(a, func(g HeaderField) bool { return equalFold(g.Name, string(f.Name)) }) {
			all = append(all, f)
		}
	}
	return all
}

// Check asks each of them what keeps it from answering. It blocks as Authorize does.
func (a *Any) Check(ctx context.Context) error {
	var errs []error
	for _, one := range a.of {
		errs = append(errs, check(ctx, one))
	}
	return errors.Join(errs...)
}
