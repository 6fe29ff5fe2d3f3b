package gateway

import (
	"slices"
	"strings"
	"testing"
)

func mustPattern(t *testing.T, s string) pattern {
	t.Helper()
	p, err := parsePattern(s)
	if err != nil {
		t.Fatalf("pattern %q: %v", s, err)
	}
	return p
}

func TestParsePatternErrors(t *testing.T) {
	for _, c := range []struct{ pattern, want string }{
		{"", "begins with a slash"},
		{"ws", "begins with a slash"},
		{"GET /ws", "begins with a slash"},
		{"/a//b", "empty segment"},
		{"//", "empty segment"},
		{"/a?b", `cannot have '?'`},
		{"/a#b", `cannot have '#'`},
		{"/a%20b", `cannot have '%'`},
		{"/a b", `cannot have ' '`},
		{"/a\x7f", `cannot have`},
		{"/app_{group}", "takes a whole segment"},
		{"/{group", "takes a whole segment"},
		{"/group}", "takes a whole segment"},
		{"/{{group}}", "takes a whole segment"},
		{"/{}", "cannot be a parameter's name"},
		{"/{$}", "cannot be a parameter's name"},
		{"/{...}", "cannot be a parameter's name"},
		{"/{1st}", "cannot be a parameter's name"},
		{"/{group.id}", "cannot be a parameter's name"},
		{"/{a...}/b", "must be the last"},
		{"/{a}/{a}", `two parameters are called "a"`},
		{"/{a}/{a...}", `two parameters are called "a"`},
	} {
		if _, err := parsePattern(c.pattern); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want an error with %q", c.pattern, err, c.want)
		}
	}
}

func TestPatternMatch(t *testing.T) {
	no := []string{"no match"}
	for _, c := range []struct {
		pattern, path string
		want          []string // values; no: none
	}{
		{"/", "/", nil},
		{"/", "//", no},
		{"/", "/a", no},
		{"/ws", "/ws", nil},
		{"/ws", "/ws/", nil},
		{"/ws/", "/ws", nil},
		{"/ws", "/ws//", no},
		{"/ws", "/WS", no},
		{"/ws", "/w", no},
		{"/ws", "/%77s", nil},
		{"/café", "/caf%C3%A9", nil},
		{"/ws/{group}", "/ws/app_1234", []string{"app_1234"}},
		{"/ws/{group}", "/ws/app_1234/", []string{"app_1234"}},
		{"/ws/{group}/", "/ws/app_1234", []string{"app_1234"}},
		{"/ws/{group}", "/ws/app%5f1234", []string{"app_1234"}},
		{"/ws/{group}", "/ws/%25", []string{"%"}},
		{"/ws/{group}", "/ws/a+b", []string{"a+b"}},
		{"/ws/{group}", "/ws/..", []string{".."}},
		{"/ws/{group}", "/ws/", no},
		{"/ws/{group}", "/ws//", no},
		{"/ws/{group}", "/ws/a/b", no},
		{"/ws/{group}", "//ws/a", no},
		{"/{a}/x/{b}", "/1/x/2", []string{"1", "2"}},
		{"/{a}/x/{b}", "/1/y/2", no},
		{"/f/{rest...}", "/f", []string{""}},
		{"/f/{rest...}", "/f/", []string{""}},
		{"/f/{rest...}", "/f/a", []string{"a"}},
		{"/f/{rest...}", "/f/a/b/", []string{"a/b"}},
		{"/f/{rest...}", "/f/a//b", []string{"a//b"}},
		{"/f/{rest...}", "/f/a%20b/c", []string{"a b/c"}},
		{"/f/{rest...}", "/g/a", no},
		{"/{rest...}", "/", []string{""}},
		{"/{rest...}", "/a/b", []string{"a/b"}},
	} {
		p := mustPattern(t, c.pattern)
		path, err := splitPath(nil, []byte(c.path))
		if err != nil {
			t.Errorf("%q: %v", c.path, err)
			continue
		}
		got := no
		if p.match(path) {
			got = p.values(nil, path)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q on %q gives %q, want %q", c.pattern, c.path, got, c.want)
		}
	}
}

