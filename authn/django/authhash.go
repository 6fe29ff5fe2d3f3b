package django

import (
	"crypto/subtle"
	"encoding/hex"
)

// authHashSalt is the key_salt of AbstractBaseUser.get_session_auth_hash.
const authHashSalt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"

// AuthHash checks the hash that a session keeps of its user's password, so that a new password ends every session. It is
// fixed after NewAuthHash and may be used by many goroutines.
type AuthHash struct{ keys []key }

// NewAuthHash returns the check for SECRET_KEY and SECRET_KEY_FALLBACKS. The SHA-1 hash that Django 3.2 takes as well is no
// good: channels.auth never took it.
func NewAuthHash(secret string, fallbacks []string) (*AuthHash, error) {
	if err := checkSecrets(secret, fallbacks); err != nil {
		return nil, err
	}
	return &AuthHash{newKeys(authHashSalt, secret, fallbacks, false)}, nil
}

// Matches reports whether hash is of password, which is the column: itself a hash, or what stands for an unusable one.
func (h *AuthHash) Matches(password, hash string) bool {
	ok := 0
	for _, k := range h.keys {
		var mac [32]byte
		var text [64]byte
		ok |= subtle.ConstantTimeCompare(hex.AppendEncode(text[:0], k.appendMAC(mac[:0], []byte(password))), []byte(hash))
	}
	return ok == 1
}
