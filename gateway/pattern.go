package gateway

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// pattern is a route's path: segments with slashes before them, as in the patterns of net/http.ServeMux. A segment is a
// literal, {name} for any one segment that is not empty, or at the end {name...} for all that follow, also none. A slash at
// the end changes nothing, neither in a pattern nor in a path.
type pattern struct {
	text     string
	segments []segment
	params   []string // names in order
}

type segment struct {
	kind segmentKind
	text string // the literal, or the parameter's name
}

// segmentKind sorts what matches less before what matches more.
type segmentKind uint8

const (
	literal segmentKind = iota
	single
	tail
)

// parsePattern checks a pattern. What it says in an error is for the person who wrote the configuration.
func parsePattern(s string) (pattern, error) {
	p := pattern{text: s}
	if !strings.HasPrefix(s, "/") {
		return p, errors.New("a path begins with a slash")
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("?#%", r) }); i >= 0 {
		return p, fmt.Errorf("a path cannot have %q: write characters as themselves, without percent-encoding or a query", s[i])
	}
	if s == "/" {
		return p, nil
	}
	texts := strings.Split(strings.TrimSuffix(s[1:], "/"), "/")
	for i, text := range texts {
		seg, err := parseSegment(text)
		if err != nil {
			return p, err
		}
		if seg.kind == tail && i < len(texts)-1 {
			return p, fmt.Errorf("%s takes all that follows: it must be the last segment", text)
		}
		if seg.kind != literal {
			for _, name := range p.params {
				if name == seg.text {
					return p, fmt.Errorf("two parameters are called %q", name)
				}
			}
			p.params = append(p.params, seg.text)
		}
		p.segments = append(p.segments, seg)
	}
	return p, nil
}

func parseSegment(text string) (segment, error) {
	if text == "" {
		return segment{}, errors.New("a path cannot have an empty segment")
	}
	if !strings.ContainsAny(text, "{}") {
		return segment{literal, text}, nil
	}
	name, ok1 := strings.CutPrefix(text, "{")
	name, ok2 := strings.CutSuffix(name, "}")
	if !ok1 || !ok2 || strings.ContainsAny(name, "{}") {
		return segment{}, fmt.Errorf("%q mixes text and a parameter: a parameter takes a whole segment, as in {name}", text)
	}
	kind := single
	if rest, ok := strings.CutSuffix(name, "..."); ok {
		name, kind = rest, tail
	}
	if !isName(name) {
		return segment{}, fmt.Errorf("%q cannot be a parameter's name: want letters, digits and underscores", name)
	}
	return segment{kind, name}, nil
}

// isName reports whether s is a letter or an underscore with letters, digits and underscores behind it.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && ('a' > c|0x20 || c|0x20 > 'z') && (i == 0 || !isDigit(c)) {
			return false
		}
	}
	return s != ""
}

// relation says how the paths that one pattern matches stand to those of another.
type relation uint8

const (
	disjoint relation = iota
	same
	narrower // fewer than the other
	wider    // more than the other
	crossing // some of the other's, and some that are not
)

// relate compares p with q.
func (p *pattern) relate(q *pattern) relation {
	r := same
	for i := 0; ; i++ {
		pEnd, qEnd := i == len(p.segments), i == len(q.segments)
		switch {
		case pEnd && qEnd:
			return r
		case pEnd:
			if q.segments[i].kind != tail {
				return disjoint
			}
			return r.and(narrower)
		case qEnd:
			if p.segments[i].kind != tail {
				return disjoint
			}
			return r.and(wider)
		}
		a, b := p.segments[i], q.segments[i]
		switch {
		case a.kind == tail && b.kind == tail:
			return r
		case a.kind == tail:
			return r.and(wider)
		case b.kind == tail:
			return r.and(narrower)
		case a.kind == literal && b.kind == literal:
			if a.text != b.text {
				return disjoint
			}
		case a.kind == literal:
			r = r.and(narrower)
		case b.kind == literal:
			r = r.and(wider)
		}
	}
}

// and combines what the segments up to here say with what the next one says.
func (r relation) and(next relation) relation {
	if r == same || r == next {
		return next
	}
	return crossing
}

// compare sorts narrower patterns before wider ones: of two patterns that are not disjoint, the one whose kind of segment
// matches less, at the first where they differ. It is an order on patterns of which no two cross.
func (p *pattern) compare(q *pattern) int {
	for i := range min(len(p.segments), len(q.segments)) {
		if c := cmp.Compare(p.segments[i].kind, q.segments[i].kind); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(p.segments), len(q.segments))
}

// match reports whether p matches a path that was split.
func (p *pattern) match(path [][]byte) bool {
	for i, s := range p.segments {
		if s.kind == tail {
			return true
		}
		if i == len(path) || s.kind == single && len(path[i]) == 0 || s.kind == literal && s.text != string(path[i]) {
			return false
		}
	}
	return len(path) == len(p.segments)
}

// values appends the parameters' values in a path that p matches.
func (p *pattern) values(dst []string, path [][]byte) []string {
	for i, s := range p.segments {
		switch s.kind {
		case single:
			dst = append(dst, string(path[i]))
		case tail:
			dst = append(dst, string(bytes.Join(path[i:], []byte("/"))))
		}
	}
	return dst
}

// splitPath appends the decoded segments of path, which begins with a slash and whose escapes are well-formed. A slash at
// the end makes no segment. A segment is a part of path where it has no escape.
// The error is errPathByte: an encoded slash would make two segments of one, and a NUL ends texts elsewhere.
func splitPath(dst [][]byte, path []byte) ([][]byte, error) {
	path = path[1:]
	if n := len(path); n > 0 && path[n-1] == '/' {
		path = path[:n-1]
	} else if n == 0 {
		return dst, nil
	}
	for more := true; more; {
		var s []byte
		s, path, more = bytes.Cut(path, []byte("/"))
		if bytes.IndexByte(s, '%') >= 0 {
			if s = unescape(s); bytes.IndexByte(s, '/') >= 0 || bytes.IndexByte(s, 0) >= 0 {
				return dst, errPathByte
			}
		}
		dst = append(dst, s)
	}
	return dst, nil
}

// unescape returns a copy of s with its escapes, which are well-formed, decoded.
func unescape(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		out = append(out, c)
	}
	return out
}

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
