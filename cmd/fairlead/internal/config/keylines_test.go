package config

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestKeyLines(t *testing.T) {
	text := strings.Join([]string{
		`# a = 1`,                       // 1
		`a = "[x]" # c`,                 // 2
		`[b] # [c]`,                     // 3
		`d.e = '''`,                     // 4
		`f = 1`,                         // 5
		`'''`,                           // 6
		`"g h" = """q\""""""`,           // 7
		`[[r]]`,                         // 8
		`c = [`,                         // 9
		`  { f = "}", v = [1, 2] }, #]`, // 10
		`  { f = 'x,' },`,               // 11
		`]`,                             // 12
		`[[r.s]]`,                       // 13
		`t = 1979-05-27T07:32:00Z`,      // 14
		`[r.u]`,                         // 15
		`w = {}`,                        // 16
		`[[r]]`,                         // 17
		`c = 2`,                         // 18
	}, "\n")
	want := map[string]int{
		"a": 2, "b": 3, "b.d": 4, "b.d.e": 4, "b.g h": 7, "r": 8, "r[0]": 8, "r[0].c": 9, "r[0].c[0]": 10, "r[0].c[0].f": 10,
		"r[0].c[0].v": 10, "r[0].c[0].v[0]": 10, "r[0].c[0].v[1]": 10, "r[0].c[1]": 11, "r[0].c[1].f": 11, "r[0].s": 13, "r[0].s[0]": 13,
		"r[0].s[0].t": 14, "r[0].u": 15, "r[0].u.w": 16, "r[1]": 17, "r[1].c": 18,
	}
	if _, err := toml.Decode(text, &map[string]any{}); err != nil {
		t.Fatalf("the test's text is no TOML: %v", err)
	}
	got := keyLines(text)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if crlf := keyLines(strings.ReplaceAll(text, "\n", "\r\n")); !maps.Equal(crlf, want) {
		t.Errorf("with CR LF: %v", crlf)
	}
}

// FuzzKeyLines checks that every text is read to its end, and that each key of a TOML text has a line of the text.
func FuzzKeyLines(f *testing.F) {
	f.Add(exampleText)
	f.Add(jwtConfig)
	f.Add("a = '''\n'\n''''\nb = 1")
	f.Add("[a.\"b\\\"c\"]\nd = [[1], [ { e = 2 } ]]")
	f.Add("[[[=]]] = {{,,\"")
	f.Add("a = [" + strings.Repeat("[", 100))
	f.Fuzz(func(t *testing.T, text string) {
		lines := keyLines(text)
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil || strings.ContainsAny(text, "\\[]\"'\r") {
			return // no TOML, or keys that paths write in another way
		}
		for key := range tree {
			if n := lines[key]; n < 1 || n > strings.Count(text, "\n")+1 {
				t.Errorf("the line of %q is %d in %q", key, n, text)
			}
		}
	})
}

func TestNearest(t *testing.T) {
	keys := []string{"ping_interval", "pong_timeout", "write_timeout", "url", "user"}
	for in, want := range map[string]string{
		"ping_intervall": "ping_interval", "pnig_interval": "ping_interval", "pingInterval": "ping_interval", "timeout": "pong_timeout",
		"ulr": "url", "u": "", "xyz": "", "": "", "writetimeout": "write_timeout", "usr": "user",
	} {
		if got := nearest(in, keys); got != want {
			t.Errorf("nearest(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"abc", "abd", 1},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3},
	} {
		if got := editDistance(tt.a, tt.b); got != tt.want {
			t.Errorf("editDistance(%q, %q) is %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
