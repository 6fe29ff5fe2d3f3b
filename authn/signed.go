package authn

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/fairlead-ws/fairlead/authn/django"
)

// The forms of a signed value.
const (
	// FormatDjango is that of django.core.signing.dumps.
	FormatDjango = "django"
	// FormatHMAC is base64url of JSON, a dot, and the HMAC-SHA256 of the text in front of it, in base64url or hexadecimal.
	FormatHMAC = "hmac"
)

// DefaultSalt is the salt of signing.dumps where none is configured.
const DefaultSalt = "fairlead"

// SignedConfig says who signs, and where values are.
type SignedConfig struct {
	Name      string   // for errors and the journal; "" is "signed"
	Format    string   // "" is FormatDjango
	Secret    string   // SECRET_KEY, or the key of the HMAC, of at least 32 bytes then
	Fallbacks []string // SECRET_KEY_FALLBACKS, or keys of the past
	Salt      string   // of FormatDjango; "" is DefaultSalt
	// MaxAge is how long after it was made a value of FormatDjango is good. 0: the value has to say when it ends.
	MaxAge time.Duration
	// Value finds the value: a Header, a Cookie, a Query or, for FormatHMAC, a Subprotocol. nil is the query parameter "grant".
	Value Extractor
}

// Signed is the authorizer that believes the application: a value that the application signed, and that the client brings,
// says who may join which groups and until when. So joining costs no question to anybody. The value is a JSON object:
//
//	{"group": "app_1234", "subject": "1", "exp": 1795529239}
//
// group is a name, or what names begin with and a * at the end, or a list of those. subject is the identity's, as text or as
// a number; without it, or with null, the value is good for whoever brings it, anonymous clients included. exp is when it
// ends, in Unix seconds; it may be left out where there is a MaxAge. Other members mean nothing.
//
// A permission is looked at when a connection is made, and again where the route says so; it does not end the connection by
// itself. It may be used by many goroutines.
type Signed struct {
	// Fixed after NewSigned.
	name   string
	value  Extractor
	read   func(value []byte) (content []byte, made time.Time, err error)
	maxAge time.Duration
	now    func() time.Time
}

// NewSigned checks the configuration and returns the authorizer. Errors hold no secret.
func NewSigned(c SignedConfig) (*Signed, error) {
	a := &Signed{name: orDefault(c.Name, "signed"), value: c.Value, maxAge: c.MaxAge, now: time.Now}
	if err := a.configure(c); err != nil {
		return nil, fmt.Errorf("authn: authorizer %s: %w", a.name, err)
	}
	return a, nil
}

func (a *Signed) configure(c SignedConfig) error {
	switch a.value.(type) {
	case nil:
		a.value = &Query{name: "grant"}
	case *Header, *Cookie, *Query, *Subprotocol:
	default:
		return fmt.Errorf("a value cannot be found by a %T: want a header, a cookie, a query parameter or a subprotocol", a.value)
	}
	if c.MaxAge < 0 {
		return fmt.Errorf("the age of values is %v: want more than 0, or 0 where each says when it ends", c.MaxAge)
	}
	switch c.Format {
	case "", FormatDjango:
		if _, ok := a.value.(*Subprotocol); ok {
			return errors.New("a value of signing.dumps has colons, which no subprotocol may have: want the format hmac")
		}
		s, err := django.NewSigner(django.SignerConfig{Salt: orDefault(c.Salt, DefaultSalt), Secret: c.Secret, Fallbacks: c.Fallbacks})
		if err != nil {
			return err
		}
		a.read = s.Loads
		return nil
	case FormatHMAC:
		if c.MaxAge > 0 {
			return errors.New("a value of the format hmac does not say when it was made: want no age, and \"exp\" in each value")
		}
		keys := make(hmacKeys, 0, 1+len(c.Fallbacks))
		for _, s := range append([]string{c.Secret}, c.Fallbacks...) {
			if len(s) < sha256.Size {
				return fmt.Errorf("a secret has %d bytes: want at least %d", len(s), sha256.Size)
			}
			keys = append(keys, []byte(s))
		}
		a.read = keys.read
		return nil
	}
	return fmt.Errorf("the format is %.40q: want %s or %s", c.Format, FormatDjango, FormatHMAC)
}

// Authorize implements [Authorizer]. It does not block. Whatever is wrong with the value is [ErrForbidden], with
// [ReasonForbidden]: the error's text says what. The rule is the authorizer's name.
func (a *Signed) Authorize(_ context.Context, q *Question) (rule string, err error) {
	if q.Request == nil {
		return "", a.forbid(errors.New("there is no request to find a value in"))
	}
	cred, err := a.value.Extract(q.Request)
	switch {
	case errors.Is(KindOf(err), ErrAbsent):
		return "", a.forbid(errors.New("no signed value came"))
	case err != nil: // it is no refusal of the credential
		e, _ := errors.AsType[*Error](err)
		return "", a.forbid(e.Err)
	}
	content, made, err := a.read(cred.Value)
	if err != nil {
		return "", a.forbid(fmt.Errorf("the value: %w", err))
	}
	if err := a.allows(q, content, made); err != nil {
		return "", a.forbid(err)
	}
	return a.name, nil
}

