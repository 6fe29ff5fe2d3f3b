package authn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/django"
	"github.com/fairlead-ws/fairlead/authn/internal/database"
	"github.com/fairlead-ws/fairlead/session"
)

// The engines of Django's sessions (SESSION_ENGINE).
const (
	// EngineDB is the table. EngineCachedDB is read from the table as well: Django writes through its cache.
	EngineDB       = "db"
	EngineCachedDB = "cached_db"
	// EngineFile is a folder that the node shares with Django.
	EngineFile = "file"
	// EngineSignedCookies keeps a session in its cookie.
	EngineSignedCookies = "signed_cookies"
)

// ModelBackend is the authentication backend of django.contrib.auth.
const ModelBackend = "django.contrib.auth.backends.ModelBackend"

// DefaultCookieAge is SESSION_COOKIE_AGE where no settings have it.
const DefaultCookieAge = 14 * 24 * time.Hour

// DjangoSessionConfig has what Django's settings say of sessions.
type DjangoSessionConfig struct {
	Name      string   // of the verifier, Identity.Source and a metric's label; "" is "django_session"
	Engine    string   // "" is EngineDB
	Secret    string   // SECRET_KEY
	Fallbacks []string // SECRET_KEY_FALLBACKS
	// Legacy also takes what Django before 4.0 reads: SHA-1 signatures, and the form of Django before 3.1.
	Legacy bool
	// Backends is AUTHENTICATION_BACKENDS; nil is ModelBackend. Who logged in by another is nobody.
	Backends       []string
	AcceptInactive bool // as a backend of your own may; see [DjangoSession]

	DSN       string // of the users, and of the sessions of EngineDB and EngineCachedDB
	Model     UserModel
	Table     string         // of the sessions; "" is "django_session"
	Location  *time.Location // TIME_ZONE where USE_TZ is False; nil is UTC. PostgreSQL needs none
	Dir       string         // EngineFile: SESSION_FILE_PATH
	Cookie    string         // EngineFile: SESSION_COOKIE_NAME, with which the files' names begin; "" is "sessionid"
	CookieAge time.Duration  // EngineFile and EngineSignedCookies: SESSION_COOKIE_AGE; 0 is DefaultCookieAge

	Databases  *Databases    // to share connections with; nil: with nobody
	Timeout    time.Duration // for one look-up; 0 is two seconds
	MaxConns   int           // 0 is eight
	Registerer prometheus.Registerer
}

// DjangoSession verifies the sessions of django.contrib.sessions: whoever is logged in to the site is that user here. It
// decides as django.contrib.auth.get_user and channels.auth do: the session is there, is signed and is not over, its backend
// is configured, its user exists and is active, and its hash is that of the user's password. It reads, and never writes: a
// session that is over is left for clearsessions. It may be used by many goroutines.
//
// Where Django takes a session that is no good for an empty one, here it is rejected, so that a route can tell (invalid =
// "anonymous" is Django's way). A session in which nobody is logged in is absent, and so is a cookie of fewer than eight
// characters, which Django takes for none.
//
// Inactive users are refused, but by the backends of django.contrib.auth that are called AllowAllUsers…, whose point that is.
type DjangoSession struct {
	// Fixed after NewDjangoSession.
	name           string
	db             *database.DB
	users          *Users
	sessions       *django.Sessions
	hashes         *django.AuthHash
	store          sessionStore
	backends       []string
	acceptInactive bool
	seconds        latency
	now            func() time.Time
}

// sessionStore is what an engine does differently.
type sessionStore interface {
	// load returns what is kept for key, which has eight characters or more. found is false where there is nothing.
	// It blocks until ctx ends or the engine's timeout has passed.
	load(ctx context.Context, key string) (k keptSession, found bool, err error)
	// check returns what keeps the engine from answering.
	check(ctx context.Context) error
}

// keptSession is a session as an engine keeps it.
type keptSession struct {
	data     []byte
	unfilled bool // Django makes a file before it fills it
	// ends returns when the session that was read from data is over, zero where that is never; ok is false where it cannot
	// be known.
	ends func(s django.Session) (ends time.Time, ok bool)
}

// NewDjangoSession checks the configuration and returns the verifier. It does not fail because a server is down; the file of
// SQLite and the folder must be there. ctx bounds the construction only. Errors hold no secret and no password of the DSN.
// Close releases what it holds.
func NewDjangoSession(ctx context.Context, c DjangoSessionConfig) (*DjangoSession, error) {
	name, err := verifierName(c.Name, "django_session")
	if err != nil {
		return nil, err
	}
	v := &DjangoSession{name: name, backends: slices.Clone(c.Backends), acceptInactive: c.AcceptInactive, now: time.Now}
	if v.backends == nil {
		v.backends = []string{ModelBackend}
	}
	if v.seconds, err = newAuthSeconds(c.Registerer, name); err != nil {
		return nil, err
	}
	if err := v.open(ctx, c); err != nil {
		return nil, fmt.Errorf("authn: verifier %s: %w", name, err)
	}
	return v, nil
}

