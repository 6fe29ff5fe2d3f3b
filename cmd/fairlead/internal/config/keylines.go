package config

import (
	"strconv"
	"strings"
)

// keyLines returns the line, from 1, of each key and table header in a TOML text, by path ("route[0].credential[1].from").
// The TOML library knows lines only for its own errors. The text must have been parsed before: in a text that is no
// TOML the lines are meaningless, but the function still ends.
func keyLines(text string) map[string]int {
	s := &keyScanner{text: text, line: 1, lines: map[string]int{}, tables: map[string]int{}}
	s.document()
	return s.lines
}

// maxNesting bounds the recursion; deeper keys have no line.
const maxNesting = 64

type keyScanner struct {
	text   string
	pos    int
	line   int
	lines  map[string]int
	tables map[string]int // how many entries the array of tables at a path has
}

func (s *keyScanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *keyScanner) has(prefix string) bool { return strings.HasPrefix(s.text[s.pos:], prefix) }

func (s *keyScanner) next() {
	if s.peek() == '\n' {
		s.line++
	}
	s.pos++
}

// blank skips white space, line breaks and comments.
func (s *keyScanner) blank() {
	for s.pos < len(s.text) {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.next()
		case '#':
			for s.pos < len(s.text) && s.peek() != '\n' {
				s.pos++
			}
		default:
			return
		}
	}
}

func (s *keyScanner) document() {
	prefix := ""
	for s.blank(); s.pos < len(s.text); s.blank() {
		if s.peek() != '[' {
			s.pair(prefix, 0)
			continue
		}
		line, array := s.line, s.has("[[")
		s.pos++
		if array {
			s.pos++
		}
		parts := s.key()
		prefix = s.path("", parts[:len(parts)-1])
		prefix = join(prefix, parts[len(parts)-1])
		if array {
			if s.tables[prefix]++; s.tables[prefix] == 1 {
				s.lines[prefix] = line // where the list begins
			}
			prefix += index(s.tables[prefix] - 1)
		}
		s.lines[prefix] = line
		for s.peek() == ']' {
			s.pos++
		}
	}
}

// path adds parts to prefix; a part that is an array of tables means its last entry.
func (s *keyScanner) path(prefix string, parts []string) string {
	for _, p := range parts {
		prefix = join(prefix, p)
		if n := s.tables[prefix]; n > 0 {
			prefix += index(n - 1)
		}
	}
	return prefix
}

// pair reads KEY = VALUE. It always goes forward.
func (s *keyScanner) pair(prefix string, depth int) {
	line := s.line
	for _, part := range s.key() {
		prefix = join(prefix, part)
		if _, known := s.lines[prefix]; !known {
			s.lines[prefix] = line
		}
	}
	if s.blank(); s.peek() == '=' {
		s.pos++
	}
	s.value(prefix, depth)
}

// key reads a dotted key up to what follows it, and returns at least one part. It always goes forward.
func (s *keyScanner) key() []string {
	var parts []string
	for {
		s.blank()
		start := s.pos
		switch s.peek() {
		case '"', '\'':
			parts = append(parts, s.quoted())
		default:
			for s.pos < len(s.text) && !strings.ContainsRune(" \t\r\n.=[]{},#\"'", rune(s.peek())) {
				s.pos++
			}
			parts = append(parts, s.text[start:s.pos])
		}
		if s.pos == start && s.pos < len(s.text) {
			s.next()
		}
		if s.blank(); s.peek() != '.' {
			return parts
		}
		s.pos++
	}
}

// quoted reads a string of any of the four kinds. Escapes keep their backslash: only keys that nobody has would differ.
func (s *keyScanner) quoted() string {
	quote := s.text[s.pos : s.pos+1]
	if triple := strings.Repeat(quote, 3); s.has(triple) {
		quote = triple
	}
	s.pos += len(quote)
	start := s.pos
	for s.pos < len(s.text) && !s.has(quote) {
		if s.peek() == '\\' && quote[0] == '"' {
			s.next()
		}
		s.next()
	}
	end := min(s.pos, len(s.text))
	s.pos = min(end+len(quote), len(s.text))
	for len(quote) == 3 && s.peek() == quote[0] { // """" ends with a quote of its own
		s.pos++
	}
	return s.text[start:end]
}

// value skips a value and records the keys inside it.
func (s *keyScanner) value(path string, depth int) {
	s.blank()
	switch {
	case s.peek() == '"' || s.peek() == '\'':
		s.quoted()
	case s.peek() == '[' && depth < maxNesting:
		s.pos++
		for i := 0; s.more(']'); i++ {
			s.lines[path+index(i)] = s.line
			s.value(path+index(i), depth+1)
		}
	case s.peek() == '{' && depth < maxNesting:
		s.pos++
		for s.more('}') {
			s.pair(path, depth+1)
		}
	default:
		for s.pos < len(s.text) && !strings.ContainsRune(",]}\n#", rune(s.peek())) {
			s.pos++
		}
	}
}

// more goes to the next element of a list, or behind its end. Each element read after it goes forward, or ends the text.
func (s *keyScanner) more(end byte) bool {
	for s.blank(); s.peek() == ','; s.blank() {
		s.pos++
	}
	if s.peek() != end {
		return s.pos < len(s.text) && s.peek() != ']' && s.peek() != '}'
	}
	s.pos++
	return false
}

func join(prefix, part string) string {
	if prefix == "" {
		return part
	}
	return prefix + "." + part
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }
