package session

import (
	"errors"
	"fmt"
	"strings"
)

// MaxGroupName is the longest name of a group, in bytes: the limit of Django Channels (channels.layers.BaseChannelLayer,
// MAX_NAME_LENGTH is 100 and exclusive).
const MaxGroupName = 99

// ErrGroup is returned, wrapped with what is wrong, for a text that cannot name a group.
var ErrGroup = errors.New("invalid group name")

// Group is the checked name of a group: 1 to 99 characters of A-Z, a-z, 0-9, underscore, dot and hyphen, as in Django
// Channels. Only [ParseGroup] makes one, so a Group can go into a NATS subject without a further look; the zero Group is
// no group. Groups are comparable and can be map keys.
type Group struct{ name string }

// ParseGroup checks s and returns it as a Group. The error wraps [ErrGroup] and says what a name may be.
func ParseGroup(s string) (Group, error) {
	switch {
	case s == "":
		return Group{}, fmt.Errorf("%w: it is empty; want 1 to %d characters of A-Z a-z 0-9 _ . -", ErrGroup, MaxGroupName)
	case len(s) > MaxGroupName:
		return Group{}, fmt.Errorf("%w: it has %d bytes; want at most %d", ErrGroup, len(s), MaxGroupName)
	}
	for i := range len(s) {
		if !isGroupByte(s[i]) {
			return Group{}, fmt.Errorf("%w: %q has %q; want only A-Z a-z 0-9 _ . -", ErrGroup, s, s[i])
		}
	}
	return Group{name: s}, nil
}

func isGroupByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
}

// String returns the name.
func (g Group) String() string { return g.name }

// IsZero reports whether g is the zero Group, which names nothing.
func (g Group) IsZero() bool { return g.name == "" }

// Split cuts the name at its last underscore into a category and an id, as in "app_1234". ok is false where there is no
// underscore, or nothing before or behind it.
func (g Group) Split() (category, id string, ok bool) {
	i := strings.LastIndexByte(g.name, '_')
	if i <= 0 || i == len(g.name)-1 {
		return "", "", false
	}
	return g.name[:i], g.name[i+1:], true
}

// MarshalText implements [encoding.TextMarshaler].
func (g Group) MarshalText() ([]byte, error) { return []byte(g.name), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; the error wraps [ErrGroup].
func (g *Group) UnmarshalText(b []byte) error {
	v, err := ParseGroup(string(b))
	if err != nil {
		return err
	}
	*g = v
	return nil
}
