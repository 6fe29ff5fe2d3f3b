package authn

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/session"
)

type authorizeFunc func(context.Context, *Question) (string, error)

func (f authorizeFunc) Authorize(ctx context.Context, q *Question) (string, error) { return f(ctx, q) }

func saying(rule string, err error) Authorizer {
	return authorizeFunc(func(context.Context, *Question) (string, error) { return rule, err })
}

func TestAny(t *testing.T) {
	yes := saying("yes", nil)
	no := saying("", &Error{Kind: ErrForbidden, Reason: ReasonForbidden, By: "no", Err: errors.New("no row")})
	bad := saying("", &Error{Kind: ErrForbidden, Reason: ReasonBadParameter, By: "bad"})
	bare := saying("", ErrForbidden)
	down := saying("", &Error{Kind: ErrUnavailable, Reason: ReasonAuthorizerUnavailable, By: "down", Err: errors.New("no answer")})
	shut := saying("", &Error{Kind: ErrUnavailable, Reason: ReasonAuthorizerUnavailable, By: "shut", Err: ErrForbidden})
	odd := saying("", errors.New("odd"))
	rejected := saying("", &Error{Kind: ErrRejected, Reason: ReasonMalformed}) // not an authorizer's word
	never := authorizeFunc(func(context.Context, *Question) (string, error) {
		t.Error("it is asked behind one who allows")
		return "", nil
	})
	for name, tt := range map[string]struct {
		of     []Authorizer
		kind   error
		reason Reason
		text   string
	}{
		"yes":            {[]Authorizer{yes, never}, nil, "", ""},
		"no yes":         {[]Authorizer{no, yes, never}, nil, "", ""},
		"down yes":       {[]Authorizer{down, odd, yes}, nil, "", ""},
		"no":             {[]Authorizer{no}, ErrForbidden, ReasonForbidden, "no row"},
		"no bad":         {[]Authorizer{no, bad}, ErrForbidden, ReasonForbidden, "no row"},
		"bad no":         {[]Authorizer{bad, no}, ErrForbidden, ReasonForbidden, "no row"},
		"bad bad":        {[]Authorizer{bad, bad}, ErrForbidden, ReasonBadParameter, "bad_parameter"},
		"bare":           {[]Authorizer{bare}, ErrForbidden, ReasonForbidden, "forbidden"},
		"no down":        {[]Authorizer{no, down}, ErrUnavailable, ReasonAuthorizerUnavailable, "no answer"},
		"down no":        {[]Authorizer{down, no}, ErrUnavailable, ReasonAuthorizerUnavailable, "no answer"},
		"no shut":        {[]Authorizer{no, shut}, ErrUnavailable, ReasonAuthorizerUnavailable, "unavailable"},
		"a fault":        {[]Authorizer{no, odd}, ErrUnavailable, ReasonAuthorizerUnavailable, "odd"},
		"an odd refusal": {[]Authorizer{rejected}, ErrUnavailable, ReasonAuthorizerUnavailable, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			rule, err := must(NewAny("either", tt.of...)).Authorize(t.Context(), &Question{Identity: session.Anonymous()})
			if tt.kind == nil {
				if err != nil || rule != "yes" {
					t.Errorf("got %q, %v", rule, err)
				}
				return
			}
			wantRefusal(t, err, tt.kind, tt.reason)
			if e, _ := errors.AsType[*Error](err); e.By != "either" || rule != "" || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%q by %q: %v", rule, e.By, err)
			}
			for _, other := range []error{ErrForbidden, ErrUnavailable, ErrRejected} {
				if !errors.Is(tt.kind, other) && errors.Is(err, other) {
					t.Errorf("it is %v as well", other)
				}
			}
		})
	}
	for name, of := range map[string][]Authorizer{"nobody": nil, "nil": {yes, nil}} {
		if _, err := NewAny("", of...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// asks is an authorizer that retains what it is told to.
type asks struct {
	Authorizer
	kept  *Request
	again bool
}

func (a asks) Retain(*Request) (*Request, bool) { return a.kept, a.again }

func (a asks) Check(context.Context) error {
	if a.again {
		return nil
	}
	return errors.New("no table")
}

func TestAnyRetains(t *testing.T) {
	yes := saying("yes", nil)
	field := func(name, value string) HeaderField { return HeaderField{[]byte(name), []byte(value)} }
	one := &Request{Path: []byte("/p"), RawQuery: []byte("q"), Header: []HeaderField{field("Cookie", "c"), field("A", "1"), field("A", "2")}, TLS: true}
	two := &Request{
		Host: []byte("h"), Origin: []byte("o"), HasOrigin: true, Authorization: []byte("a"), HasAuthorization: true, Cookie: []byte("c"), Route: "/{p}",
		Header: []HeaderField{field("a", "1"), field("a", "2"), field("B", "3")}, Protocols: [][]byte{[]byte("p")},
	}
	all := must(NewAny("", yes, asks{yes, one, true}, asks{yes, nil, true}, asks{yes, two, true}))
	r, again := all.Retain(&Request{})
	if !again || string(r.Path) != "/p" || string(r.RawQuery) != "q" || string(r.Host) != "h" || string(r.Origin) != "o" || !r.HasOrigin ||
		string(r.Authorization) != "a" || !r.HasAuthorization || string(r.Cookie) != "c" || !r.TLS || r.Route != "/{p}" || len(r.Protocols) != 1 {
		t.Errorf("got %+v, %v", r, again)
	}
	names := ""
	for _, f := range r.Header {
		names += string(f.Name) + string(f.Value)
	}
	if names != "CookiecA1A2B3" {
		t.Errorf("the fields are %s", names)
	}
	if len(one.Header) != 3 || one.Host != nil {
		t.Error("what one of them retained was changed")
	}
	if r, again := must(NewAny("", yes)).Retain(&Request{}); r != nil || !again {
		t.Errorf("nobody retains anything, and it is %v, %v", r, again)
	}
	if _, again := must(NewAny("", asks{yes, one, true}, asks{yes, nil, false})).Retain(&Request{}); again {
		t.Error("one of them cannot be asked again")
	}
	if err := all.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := must(NewAny("", yes, asks{yes, nil, false})).Check(t.Context()); err == nil {
		t.Error("what keeps one from answering is not said")
	}
}
