package django

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"
)

// The salts of django.contrib.sessions and django.contrib.auth.
const (
	saltSession = "django.contrib.sessions.SessionStore"
	saltHash    = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
)

// backend is the one of AUTHENTICATION_BACKENDS that users log in by.
const backend = "django.contrib.auth.backends.ModelBackend"

// saltedHMAC is django.utils.crypto.salted_hmac with SHA-256.
func saltedHMAC(salt, value, secret string) []byte {
	key := sha256.Sum256([]byte(salt + secret))
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(value))
	return mac.Sum(nil)
}

// sessionData is the column session_data of a user who is logged in: django.core.signing.dumps of the session's dictionary,
// compressed as it always pays for one.
func sessionData(user, password, secret string, now time.Time) string {
	b, err := json.Marshal(map[string]string{
		"_auth_user_id": user, "_auth_user_backend": backend,
		"_auth_user_hash": hex.EncodeToString(saltedHMAC(saltHash, password, secret)),
	})
	if err != nil {
		panic(err) // strings have a JSON
	}
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := z.Write(b); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	value := "." + base64.RawURLEncoding.EncodeToString(packed.Bytes()) + ":" + base62(now.Unix())
	return value + ":" + base64.RawURLEncoding.EncodeToString(saltedHMAC(saltSession+"signer", value, secret))
}

// base62 writes a positive number as django.utils.baseconv and django.core.signing.b62_encode do.
func base62(n int64) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var b []byte
	for ; n > 0; n /= 62 {
		b = append([]byte{digits[n%62]}, b...)
	}
	return string(b)
}
