package django

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a value may be. Python gives up at about a thousand.
const maxDepth = 500

// Object is a JSON object as Python's json.loads reads it, with its values not yet read. It borrows what it was read from.
//
// It is not encoding/json's: names have a case, of two with one name the last counts, NaN and Infinity are numbers, and what
// is deep is an error before it is a stack.
type Object struct{ members []member }

type member struct{ name, value []byte } // JSON both

// ParseObject reads b. ok is false unless it is one object and nothing else.
func ParseObject(b []byte) (o Object, ok bool) {
	p := &parser{rest: b}
	p.space()
	if !p.object(maxDepth, &o) {
		return Object{}, false
	}
	p.space()
	return o, len(p.rest) == 0
}

// Get returns the value called name.
func (o Object) Get(name string) (Value, bool) {
	for i := len(o.members) - 1; i >= 0; i-- {
		m := o.members[i].name
		if inner := m[1 : len(m)-1]; bytes.IndexByte(inner, '\\') < 0 {
			if string(inner) == name {
				return o.members[i].value, true
			}
		} else if s, ok := Value(m).Text(); ok && s == name {
			return o.members[i].value, true
		}
	}
	return nil, false
}

// Value is a JSON value, as it was written.
type Value []byte

// IsNull reports whether it is null.
func (v Value) IsNull() bool { return string(v) == "null" }

// Text reads a string. ok is false where it is none, and where it is no Unicode: bytes that are no UTF-8, half of a
// surrogate pair, or the character that stands for either, since any of them would make one text of two.
func (v Value) Text() (s string, ok bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	if inner := v[1 : len(v)-1]; bytes.IndexByte(inner, '\\') < 0 {
		s = string(inner)
	} else if err := json.Unmarshal(v, &s); err != nil {
		return "", false
	}
	return s, utf8.ValidString(s) && !strings.ContainsRune(s, utf8.RuneError)
}

// Texts reads a list of strings. ok is false where it is none.
func (v Value) Texts() (list []string, ok bool) {
	p := &parser{rest: v}
	ok = p.list('[', ']', func() bool {
		before := p.rest
		if !p.string() {
			return false
		}
		s, ok := Value(before[:len(before)-len(p.rest)]).Text()
		list = append(list, s)
		return ok
	})
	return list, ok
}

// Name reads what names somebody: a string, or a whole number as its digits. ok is false where it is neither.
func (v Value) Name() (s string, ok bool) {
	if len(v) > 0 && v[0] == '"' {
		return v.Text()
	}
	digits := bytes.TrimPrefix(v, []byte("-"))
	for _, c := range digits {
		if !isDigit(c) {
			return "", false
		}
	}
	return string(v), len(digits) > 0 && string(v) != "-0"
}

// parser walks over JSON. Its methods drop what they read from rest, and return false where it is something else.
type parser struct{ rest []byte }

func (p *parser) space() {
	for len(p.rest) > 0 && (p.rest[0] == ' ' || p.rest[0] == '\t' || p.rest[0] == '\n' || p.rest[0] == '\r') {
		p.rest = p.rest[1:]
	}
}

func (p *parser) byte(c byte) bool {
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) literal(s string) bool {
	rest, ok := bytes.CutPrefix(p.rest, []byte(s))
	p.rest = rest
	return ok
}

func (p *parser) value(depth int) bool {
	if len(p.rest) == 0 {
		return false
	}
	switch p.rest[0] {
	case '"':
		return p.string()
	case '{':
		return p.object(depth, nil)
	case '[':
		return depth > 0 && p.list('[', ']', func() bool { return p.value(depth - 1) })
	case 't':
		return p.literal("true")
	case 'f':
		return p.literal("false")
	case 'n':
		return p.literal("null")
	case 'N':
		return p.literal("NaN")
	case 'I':
		return p.literal("Infinity")
	}
	return p.literal("-Infinity") || p.number()
}

// object reads an object, and puts its members into o unless that is nil.
func (p *parser) object(depth int, o *Object) bool {
	return depth > 0 && p.list('{', '}', func() bool {
		name := p.rest
		if !p.string() {
			return false
		}
		name = name[:len(name)-len(p.rest)]
		p.space()
		if !p.byte(':') {
			return false
		}
		p.space()
		value := p.rest
		if !p.value(depth - 1) {
			return false
		}
		if o != nil {
			o.members = append(o.members, member{name, value[:len(value)-len(p.rest)]})
		}
		return true
	})
}

// list reads what stands between two brackets, with commas between.
func (p *parser) list(open, closing byte, element func() bool) bool {
	if !p.byte(open) {
		return false
	}
	p.space()
	if p.byte(closing) {
		return true
	}
	for {
		if !element() {
			return false
		}
		p.space()
		if p.byte(closing) {
			return true
		}
		if !p.byte(',') {
			return false
		}
		p.space()
	}
}

func (p *parser) string() bool {
	if !p.byte('"') {
		return false
	}
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return true
		case c < ' ':
			return false
		case c == '\\':
			i++
			if i == len(p.rest) || !bytes.ContainsRune([]byte(`"\/bfnrtu`), rune(p.rest[i])) {
				return false
			}
			if p.rest[i] == 'u' {
				if i+4 >= len(p.rest) || !isHex(p.rest[i+1:i+5]) {
					return false
				}
				i += 4
			}
		}
	}
	return false
}

// number reads an integer, a fraction and an exponent.
func (p *parser) number() bool {
	p.byte('-')
	if !p.byte('0') && !p.digits() {
		return false
	}
	if p.byte('.') && !p.digits() {
		return false
	}
	if p.byte('e') || p.byte('E') {
		if !p.byte('+') {
			p.byte('-')
		}
		return p.digits()
	}
	return true
}

func (p *parser) digits() bool {
	n := 0
	for n < len(p.rest) && isDigit(p.rest[n]) {
		n++
	}
	p.rest = p.rest[n:]
	return n > 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(b []byte) bool {
	for _, c := range b {
		if !isDigit(c) && (c|0x20 < 'a' || 'f' < c|0x20) {
			return false
		}
	}
	return true
}
