package django

import (
	"bytes"
	"crypto/sha1" // what Django before 4.0 wrote, and only where it is asked for
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"time"
)

// The salts of the sessions of Django's own engines.
const (
	storeSalt  = "django.contrib.sessions.SessionStore"            // db, cached_db and file
	cookieSalt = "django.contrib.sessions.backends.signed_cookies" // signed_cookies
	legacySalt = "django.contrib.sessionsSessionStore"             // Django before 3.1; there is no dot
)

// SessionsConfig says who signs sessions, and which.
type SessionsConfig struct {
	Secret    string   // SECRET_KEY
	Fallbacks []string // SECRET_KEY_FALLBACKS
	Cookies   bool     // sessions that are cookies (signed_cookies); else those of the engines db, cached_db and file
	// Legacy also takes what Django before 4.0 reads: SHA-1 signatures, and in stores the form of Django before 3.1.
	Legacy bool
}

// Sessions reads the sessions of one engine. It is fixed after NewSessions and may be used by many goroutines.
type Sessions struct {
	signer *Signer
	legacy []key // of the form of Django before 3.1
}

// NewSessions checks the configuration.
func NewSessions(c SessionsConfig) (*Sessions, error) {
	salt := storeSalt
	if c.Cookies {
		salt = cookieSalt
	}
	signer, err := NewSigner(SignerConfig{Salt: salt, Secret: c.Secret, Fallbacks: c.Fallbacks, Legacy: c.Legacy})
	if err != nil {
		return nil, err
	}
	s := &Sessions{signer: signer}
	if c.Legacy && !c.Cookies {
		for _, secret := range append([]string{c.Secret}, c.Fallbacks...) {
			s.legacy = append(s.legacy, newKey(sha1.New, legacySalt, secret))
		}
	}
	return s, nil
}

// Session is what a session says of who is logged in.
type Session struct {
	// LoggedIn reports whether anybody is: a user and a backend are named (django.contrib.auth.get_user). The rest is for
	// those in which somebody is.
	LoggedIn bool
	UserID   string // the primary key as Django writes it; "" where it is none
	Backend  string // the import path of the authentication backend
	Hash     string // of the password: see AuthHash

	// Signed is when Django wrote it, to a second; zero in the form of Django before 3.1.
	Signed time.Time

	expiry Value // _session_expiry; nil: there is none
}

// Decode reads what Django keeps: session_data of the table, the content of a file, or the cookie. The error is
// [ErrBadSignature], [ErrMalformed] or [ErrTooLarge]; where Django logs one and goes on with an empty session, here it
// stays an error, so that it can be told from a session in which nobody is logged in.
func (s *Sessions) Decode(data []byte) (Session, error) {
	content, signed, err := s.signer.Loads(data)
	if err != nil && len(s.legacy) > 0 {
		if old, ok := s.loadLegacy(data); ok {
			content, signed, err = old, time.Time{}, nil
		}
	}
	if err != nil {
		return Session{}, err
	}
	o, ok := ParseObject(fromLatin1(content))
	if !ok {
		return Session{}, ErrMalformed
	}
	session := Session{Signed: signed}
	session.expiry, _ = o.Get("_session_expiry")
	id, hasID := o.Get("_auth_user_id")
	backend, hasBackend := o.Get("_auth_user_backend")
	if session.LoggedIn = hasID && hasBackend; !session.LoggedIn {
		return session, nil
	}
	session.UserID, _ = id.Name()
	session.Backend, _ = backend.Text()
	if hash, ok := o.Get("_auth_user_hash"); ok {
		session.Hash, _ = hash.Text()
	}
	return session, nil
}

// loadLegacy reads the form of Django before 3.1: base64 of the signature in hexadecimal, a colon and JSON.
func (s *Sessions) loadLegacy(data []byte) (content []byte, ok bool) {
	if len(data) > maxValue {
		return nil, false
	}
	b, err := base64.StdEncoding.AppendDecode(nil, data)
	if err != nil {
		return nil, false
	}
	signature, content, ok := bytes.Cut(b, []byte(":"))
	if !ok || len(content) > MaxInflated {
		return nil, false
	}
	for _, k := range s.legacy {
		want := hex.AppendEncode(nil, k.appendMAC(nil, content))
		if subtle.ConstantTimeCompare(want, signature) == 1 {
			return content, true
		}
	}
	return nil, false
}

// fromLatin1 returns the text that Django takes the bytes for (JSONSerializer decodes Latin-1). Django itself writes ASCII.
func fromLatin1(b []byte) []byte {
	high := 0
	for _, c := range b {
		if c >= 0x80 {
			high++
		}
	}
	if high == 0 {
		return b
	}
	out := make([]byte, 0, len(b)+high)
	for _, c := range b {
		if c < 0x80 {
			out = append(out, c)
		} else {
			out = append(out, 0xc0|c>>6, 0x80|c&0x3f)
		}
	}
	return out
}

// FileEnds returns when a session of the engine file ends, which was last written at modified, where SESSION_COOKIE_AGE is
// age (django.contrib.sessions.backends.file). An expiry that the session was given as a date is that date; zone is for
// one that names none. One that was given in seconds never comes, as the browser's cookie is all that ends it in Django:
// ends is zero then. ok is false where it is over already, or cannot be read.
func (s Session) FileEnds(modified time.Time, age time.Duration, zone *time.Location) (ends time.Time, ok bool) {
	v := s.expiry
	if len(v) == 0 || v.IsNull() || string(v) == "false" {
		return modified.Add(age), true
	}
	switch v[0] {
	case '"':
		text, ok := v.Text()
		if ok && text == "" {
			return modified.Add(age), true
		}
		ends, read := parseISO(text, zone)
		return ends, ok && read && !ends.IsZero()
	case '{', '[':
		if rest := bytes.Trim(v[1:len(v)-1], " \t\r\n"); len(rest) == 0 {
			return modified.Add(age), true
		}
		return time.Time{}, false
	case 't': // true is 1 there
		return time.Time{}, true
	}
	seconds, err := strconv.ParseFloat(string(v), 64)
	switch {
	case err != nil && !math.IsInf(seconds, 0):
		return time.Time{}, false
	case seconds == 0:
		return modified.Add(age), true
	}
	return time.Time{}, seconds > 0 || math.IsNaN(seconds) // Python asks whether it is not 0 or less
}

// parseISO reads what datetime.isoformat of Python writes.
func parseISO(s string, zone *time.Location) (t time.Time, ok bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
