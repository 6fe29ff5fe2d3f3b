package django

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha1" // what Django before 4.0 wrote, and only where it is asked for
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"sync"
	"time"
)

// MaxInflated is how large the content of a value may be, in bytes.
const MaxInflated = 1 << 20

// maxValue is the longest value that can hold so much, and a little more for its timestamp and signature.
const maxValue = MaxInflated/3*4 + 1024

// What keeps a value from being read.
var (
	// ErrBadSignature means that no key that is known signed the value.
	ErrBadSignature = errors.New("no known key has signed it")
	// ErrMalformed means that the value is genuine and holds nothing that can be read.
	ErrMalformed = errors.New("it is signed, and not in a form that can be read")
	// ErrTooLarge means that the value holds more than MaxInflated.
	ErrTooLarge = errors.New("it holds more than 1 MiB")
)

// SignerConfig says who signs, and for what.
type SignerConfig struct {
	Salt      string   // what values are for: one of another purpose has another salt
	Secret    string   // SECRET_KEY
	Fallbacks []string // SECRET_KEY_FALLBACKS: still good, no longer used
	Legacy    bool     // SHA-1 as well, as Django before 4.0 does
}

// Signer reads the values of django.core.signing.TimestampSigner. It is fixed after NewSigner and may be used by many
// goroutines.
type Signer struct {
	keys      []key
	inflaters sync.Pool // of *inflater
}

// key is a secret made ready for one purpose: the key of salted_hmac.
type key struct {
	hash func() hash.Hash
	key  []byte
}

// newKey returns the key of django.utils.crypto.salted_hmac: the hash of the salt and the secret.
func newKey(h func() hash.Hash, salt, secret string) key {
	sum := h()
	sum.Write([]byte(salt))
	sum.Write([]byte(secret))
	return key{hash: h, key: sum.Sum(nil)}
}

// newKeys returns the keys of every secret, the one in use first; with SHA-1 behind each where that is asked for.
func newKeys(salt, secret string, fallbacks []string, legacy bool) []key {
	var keys []key
	for _, s := range append([]string{secret}, fallbacks...) {
		keys = append(keys, newKey(sha256.New, salt, s))
		if legacy {
			keys = append(keys, newKey(sha1.New, salt, s))
		}
	}
	return keys
}

func (k key) appendMAC(dst, value []byte) []byte {
	mac := hmac.New(k.hash, k.key)
	mac.Write(value)
	return mac.Sum(dst)
}

// checkSecrets refuses a secret that everybody knows.
func checkSecrets(secret string, fallbacks []string) error {
	if secret == "" {
		return errors.New("the secret is empty: want SECRET_KEY of the Django settings")
	}
	for _, s := range fallbacks {
		if s == "" {
			return errors.New("a fallback of the secret is empty")
		}
	}
	return nil
}

// NewSigner returns the signer for one purpose.
func NewSigner(c SignerConfig) (*Signer, error) {
	if err := checkSecrets(c.Secret, c.Fallbacks); err != nil {
		return nil, err
	}
	if c.Salt == "" {
		return nil, errors.New("the salt is empty: want what the values are for")
	}
	return &Signer{keys: newKeys(c.Salt+"signer", c.Secret, c.Fallbacks, c.Legacy)}, nil
}

// Loads returns the JSON inside a value of django.core.signing.dumps, which is compressed or not, and when it was signed,
// to a second. Whether that is too long ago is the caller's question (max_age). The error is [ErrBadSignature],
// [ErrMalformed] or [ErrTooLarge]. The content is a copy.
func (s *Signer) Loads(value []byte) (content []byte, signed time.Time, err error) {
	if len(value) > maxValue {
		return nil, time.Time{}, ErrTooLarge
	}
	data, ok := s.unsign(value)
	if !ok {
		return nil, time.Time{}, ErrBadSignature
	}
	i := bytes.LastIndexByte(data, ':')
	if i < 0 {
		return nil, time.Time{}, ErrMalformed
	}
	seconds, ok := decodeBase62(data[i+1:])
	if !ok {
		return nil, time.Time{}, ErrMalformed
	}
	if content, err = s.decode(data[:i]); err != nil {
		return nil, time.Time{}, err
	}
	return content, time.Unix(seconds, 0), nil
}

// Dumps is what django.core.signing.dumps makes of JSON at a time, not compressed. It is for tests, and for programs in Go
// that stand beside a Django.
func (s *Signer) Dumps(content []byte, at time.Time) string {
	b := base64.RawURLEncoding.AppendEncode(nil, content)
	b = append(b, ':')
	b = appendBase62(b, at.Unix())
	mac := s.keys[0].appendMAC(nil, b)
	return string(base64.RawURLEncoding.AppendEncode(append(b, ':'), mac))
}

// unsign returns what stands in front of the signature, when one of the keys made that. It is a part of value.
func (s *Signer) unsign(value []byte) (data []byte, ok bool) {
	i := bytes.LastIndexByte(value, ':')
	if i < 0 {
		return nil, false
	}
	data, signature := value[:i], value[i+1:]
	var mac [sha256.Size]byte
	var text [43]byte // what base64 makes of a mac
	for _, k := range s.keys {
		want := base64.RawURLEncoding.AppendEncode(text[:0], k.appendMAC(mac[:0], data))
		// The texts are compared, as Django does: there are several that decode to the same bytes.
		if subtle.ConstantTimeCompare(want, signature) == 1 {
			return data, true
		}
	}
	return nil, false
}

// decode undoes base64 and, behind a dot, zlib.
func (s *Signer) decode(data []byte) ([]byte, error) {
	compressed := len(data) > 0 && data[0] == '.'
	if compressed {
		data = data[1:]
	}
	b, err := base64.RawURLEncoding.AppendDecode(nil, data)
	switch {
	case err != nil:
		return nil, ErrMalformed
	case compressed:
		return s.inflate(b)
	case len(b) > MaxInflated:
		return nil, ErrTooLarge
	}
	return b, nil
}

// inflater is what zlib needs to read: 40 KiB, so it is used again.
type inflater struct {
	source bytes.Reader
	zlib   io.ReadCloser // nil until the first header could be read
}

// inflate reads zlib up to MaxInflated.
func (s *Signer) inflate(b []byte) ([]byte, error) {
	in, ok := s.inflaters.Get().(*inflater)
	if !ok {
		in = &inflater{}
	}
	defer s.inflaters.Put(in)
	in.source.Reset(b)
	defer in.source.Reset(nil) // it must not keep the value
	var err error
	if in.zlib == nil {
		in.zlib, err = zlib.NewReader(&in.source)
	} else {
		err = in.zlib.(zlib.Resetter).Reset(&in.source, nil)
	}
	if err != nil {
		return nil, ErrMalformed
	}
	out := bytes.NewBuffer(make([]byte, 0, min(4*len(b)+bytes.MinRead, MaxInflated)))
	n, err := io.Copy(out, io.LimitReader(in.zlib, MaxInflated+1))
	switch {
	case n > MaxInflated:
		return nil, ErrTooLarge
	case err != nil:
		return nil, ErrMalformed
	}
	return out.Bytes(), nil
}
