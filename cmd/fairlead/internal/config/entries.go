package config

import "time"

// The kinds of verifiers and authorizers.
const (
	KindDRFToken      = "drf_token"
	KindDjangoSession = "django_session"
	KindJWT           = "jwt"
	KindIssuers       = "issuers"
	KindCallback      = "callback"
	KindTicket        = "ticket"

	KindSQL    = "sql"
	KindGrants = "grants"
	KindSigned = "signed"
	KindAny    = "any"
)

// Verifier is one [[verifier]]: it says whether a credential is good and whose it is.
type Verifier struct {
	Name string `toml:"name"`
	Kind string `toml:"kind" enum:"drf_token,django_session,jwt,issuers,callback,ticket"`

	DSN     string `toml:"dsn" only:"drf_token,django_session" secret:"dsn_file"`
	DSNFile string `toml:"dsn_file" only:"drf_token,django_session"`
	Listen  bool   `toml:"listen" only:"drf_token,django_session,jwt"` // PostgreSQL tells of changes: see fairlead authn trigger-sql

	// Where users are, and what their columns are called.
	Users         string `toml:"users" only:"jwt" secret:"users_file"` // a dsn; "": nobody is looked up
	UsersFile     string `toml:"users_file" only:"jwt"`
	UserField     string `toml:"user_field" only:"jwt"` // the column that subject_claim is looked up in
	InactiveUsers string `toml:"inactive_users" only:"drf_token,django_session,jwt" enum:"refuse,accept"`
	UserTable     string `toml:"user_table" only:"drf_token,django_session,jwt"`
	UserPK        string `toml:"user_pk" only:"drf_token,django_session,jwt"`
	UserName      string `toml:"user_name" only:"drf_token,django_session,jwt"` // "": users have no name
	UserActive    string `toml:"user_active" only:"drf_token,django_session,jwt"`
	UserPassword  string `toml:"user_password" only:"django_session"`

	TokenTable string `toml:"token_table" only:"drf_token"`
	TokenKey   string `toml:"token_key" only:"drf_token"`
	TokenUser  string `toml:"token_user" only:"drf_token"`

	Engine              string        `toml:"engine" only:"django_session" enum:"db,cached_db,file,signed_cookies"`
	Secret              string        `toml:"secret" only:"django_session,jwt,callback" secret:"secret_file"`
	SecretFile          string        `toml:"secret_file" only:"django_session,jwt,callback"`
	SecretFallbacks     string        `toml:"secret_fallbacks" only:"django_session" secret:"secret_fallbacks_file"` // one on each line
	SecretFallbacksFile string        `toml:"secret_fallbacks_file" only:"django_session"`
	SessionTable        string        `toml:"session_table" only:"django_session"`
	SessionDir          string        `toml:"session_dir" only:"django_session"`    // SESSION_FILE_PATH
	SessionCookie       string        `toml:"session_cookie" only:"django_session"` // SESSION_COOKIE_NAME, with which the files' names begin
	CookieAge           time.Duration `toml:"cookie_age" only:"django_session"`     // SESSION_COOKIE_AGE
	Backends            []string      `toml:"backends" only:"django_session"`       // AUTHENTICATION_BACKENDS
	Legacy              bool          `toml:"legacy" only:"django_session"`         // what Django before 4.0 reads as well
	TimeZone            string        `toml:"time_zone" only:"django_session"`      // TIME_ZONE where USE_TZ is False

	Algorithms    []string       `toml:"algorithms" only:"jwt"`
	PublicKeyFile string         `toml:"public_key_file" only:"jwt"`
	JWKSURL       string         `toml:"jwks_url" only:"jwt"`
	Discover      bool           `toml:"discover" only:"jwt"`       // the JWKS from the issuer's OpenID configuration
	JWKSMaxStale  time.Duration  `toml:"jwks_max_stale" only:"jwt"` // how long keys stay in force without an answer; 0: for ever
	Issuer        string         `toml:"issuer" only:"jwt"`
	Audience      string         `toml:"audience" only:"jwt"`
	SubjectClaim  string         `toml:"subject_claim" only:"jwt"`
	NameClaim     string         `toml:"name_claim" only:"jwt"`
	GroupsClaim   string         `toml:"groups_claim" only:"jwt"`
	Require       map[string]any `toml:"require" only:"jwt"`
	RequireExpiry bool           `toml:"require_expiry" only:"jwt"`
	Leeway        time.Duration  `toml:"leeway" only:"jwt"`

	Of []string `toml:"of" only:"issuers"` // verifiers of kind jwt, each with an issuer

	URL     string        `toml:"url" only:"callback"`
	Timeout time.Duration `toml:"timeout" only:"callback"`
	Forward []string      `toml:"forward" only:"callback"` // header fields that the application gets

	// CacheTTL is how long an answer is good, NegativeTTL how long a rejection is. 0: always ask.
	CacheTTL    time.Duration `toml:"cache_ttl" only:"drf_token,django_session,jwt,callback"`
	NegativeTTL time.Duration `toml:"negative_ttl" only:"drf_token,django_session,jwt,callback"`
}