// allows returns why a value that is genuine does not allow what q asks.
func (a *Signed) allows(q *Question, content []byte, made time.Time) error {
	grant, ok := django.ParseObject(content)
	if !ok {
		return errors.New("the value is no JSON object")
	}
	if err := a.inTime(grant, made); err != nil {
		return err
	}
	switch v, has := grant.Get("subject"); {
	case !has || v.IsNull():
	case q.Identity.Anonymous:
		return errors.New("the value is somebody's, and the client is anonymous")
	default:
		if subject, ok := v.Name(); !ok || subject == "" {
			return errors.New(`"subject" of the value is neither a text nor a whole number`)
		} else if subject != q.Identity.Subject {
			return errors.New("the value is somebody else's")
		}
	}
	v, has := grant.Get("group")
	if !has {
		return errors.New(`the value has no "group"`)
	}
	groups, ok := v.Texts()
	if !ok {
		group, isText := v.Text()
		if !isText {
			return errors.New(`"group" of the value is neither a text nor a list of texts`)
		}
		groups = []string{group}
	}
	if name := q.Group.String(); !granted(groups, name) {
		return errors.New("the value is not for group " + name)
	}
	return nil
}

// inTime returns why a value is not good now.
func (a *Signed) inTime(grant django.Object, made time.Time) error {
	now := a.now()
	if a.maxAge > 0 && now.Sub(made) > a.maxAge {
		return errors.New("the value is too old")
	}
	v, has := grant.Get("exp")
	if !has || v.IsNull() {
		if a.maxAge == 0 {
			return errors.New(`the value does not say when it ends: want "exp", in Unix seconds, or an age that is configured`)
		}
		return nil
	}
	exp, err := strconv.ParseFloat(string(v), 64) // JSON, so neither hexadecimal nor a word but NaN and Infinity
	switch {
	case err != nil || math.IsNaN(exp) || exp > maxYear9999:
		return errors.New(`"exp" of the value is no time in Unix seconds`)
	case float64(now.UnixNano())/1e9 >= exp:
		return errors.New("the value has ended")
	}
	return nil
}

func (a *Signed) forbid(cause error) error {
	return &Error{Kind: ErrForbidden, Reason: ReasonForbidden, Err: fmt.Errorf("%s: %w", a.name, cause), By: a.name}
}

// Retain implements [Retainer]. It keeps the value, as it came.
func (a *Signed) Retain(r *Request) (kept *Request, again bool) {
	cred, err := a.value.Extract(r)
	if err != nil {
		return nil, true // asked again, it says no as it did before
	}
	kept = &Request{}
	switch e := a.value.(type) {
	case *Header:
		value := bytes.Clone(cred.Value)
		if e.scheme != "" {
			value = append([]byte(e.scheme+" "), cred.Value...)
		}
		if e.authorization {
			kept.Authorization, kept.HasAuthorization = value, true
			break
		}
		kept.Header = []HeaderField{{Name: []byte(e.name), Value: value}}
	case *Cookie:
		kept.Cookie = append([]byte(e.name+"="), cred.Value...)
	case *Query:
		kept.RawQuery = []byte(url.QueryEscape(e.name) + "=" + url.QueryEscape(string(cred.Value)))
	case *Subprotocol:
		kept.Protocols = [][]byte{append([]byte(e.prefix), cred.Value...)}
	}
	return kept, true
}

// SubprotocolPrefixes returns the prefix behind which a subprotocol is a value, as [Chain.SubprotocolPrefixes] does for
// credentials.
func (a *Signed) SubprotocolPrefixes() [][]byte {
	if e, ok := a.value.(*Subprotocol); ok {
		return [][]byte{[]byte(e.prefix)}
	}
	return nil
}

// hmacKeys are the secrets of FormatHMAC, the one in use first.
type hmacKeys [][]byte

var (
	errNotSigned = errors.New("it is not two parts with a dot between, the second an HMAC-SHA256 in base64url or hexadecimal")
	errNotBase64 = errors.New("it is signed, and no base64url")
)

// read returns the content of a value that one of the keys signed. made stays zero.
func (keys hmacKeys) read(value []byte) (content []byte, made time.Time, err error) {
	i := bytes.LastIndexByte(value, '.')
	if i < 0 {
		return nil, made, errNotSigned
	}
	text, signature := value[:i], bytes.TrimRight(value[i+1:], "=")
	var mac []byte
	switch len(signature) {
	case hex.EncodedLen(sha256.Size):
		mac, err = hex.AppendDecode(nil, signature)
	case base64.RawURLEncoding.EncodedLen(sha256.Size):
		mac, err = base64.RawURLEncoding.Strict().AppendDecode(nil, signature)
	default:
		err = errNotSigned
	}
	if err != nil {
		return nil, made, errNotSigned
	}
	for _, key := range keys {
		h := hmac.New(sha256.New, key)
		h.Write(text)
		if hmac.Equal(h.Sum(nil), mac) {
			content, err = base64.RawURLEncoding.AppendDecode(nil, bytes.TrimRight(text, "="))
			if err != nil {
				return nil, made, errNotBase64
			}
			return content, made, nil
		}
	}
	return nil, made, django.ErrBadSignature
}
