package session

import (
	"errors"
	"strings"
	"testing"
)

func TestParseGroup(t *testing.T) {
	for _, name := range []string{
		"a", "app_1234", "A-Z.0_9", "...", "---", "___", "_", strings.Repeat("x", 99),
	} {
		g, err := ParseGroup(name)
		if err != nil || g.String() != name || g.IsZero() {
			t.Errorf("ParseGroup(%q) = %q, %v", name, g, err)
		}
		var u Group
		if err := u.UnmarshalText([]byte(name)); err != nil || u != g {
			t.Errorf("UnmarshalText(%q) = %q, %v", name, u, err)
		}
		if b, err := g.MarshalText(); err != nil || string(b) != name {
			t.Errorf("MarshalText() of %q = %q, %v", name, b, err)
		}
	}
	for name, bad := range map[string]string{
		"empty":          "",
		"too long":       strings.Repeat("x", 100),
		"NATS wildcard":  "app_*",
		"NATS tail":      "app.>",
		"space":          "app 1",
		"tilde":          "app~1",
		"slash":          "app/1",
		"percent":        "app%31",
		"line end":       "app\n",
		"NUL":            "app\x00",
		"DEL":            "app\x7f",
		"letter, not AZ": "zoë",
		"fullwidth dot":  "a．b",
		"not UTF-8":      "a\xff",
		"colon":          "a:b",
		"at sign":        "a@b",
		"backtick":       "a`b",
		"bracket":        "a[b",
		"brace":          "a{b",
	} {
		g, err := ParseGroup(bad)
		if !errors.Is(err, ErrGroup) || !g.IsZero() {
			t.Errorf("%s: ParseGroup(%q) = %q, %v; want the zero Group and ErrGroup", name, bad, g, err)
		}
		kept := Group{name: "kept"}
		if err := kept.UnmarshalText([]byte(bad)); !errors.Is(err, ErrGroup) || kept.name != "kept" {
			t.Errorf("%s: UnmarshalText(%q) = %v, and the group is %q; want ErrGroup and the group as it was", name, bad, err, kept)
		}
	}
}

func TestParseGroupSaysWhatIsWrong(t *testing.T) {
	for bad, want := range map[string]string{
		"":                       "it is empty",
		strings.Repeat("x", 100): "it has 100 bytes; want at most 99",
		"app\n":                  `"app\n" has '\n'; want only`,
	} {
		if _, err := ParseGroup(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseGroup(%q): %v, want it to say %q", bad, err, want)
		}
	}
}

func TestGroupSplit(t *testing.T) {
	for name, want := range map[string]struct {
		category, id string
		ok           bool
	}{
		"app_1234":      {"app", "1234", true},
		"my_app_1234":   {"my_app", "1234", true},
		"a__b":          {"a_", "b", true},
		"app.x_1-2":     {"app.x", "1-2", true},
		"app":           {},
		"_1234":         {},
		"app_":          {},
		"_":             {},
		"app_1234_":     {},
		"__1":           {"_", "1", true},
		"news.sport-uk": {},
	} {
		g, err := ParseGroup(name)
		if err != nil {
			t.Fatal(err)
		}
		category, id, ok := g.Split()
		if category != want.category || id != want.id || ok != want.ok {
			t.Errorf("Split() of %q = %q, %q, %v; want %+v", name, category, id, ok, want)
		}
	}
}

// FuzzParseGroup holds the promise that package bus builds on: no accepted name has a byte that means something in a
// NATS subject but the dot, which the bus rewrites.
func FuzzParseGroup(f *testing.F) {
	for _, s := range []string{"", "app_1234", "a.b-c_D9", "a*", ">", "a b", "a\tb", "a\x00", "zoë", "a~b", "\xff", strings.Repeat("x", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGroup(s)
		if err != nil {
			if !errors.Is(err, ErrGroup) || !g.IsZero() {
				t.Fatalf("ParseGroup(%q) = %q, %v; want the zero Group and ErrGroup", s, g, err)
			}
			return
		}
		if g.String() != s || len(s) == 0 || len(s) > MaxGroupName {
			t.Fatalf("ParseGroup(%q) = %q", s, g)
		}
		const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
		if i := strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(allowed, r) }); i >= 0 {
			t.Fatalf("ParseGroup accepted %q, which has %q", s, s[i])
		}
		if category, id, ok := g.Split(); ok && category+"_"+id != s {
			t.Fatalf("Split() of %q = %q, %q", s, category, id)
		}
	})
}