// open makes the parts of v.
func (v *DjangoSession) open(ctx context.Context, c DjangoSessionConfig) (err error) {
	if c.CookieAge == 0 {
		c.CookieAge = DefaultCookieAge
	}
	switch {
	case c.CookieAge < 0:
		return fmt.Errorf("the age of cookies is %v: want more than 0", c.CookieAge)
	case len(v.backends) == 0:
		return errors.New("there are no backends: want those of AUTHENTICATION_BACKENDS by which people log in")
	}
	if v.sessions, err = django.NewSessions(django.SessionsConfig{
		Secret: c.Secret, Fallbacks: c.Fallbacks, Legacy: c.Legacy, Cookies: c.Engine == EngineSignedCookies,
	}); err != nil {
		return err
	}
	if v.hashes, err = django.NewAuthHash(c.Secret, c.Fallbacks); err != nil {
		return err
	}
	observe, err := newAuthQueries(c.Registerer, v.name)
	if err != nil {
		return err
	}
	if v.db, err = c.Databases.open(ctx, database.Config{DSN: c.DSN, Timeout: c.Timeout, MaxConns: c.MaxConns, Observe: observe}); err != nil {
		return err
	}
	if v.users, err = newUsers(v.db, c.Model, ""); err == nil {
		v.store, err = newSessionStore(v.db, c)
	}
	if err != nil {
		return errors.Join(err, v.db.Close())
	}
	return nil
}

// minSessionKey is the length of the shortest session key, in characters (SessionBase._validate_session_key).
const minSessionKey = 8

// Verify implements [Verifier]. It asks the store and then for the user, and blocks until those have answered, for the
// configured timeout each at most; whatever keeps them from answering is [ErrUnavailable]. Expires is the end of the
// session: a request to the site that prolongs it does so for who connects after that, or is checked again.
func (v *DjangoSession) Verify(ctx context.Context, c Credential) (*session.Identity, error) {
	defer v.seconds.since(time.Now())
	if !utf8.Valid(c.Value) {
		return nil, reject(ReasonMalformed, "django_session: the cookie is no text")
	}
	if utf8.RuneCount(c.Value) < minSessionKey {
		return nil, ErrAbsent
	}
	key := string(c.Value)
	kept, found, err := v.store.load(ctx, key)
	switch {
	case err != nil:
		return nil, v.unavailable(err, key)
	case !found:
		return nil, reject(ReasonUnknownToken, "django_session: there is no such session")
	case kept.unfilled:
		return nil, ErrAbsent
	}
	s, err := v.sessions.Decode(kept.data)
	switch {
	case errors.Is(err, django.ErrBadSignature):
		return nil, &Error{Kind: ErrRejected, Reason: ReasonBadSignature, Err: fmt.Errorf("django_session: %w", err)}
	case err != nil:
		return nil, &Error{Kind: ErrRejected, Reason: ReasonMalformed, Err: fmt.Errorf("django_session: %w", err)}
	case !s.LoggedIn:
		return nil, ErrAbsent
	}
	ends, ok := kept.ends(s)
	if !ok || !ends.IsZero() && !v.now().Before(ends) {
		return nil, reject(ReasonExpired, "django_session: the session is over")
	}
	return v.identify(ctx, s, ends)
}

// identify finds the user of a session that is good until ends.
func (v *DjangoSession) identify(ctx context.Context, s django.Session, ends time.Time) (*session.Identity, error) {
	if !slices.Contains(v.backends, s.Backend) {
		return nil, reject(ReasonBadClaims, "django_session: the backend by which the user logged in is not configured")
	}
	if s.UserID == "" {
		return nil, reject(ReasonUnknownUser, "django_session: the session names no user by a primary key")
	}
	user, found, err := v.users.ByID(ctx, s.UserID)
	switch {
	case err != nil:
		return nil, v.unavailable(err, s.Hash)
	case !found:
		return nil, reject(ReasonUnknownUser, "django_session: the user does not exist")
	case !user.Active && !v.acceptInactive && !allowsInactive(s.Backend):
		return nil, &Error{Kind: ErrRejected, Reason: ReasonInactiveUser, Err: fmt.Errorf("django_session: user %s is not active", user.ID)}
	case s.Hash == "":
		return nil, reject(ReasonBadClaims, "django_session: the session has no hash of the user's password")
	case !v.hashes.Matches(user.Password, s.Hash):
		return nil, reject(ReasonExpired, "django_session: the password was changed since, or the secret was")
	}
	switch {
	case ends.Unix() > maxYear9999:
		ends = time.Time{}
	case !ends.IsZero():
		ends = ends.UTC()
	}
	return &session.Identity{Subject: user.ID, Name: user.Name, Source: v.name, Expires: ends}, nil
}

// allowsInactive reports whether the backend's user_can_authenticate says yes to everybody.
func allowsInactive(backend string) bool {
	return backend == "django.contrib.auth.backends.AllowAllUsersModelBackend" ||
		backend == "django.contrib.auth.backends.AllowAllUsersRemoteUserBackend"
}

// unavailable is a fault. secret is what its text must not hold.
func (v *DjangoSession) unavailable(err error, secret string) error {
	return &Error{Kind: ErrUnavailable, Reason: ReasonVerifierUnavailable, Err: fmt.Errorf("django_session: %w", database.Scrub(err, secret))}
}

// Check asks for a session and a user that nobody has, and returns what keeps the store or the database from answering. It
// blocks as Verify does, and counts as no verification.
func (v *DjangoSession) Check(ctx context.Context) error {
	err := v.store.check(ctx)
	if err == nil {
		_, _, err = v.users.ByID(ctx, "0")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.name, err)
	}
	return nil
}

// Close waits for the questions under way and releases the connections. Later ones are [ErrUnavailable]. It may be called again.
func (v *DjangoSession) Close() error { return v.db.Close() }