// UserFieldPK is the user_field that means the primary key, whatever that is called.
const UserFieldPK = "id"

// Database returns the dsn of the database that the verifier asks, if it asks one.
func (v *Verifier) Database() string {
	if v.Kind == KindJWT {
		return v.Users
	}
	return v.DSN
}

// Authorizer is one [[authorizer]]: it says whether an identity may join a group.
type Authorizer struct {
	Name string `toml:"name"`
	Kind string `toml:"kind" enum:"sql,grants,callback,signed,any"`

	DSN     string         `toml:"dsn" only:"sql" secret:"dsn_file"`
	DSNFile string         `toml:"dsn_file" only:"sql"`
	Query   string         `toml:"query" only:"sql"`
	Params  map[string]any `toml:"params" only:"sql"`

	URL     string        `toml:"url" only:"callback"`
	Timeout time.Duration `toml:"timeout" only:"callback"`
	Forward []string      `toml:"forward" only:"callback"`

	Secret              string        `toml:"secret" only:"signed,callback" secret:"secret_file"`
	SecretFile          string        `toml:"secret_file" only:"signed,callback"`
	SecretFallbacks     string        `toml:"secret_fallbacks" only:"signed" secret:"secret_fallbacks_file"` // one on each line
	SecretFallbacksFile string        `toml:"secret_fallbacks_file" only:"signed"`
	Format              string        `toml:"format" only:"signed" enum:"django,hmac"`
	Salt                string        `toml:"salt" only:"signed"`
	MaxAge              time.Duration `toml:"max_age" only:"signed"` // of the value; 0: it says itself when it ends
	ValueIn             string        `toml:"value_in" only:"signed" enum:"query,header,cookie,subprotocol"`
	ValueName           string        `toml:"value_name" only:"signed"` // of subprotocols: the prefix

	Of []string `toml:"of" only:"any"` // authorizers that are asked in this order; the first that allows decides

	CacheTTL    time.Duration `toml:"cache_ttl" only:"sql,callback"`
	NegativeTTL time.Duration `toml:"negative_ttl" only:"sql,callback"`
}

// Route is one [[route]]: a path pattern with its rules.
type Route struct {
	Path         string        `toml:"path"`
	Category     string        `toml:"category"`
	Join         []string      `toml:"join"`
	Origins      []string      `toml:"origins"`
	NoOrigin     string        `toml:"no_origin" enum:"refuse,allow"`
	Anonymous    string        `toml:"anonymous" enum:"refuse,allow"`
	Invalid      string        `toml:"invalid" enum:"refuse,anonymous"`
	Reject       string        `toml:"reject" enum:"http,close"`
	Authorize    string        `toml:"authorize"`
	Recheck      time.Duration `toml:"recheck"` // credential and permission are looked at again within so long; 0: never
	OnMessage    string        `toml:"on_message" enum:"broadcast,echo,ignore"`
	Greet        bool          `toml:"greet"`
	Subprotocols []string      `toml:"subprotocols"`
	Credentials  []Credential  `toml:"credential"`
}

// Credential is one place of a handshake in which a route looks for a credential.
type Credential struct {
	From     string `toml:"from" enum:"header,cookie,query,subprotocol,request"`
	Name     string `toml:"name" only:"header,cookie,query"`
	Scheme   string `toml:"scheme" only:"header"`
	Prefix   string `toml:"prefix" only:"subprotocol"`
	Verifier string `toml:"verifier"`
}

// setDefaults gives a new entry its defaults, before the layers write into it.
func (v *Verifier) setDefaults() {
	v.InactiveUsers = "refuse"
	v.UserField = UserFieldPK
	v.UserTable, v.UserPK, v.UserName, v.UserActive, v.UserPassword = "auth_user", "id", "username", "is_active", "password"
	v.TokenTable, v.TokenKey, v.TokenUser = "authtoken_token", "key", "user_id"
	v.Engine, v.SessionTable, v.SessionCookie, v.CookieAge = "db", "django_session", "sessionid", 14*24*time.Hour
	v.Backends = []string{"django.contrib.auth.backends.ModelBackend"}
	v.JWKSMaxStale = 24 * time.Hour
	v.SubjectClaim = "user_id"
	v.NameClaim = "username"
	v.GroupsClaim = "groups"
	v.RequireExpiry = true
	v.Timeout, v.Forward = 2*time.Second, []string{"Authorization", "Cookie"}
	v.CacheTTL, v.NegativeTTL = 30*time.Second, 2*time.Second
}

func (a *Authorizer) setDefaults() {
	a.Timeout, a.Forward = 2*time.Second, []string{"Authorization", "Cookie"}
	a.Format, a.Salt, a.ValueIn, a.ValueName = "django", "fairlead", "query", "grant"
}

func (r *Route) setDefaults() {
	r.NoOrigin, r.Anonymous, r.Invalid, r.Reject = "refuse", "refuse", "refuse", "http"
	r.OnMessage = "broadcast"
}