func TestSplitPathRefuses(t *testing.T) {
	for _, path := range []string{"/a%2fb", "/a%2Fb", "/%00", "/a/b%00/c"} {
		if _, err := splitPath(nil, []byte(path)); !isReason(err, errPathByte) {
			t.Errorf("%q: got %v, want %v", path, err, errPathByte)
		}
	}
}

func TestPatternRelate(t *testing.T) {
	opposite := map[relation]relation{disjoint: disjoint, same: same, narrower: wider, wider: narrower, crossing: crossing}
	for _, c := range []struct {
		p, q string
		want relation
	}{
		{"/", "/", same},
		{"/a", "/a/", same},
		{"/a", "/b", disjoint},
		{"/a", "/a/b", disjoint},
		{"/{x}", "/{y}", same},
		{"/a", "/{x}", narrower},
		{"/{x}", "/{x}/{y}", disjoint},
		{"/a/{x}", "/{x}/b", crossing},
		{"/a/{x}", "/{x}/{y}", narrower},
		{"/a/{x}", "/b/{x}", disjoint},
		{"/{x...}", "/{y...}", same},
		{"/", "/{x...}", narrower},
		{"/a", "/{x...}", narrower},
		{"/a", "/a/{x...}", narrower},
		{"/a/b/c", "/a/{x...}", narrower},
		{"/{x}", "/a/{y...}", crossing},
		{"/b", "/a/{y...}", disjoint},
		{"/{x}/b", "/a/{y...}", crossing},
		{"/a/{x...}", "/{x...}", narrower},
		{"/{a}/{x...}", "/{x...}", narrower},
	} {
		p, q := mustPattern(t, c.p), mustPattern(t, c.q)
		if got := p.relate(&q); got != c.want {
			t.Errorf("%q to %q is %d, want %d", c.p, c.q, got, c.want)
		}
		if got := q.relate(&p); got != opposite[c.want] {
			t.Errorf("%q to %q is %d, want %d", c.q, c.p, got, opposite[c.want])
		}
	}
}

// What relate says of two patterns must be true of every path, and compare must sort by it.
func TestPatternRelateIsTrue(t *testing.T) {
	segments := []string{"a", "b", "{x}", "{x...}"}
	var patterns []pattern
	for _, s := range segments {
		patterns = append(patterns, mustPattern(t, "/"+s))
		for _, u := range segments {
			u = strings.ReplaceAll(u, "x", "y")
			if s != "{x...}" {
				patterns = append(patterns, mustPattern(t, "/"+s+"/"+u))
			}
		}
	}
	patterns = append(patterns, mustPattern(t, "/"))
	var paths [][][]byte
	for _, s := range []string{"/", "/a", "/b", "/c", "/a/a", "/a/b", "/a/c", "/b/a", "/b/b", "/b/c", "/c/a", "/c/b", "/c/c", "/a/a/a", "/b/c/d", "/c/c/c"} {
		path, _ := splitPath(nil, []byte(s))
		paths = append(paths, path)
	}
	for _, p := range patterns {
		for _, q := range patterns {
			var both, onlyP, onlyQ bool
			for _, path := range paths {
				inP, inQ := p.match(path), q.match(path)
				both, onlyP, onlyQ = both || inP && inQ, onlyP || inP && !inQ, onlyQ || inQ && !inP
			}
			var want relation
			switch {
			case !both:
				want = disjoint
			case !onlyP && !onlyQ:
				want = same
			case !onlyP:
				want = narrower
			case !onlyQ:
				want = wider
			default:
				want = crossing
			}
			if got := p.relate(&q); got != want {
				t.Errorf("%q to %q is %d, want %d", p.text, q.text, got, want)
			}
			if c := p.compare(&q); want == narrower && c >= 0 || want == wider && c <= 0 {
				t.Errorf("%q and %q are sorted wrongly", p.text, q.text)
			}
		}
	}
}
