package bus

import (
	"errors"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/session"
)

func mustGroup(t testing.TB, name string) session.Group {
	t.Helper()
	g, err := session.ParseGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestParseCluster(t *testing.T) {
	for _, s := range []string{"a", "fairlead", "Prod-2_eu", strings.Repeat("x", 32)} {
		if c, err := ParseCluster(s); err != nil || c.String() != s {
			t.Errorf("ParseCluster(%q) = %q, %v", s, c, err)
		}
	}
	for _, s := range []string{"", "a.b", "*", ">", "a b", "a~b", "ä", "a\n", strings.Repeat("x", 33)} {
		if c, err := ParseCluster(s); !errors.Is(err, ErrCluster) {
			t.Errorf("ParseCluster(%q) = %q, %v, want ErrCluster", s, c, err)
		}
	}
	if c, err := ParseCluster("fairlead"); err != nil || c != (Cluster{}) {
		t.Errorf(`ParseCluster("fairlead") = %v, %v: it is not the zero Cluster`, c, err)
	}
}

func TestSubject(t *testing.T) {
	prod, err := ParseCluster("prod")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cluster       Cluster
		group, expect string
	}{
		{Cluster{}, "app_1234", "fl.fairlead.g.app_1234"},
		{prod, "app.1", "fl.prod.g.app~1"},
		{prod, "...", "fl.prod.g.~~~"},
		{prod, "a-b_C.9", "fl.prod.g.a-b_C~9"},
	} {
		g := mustGroup(t, c.group)
		s := Subject(c.cluster, g)
		if s != c.expect {
			t.Errorf("Subject(%v, %v) = %q, want %q", c.cluster, g, s, c.expect)
		}
		if back, err := parseSubject(subjectPrefix(c.cluster), s); err != nil || back != g {
			t.Errorf("parseSubject(%q) = %v, %v, want %v", s, back, err, g)
		}
	}
	if s := Subject(prod, session.Group{}); s != "" {
		t.Errorf("the zero Group has the subject %q", s)
	}
}

func FuzzParseSubject(f *testing.F) {
	for _, s := range []string{
		"fl.fairlead.g.app_1", "fl.fairlead.g.a~b", "fl.fairlead.g.", "fl.fairlead.g.a.b", "fl.fairlead.g.*", "fl.fairlead.g.>",
		"fl.other.g.a", "fl.fairlead.h.a", "", "fl.fairlead.g", "fl.fairlead.g.ä", "fl.fairlead.g." + strings.Repeat("a", 100),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := parseSubject(subjectPrefix(Cluster{}), s)
		if err != nil {
			if !g.IsZero() {
				t.Errorf("parseSubject(%q) = %v with the error %v", s, g, err)
			}
			return
		}
		if back := Subject(Cluster{}, g); back != s {
			t.Errorf("%q names %v, whose subject is %q", s, g, back)
		}
	})
}
