package authn

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/session"
)

// maxDRFKey is the longest key that is looked up, in bytes. Those of Django REST framework have 40.
const maxDRFKey = 128

// DRFTokenConfig says where the tokens are.
type DRFTokenConfig struct {
	Name           string        // of the verifier, Identity.Source and a metric's label; "" is "drf_token"
	DSN            string        // sqlite:PATH or postgres://…
	AcceptInactive bool          // accept the token of a user whose is_active is false
	Timeout        time.Duration // for one look-up; 0 is DefaultTimeout
	MaxConns       int           // 0 is DefaultMaxConns
	Registerer     prometheus.Registerer
}

// DRFToken verifies the tokens of Django REST framework (rest_framework.authtoken) against Django's own tables,
// authtoken_token and auth_user, which it only reads. It may be used by many goroutines.
type DRFToken struct {
	// Fixed after NewDRFToken.
	name           string
	acceptInactive bool
	db             database
	seconds        authSeconds
}

// NewDRFToken checks the configuration and returns the verifier. It does not fail because a server is down; the file of
// SQLite must be there. ctx bounds the construction only. Errors hold no password of the DSN. Close releases what it holds.
func NewDRFToken(ctx context.Context, c DRFTokenConfig) (*DRFToken, error) {
	name, err := verifierName(c.Name, "drf_token")
	if err != nil {
		return nil, err
	}
	seconds, err := newAuthSeconds(c.Registerer, name)
	if err != nil {
		return nil, err
	}
	d, err := dialectOf(c.DSN)
	if err != nil {
		return nil, fmt.Errorf("authn: verifier %s: %w", name, err)
	}
	query := `SELECT t.key, CAST(u.id AS text), u.username, u.is_active FROM authtoken_token t ` +
		`JOIN auth_user u ON u.id = t.user_id WHERE t.key = ?`
	if d.numbered {
		query = query[:len(query)-1] + "$1"
	}
	db, err := openDatabase(ctx, databaseConfig{c.DSN, c.Timeout, c.MaxConns}, query)
	if err != nil {
		return nil, fmt.Errorf("authn: verifier %s: %w", name, err)
	}
	return &DRFToken{name: name, acceptInactive: c.AcceptInactive, db: db, seconds: seconds}, nil
}

// Verify implements [Verifier]. It asks the database once and blocks until that has answered, for the configured timeout
// at most; whatever keeps the database from answering is [ErrUnavailable]. Keys that no column could hold (too long, with
// a NUL, not UTF-8) are malformed without a question. The key that comes back is compared byte for byte, because a
// database's idea of equal may be wider (letter case, spaces at the end).
func (v *DRFToken) Verify(ctx context.Context, c Credential) (*session.Identity, error) {
	defer v.seconds.since(time.Now())
	switch {
	case len(c.Value) == 0:
		return nil, reject(ReasonMalformed, "drf_token: the key is empty")
	case len(c.Value) > maxDRFKey:
		return nil, reject(ReasonMalformed, "drf_token: the key is too long")
	case bytes.IndexByte(c.Value, 0) >= 0 || !utf8.Valid(c.Value):
		return nil, reject(ReasonMalformed, "drf_token: the key is no text")
	}
	sent := string(c.Value)
	var key string
	var active bool
	id := &session.Identity{Source: v.name}
	found, err := v.db.first(ctx, []any{sent}, &key, &id.Subject, &id.Name, &active)
	switch {
	case err != nil:
		return nil, &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: scrub(err, sent)}
	case !found || subtle.ConstantTimeCompare([]byte(key), c.Value) != 1:
		return nil, reject(ReasonUnknownToken, "drf_token: there is no such key")
	case !active && !v.acceptInactive:
		return nil, &Error{Kind: ErrRejected, Reason: ReasonInactiveUser, Err: fmt.Errorf("drf_token: user %s is not active", id.Subject)}
	}
	return id, nil
}

// Close releases the connections. Look-ups under way become [ErrUnavailable]. It may be called again.
func (v *DRFToken) Close() error { return v.db.close() }
