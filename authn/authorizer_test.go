package authn

import (
	"testing"

	"github.com/fairlead-ws/fairlead/session"
)

func TestGrants(t *testing.T) {
	for _, c := range []struct {
		grants  []string
		yes, no []string
	}{
		{nil, nil, []string{"a", "app_1"}},
		{[]string{"app_1"}, []string{"app_1"}, []string{"app_12", "app_", "App_1", "xapp_1"}},
		{[]string{"app_*"}, []string{"app_1", "app_", "app_1_2"}, []string{"app", "apple", "xapp_1"}},
		{[]string{"x", "app_1", "y"}, []string{"app_1", "x", "y"}, []string{"z"}},
		{[]string{"*"}, []string{"a", "app_1"}, nil},
		{[]string{"a*b", "*x", "**", "a.*.c"}, nil, []string{"ab", "axb", "x", "a", "a.b.c"}},
		{[]string{"", "a.b"}, []string{"a.b"}, []string{"a", "axb"}},
	} {
		a := NewGrants("")
		id := &session.Identity{Subject: "1", Grants: c.grants}
		for _, name := range c.yes {
			if err := authorize(t.Context(), a, id, must(session.ParseGroup(name)), nil); err != nil {
				t.Errorf("%q, group %s: %v", c.grants, name, err)
			}
		}
		for _, name := range c.no {
			err := authorize(t.Context(), a, id, must(session.ParseGroup(name)), nil)
			wantRefusal(t, err, ErrForbidden, ReasonForbidden)
		}
	}
	err := authorize(t.Context(), NewGrants(""), session.Anonymous(), must(session.ParseGroup("a")), nil)
	wantRefusal(t, err, ErrForbidden, ReasonForbidden)
}

func TestParamsGet(t *testing.T) {
	p := Params{{"group", "app_1"}, {"group.id", "1"}, {"empty", ""}}
	for name, want := range map[string]string{"group": "app_1", "group.id": "1", "empty": ""} {
		if got, ok := p.Get(name); got != want || !ok {
			t.Errorf("Get(%q) = %q, %v", name, got, ok)
		}
	}
	if got, ok := p.Get("Group"); ok {
		t.Errorf("Get(Group) = %q", got)
	}
}
