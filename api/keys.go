package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"regexp"
	"strings"
)

// The bounds of a file of keys.
const (
	minKey, maxKey = 16, 512 // characters of a key
	maxKeys        = 1000
	maxKeysFile    = 1 << 20 // bytes
)

var (
	keyName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)
	keyForm = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`) // RFC 6750 section 2.1
)

// Key is a bearer key: whoever sends it may use the API. It is kept as its SHA-256, and prints as its name.
type Key struct {
	name string
	hash [sha256.Size]byte
}

// Name returns the name that the file gives the key, for logs.
func (k Key) Name() string { return k.name }

// String returns the name.
func (k Key) String() string { return k.name }

// GoString returns the name.
func (k Key) GoString() string { return k.name }

// NewKey checks a key: its name is a letter and then up to 62 letters, digits, _ or -; the key itself has 16 to 512
// characters of A-Z a-z 0-9 - . _ ~ + / and = at its end. The error does not quote the key.
func NewKey(name, key string) (Key, error) {
	switch {
	case !keyName.MatchString(name):
		return Key{}, fmt.Errorf("%q is no name; want a letter, then letters, digits, _ or -", clip(name))
	case len(key) < minKey || len(key) > maxKey:
		return Key{}, fmt.Errorf("the key of %s has %d characters; want %d to %d, such as what `openssl rand -hex 32` prints", name, len(key), minKey, maxKey)
	case !keyForm.MatchString(key):
		return Key{}, fmt.Errorf("the key of %s has a character that no bearer key can have (RFC 6750); want A-Z a-z 0-9 - . _ ~ + /", name)
	}
	return Key{name, sha256.Sum256([]byte(key))}, nil
}

// clip keeps what was taken for a name, and may be a key, from being shown.
func clip(s string) string {
	if len(s) > 8 {
		return s[:8] + "…"
	}
	return s
}

// ParseKeys reads a file of keys: on each line NAME:KEY, nothing, or a comment behind a #. Two keys may have one name, so
// that one can be replaced without a gap. Errors say which line is wrong, and quote no key. A file without any key is an
// error.
func ParseKeys(file []byte) ([]Key, error) {
	if len(file) > maxKeysFile {
		return nil, fmt.Errorf("the file has %d bytes; want at most %d", len(file), maxKeysFile)
	}
	var keys []Key
	number := 0
	for line := range bytes.Lines(file) {
		number++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return nil, fmt.Errorf("line %d has no colon; want NAME:KEY", number)
		}
		key, err := NewKey(strings.TrimSpace(name), strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		for _, other := range keys {
			if other.hash == key.hash {
				return nil, fmt.Errorf("line %d: %s and %s have the same key; want one of its own for each", number, other.name, key.name)
			}
		}
		if keys = append(keys, key); len(keys) > maxKeys {
			return nil, fmt.Errorf("there are more than %d keys", maxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("there is no key; want NAME:KEY on a line")
	}
	return keys, nil
}

// find returns the name of the key. How long it takes depends neither on which it is nor on how much of one is right.
func find(keys []Key, given string) (name string, ok bool) {
	hash := sha256.Sum256([]byte(given))
	for _, k := range keys {
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			name, ok = k.name, true
		}
	}
	return name, ok
}
