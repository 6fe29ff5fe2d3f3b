package authn

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
	"github.com/fairlead-ws/fairlead/session"
)

// maxDRFKey is the longest key that is looked up, in bytes. Those of Django REST framework have 40.
const maxDRFKey = 128

// DRFTokenConfig says where the tokens are.
type DRFTokenConfig struct {
	Name           string // of the verifier, Identity.Source and a metric's label; "" is "drf_token"
	DSN            string // sqlite:PATH, postgres://… or mysql://…
	Model          UserModel
	Tokens         TokenModel
	Databases      *Databases    // to share connections with; nil: with nobody
	AcceptInactive bool          // accept the token of a user whose is_active is false
	Timeout        time.Duration // for one look-up; 0 is two seconds
	MaxConns       int           // 0 is eight
	Registerer     prometheus.Registerer
}

// TokenModel says where the tokens are. The zero value is rest_framework.authtoken's own; in any other all are needed.
type TokenModel struct {
	Table      string // perhaps with a schema
	KeyColumn  string
	UserColumn string // the primary key of the user
}

// DRFTokens returns the table and the columns of rest_framework.authtoken.models.Token.
func DRFTokens() TokenModel {
	return TokenModel{Table: "authtoken_token", KeyColumn: "key", UserColumn: "user_id"}
}

// DRFToken verifies the tokens of Django REST framework (rest_framework.authtoken) against Django's own tables, which it
// only reads. It may be used by many goroutines.
type DRFToken struct {
	// Fixed after NewDRFToken.
	name           string
	acceptInactive bool
	db             *database.DB
	pk             *keyColumn // of the users
	tokens         *database.Lookup[User]
	seconds        latency
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
	observe, err := newAuthQueries(c.Registerer, name)
	if err != nil {
		return nil, err
	}
	v := &DRFToken{name: name, acceptInactive: c.AcceptInactive, seconds: seconds}
	v.db, err = c.Databases.open(ctx, database.Config{DSN: c.DSN, Timeout: c.Timeout, MaxConns: c.MaxConns, Observe: observe})
	if err == nil {
		v.tokens, v.pk, err = tokenLookup(v.db, c.Model, c.Tokens)
		if err != nil {
			v.db.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("authn: verifier %s: %w", name, err)
	}
	return v, nil
}

// tokenLookup looks up the users of tokens, whose primary key is that column.
func tokenLookup(db *database.DB, m UserModel, t TokenModel) (*database.Lookup[User], *keyColumn, error) {
	if t == (TokenModel{}) {
		t = DRFTokens()
	}
	if m == (UserModel{}) {
		m = DjangoUser()
	}
	d := db.Dialect()
	c, err := m.quoted(d)
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, 0, 3)
	for i, name := range []string{t.Table, t.KeyColumn, t.UserColumn} {
		q, err := d.Name(name)
		if err != nil || i > 0 && strings.Contains(name, ".") {
			return nil, nil, fmt.Errorf("token model: %q cannot be a name", name)
		}
		names = append(names, q)
	}
	pk, key := newKeyColumn(db, m.Table, m.PrimaryKey), "t."+names[1]
	query := "SELECT " + d.Text(key) + ", " + d.Text(c.pk) + ", " + c.name + ", " + c.active +
		" FROM " + names[0] + " t JOIN " + c.table + " u ON " + c.pk + " = t." + names[2] + " WHERE " + key + " = "
	return database.NewLookup(db, database.LookupConfig[User]{
		One: query + d.Param(1), Many: query + "any($1)",
		Scan: func(scan func(dest ...any) error) (key string, u User, err error) {
			var active sql.NullBool // NULL is false in Python, too
			err = scan(&key, &u.ID, &u.Name, &active)
			u.ID, u.Active = pk.django(u.ID), active.Bool
			return key, u, err
		},
	}), pk, nil
}

// Verify implements [Verifier]. It asks the database and blocks until that has answered, for the configured timeout at
// most; whatever keeps the database from answering is [ErrUnavailable]. In a storm keys are asked for together, where the
// database is PostgreSQL. Keys that no column could hold (too long, with a NUL, not UTF-8) are malformed without a
// question. The key that comes back is compared byte for byte, because a database's idea of equal may be wider (letter
// case, spaces at the end).
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
	u, found, err := v.user(ctx, sent)
	switch {
	case err != nil:
		return nil, &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: database.Scrub(err, sent)}
	case !found:
		return nil, reject(ReasonUnknownToken, "drf_token: there is no such key")
	case !u.Active && !v.acceptInactive:
		return nil, &Error{Kind: ErrRejected, Reason: ReasonInactiveUser, Err: fmt.Errorf("drf_token: user %s is not active", u.ID)}
	}
	return &session.Identity{Subject: u.ID, Name: u.Name, Source: v.name}, nil
}

// user returns whose key it is.
func (v *DRFToken) user(ctx context.Context, key string) (u User, found bool, err error) {
	if err := v.pk.learn(ctx); err != nil {
		return User{}, false, err
	}
	return v.tokens.Get(ctx, key)
}

// Check asks the database for a key that nobody has, and returns what keeps it from answering, such as tables that are
// missing. It blocks as Verify does, and counts as no verification.
func (v *DRFToken) Check(ctx context.Context) error {
	if _, _, err := v.user(ctx, "a key that nobody has"); err != nil {
		return fmt.Errorf("%s: %w", v.name, err)
	}
	return nil
}

// Close waits for the look-ups under way and releases the connections. Later ones are [ErrUnavailable]. It may be called
// again.
func (v *DRFToken) Close() error { return v.db.Close() }
