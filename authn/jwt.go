package authn

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/jwks"
	"github.com/fairlead-ws/fairlead/session"
)

// MaxJWT is the longest token that a [JWT] reads, in bytes.
const MaxJWT = 8192

// DefaultJWKSMaxStale is how long keys stay in force when their issuer does not answer any more.
const DefaultJWKSMaxStale = jwks.DefaultMaxStale

// MaxLeeway is the most that clocks may differ.
const MaxLeeway = 30 * time.Second

// AnyValue is what a claim of JWTConfig.Require must have where it only has to be there.
const AnyValue = "*"

// JWTConfig says which tokens a [JWT] accepts. Exactly one of Secret, PublicKey, JWKSURL and Discover is set.
type JWTConfig struct {
	Name       string   // of the verifier, Identity.Source and a metric's label; "" is "jwt"
	Algorithms []string // nil is HS256, with JWKSURL or Discover RS256; all must fit the key. Never taken from the token

	Secret    []byte // for HS*, used as it is: at least as long as the hash
	PublicKey []byte // for the others, PEM: see ParsePublicKeyPEM
	JWKSURL   string // for the others: where the issuer's keys are (RFC 7517); a token names one by its kid
	Discover  bool   // for the others: as with JWKSURL, which the OpenID configuration of Issuer names
	// JWKSMaxStale is how long fetched keys stay in force when the issuer does not answer any more, a minute at least: then
	// tokens are answered with [ErrUnavailable]. 0 is DefaultJWKSMaxStale, and below 0 there is no bound: a key that was
	// withdrawn meanwhile is good for ever.
	JWKSMaxStale time.Duration

	Issuer   string // "" does not look at iss
	Audience string // "" refuses a token that has aud: it is meant for somebody else

	SubjectClaim string         // the user's primary key: a string or an integer; "" is "user_id"
	NameClaim    string         // the user name, optional in a token and not read with Users; "" is "username"
	GroupsClaim  string         // grants, a list of strings, optional in a token; "" is "groups"
	Require      map[string]any // claims that must have this value: a string, a bool or an integer; AnyValue is any but null
	Keep         []string       // claims that go into Identity.Claims, for Handlers; each costs memory per connection

	AllowNoExpiry bool          // accept a token without exp
	Leeway        time.Duration // for clocks that differ, at most MaxLeeway; it also prolongs Identity.Expires

	// Users looks up who the subject claim stands for, who must exist and be active; nil believes the token until it
	// expires. It is the caller's, and used until Close.
	Users          UserFinder
	AcceptInactive bool // accept the token of a user whose is_active is false

	Transport  http.RoundTripper     // for fetching keys; nil is one of its own, without a proxy
	Logger     *slog.Logger          // of keys that are fetched; nil logs nothing
	Now        func() time.Time      // for the token's dates; nil is time.Now
	Registerer prometheus.Registerer // nil leaves the metrics unregistered
}

// JWT verifies JSON Web Tokens (RFC 7519) that are signed (RFC 7515). It is fixed after NewJWT and may be used by many
// goroutines. With JWKSURL or Discover it has a goroutine that fetches keys, until Close.
// HS256 to HS512 allocate the identity and its texts, and little else.
type JWT struct {
	name      string
	methods   []jwt.SigningMethod
	key       any            // nil with a source
	source    *jwks.Source   // of the keys; nil with a key
	issuer    string         // "": iss is not looked at
	validator *jwt.Validator // of the dates, aud and iss
	audience  bool           // one is configured

	subject, nameClaim, groups string
	require                    []requirement
	keep                       []string
	leeway                     time.Duration
	users                      UserFinder // nil: nobody is looked up
	acceptInactive             bool
	seconds                    latency

	pool sync.Pool // of *scratch
}

// NewJWT checks the configuration and returns the verifier. It does not wait for keys that it has to fetch: while there are
// none, tokens are answered with [ErrUnavailable]. An error never holds the key.
func NewJWT(c JWTConfig) (*JWT, error) {
	name, err := verifierName(c.Name, "jwt")
	if err != nil {
		return nil, err
	}
	v := &JWT{
		name:      name,
		audience:  c.Audience != "",
		subject:   orDefault(c.SubjectClaim, "user_id"),
		nameClaim: orDefault(c.NameClaim, "username"),
		groups:    orDefault(c.GroupsClaim, "groups"),
		keep:      slices.Clone(c.Keep),
		leeway:    c.Leeway,
		issuer:    c.Issuer,
		users:     c.Users, acceptInactive: c.AcceptInactive,
	}
	if v.methods, v.key, err = c.keys(); err == nil {
		v.require, err = requirements(c.Require)
	}
	if err != nil {
		return nil, fmt.Errorf("authn: verifier %s: %w", name, err)
	}
	if c.Leeway < 0 || c.Leeway > MaxLeeway {
		return nil, fmt.Errorf("authn: verifier %s: the leeway is %v: want 0 to %v", name, c.Leeway, MaxLeeway)
	}
	options := []jwt.ParserOption{jwt.WithIssuedAt(), jwt.WithLeeway(c.Leeway)}
	if !c.AllowNoExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	if c.Now != nil {
		options = append(options, jwt.WithTimeFunc(c.Now))
	}
	v.validator = jwt.NewValidator(options...)
	v.pool.New = func() any { return v.newScratch() }
	if v.seconds, err = newAuthSeconds(c.Registerer, name); err != nil {
		return nil, err
	}
	if v.key == nil { // last, since it begins to fetch
		if v.source, err = c.source(name, v.methods); err != nil {
			return nil, fmt.Errorf("authn: verifier %s: %w", name, err)
		}
	}
	return v, nil
}

// keys returns the algorithms and the key, checked to fit each other. The key is nil where it has to be fetched.
func (c *JWTConfig) keys() (methods []jwt.SigningMethod, key any, err error) {
	names := c.Algorithms
	if len(names) == 0 {
		names = []string{jwt.SigningMethodHS256.Name}
	}
	switch {
	case len(c.Secret) > 0 && len(c.PublicKey) > 0:
		return nil, nil, errors.New("it has a secret and a public key: want one of them")
	case c.JWKSURL != "" || c.Discover:
		if err = c.checkSource(); err != nil {
			return nil, nil, err
		}
		if len(c.Algorithms) == 0 {
			names = []string{jwt.SigningMethodRS256.Name} // the default of OpenID Connect
		}
	case len(c.Secret) > 0:
		if err = checkSecret(c.Secret); err != nil {
			return nil, nil, err
		}
		key = slices.Clone(c.Secret)
	case len(c.PublicKey) > 0:
		if key, err = ParsePublicKeyPEM(c.PublicKey); err != nil {
			return nil, nil, fmt.Errorf("public key: %w", err)
		}
	default:
		return nil, nil, errors.New("it has no key: want a secret, a public key or where to fetch keys")
	}
	for _, name := range names {
		m, err := algorithm(name)
		switch {
		case err != nil:
		case key != nil:
			err = checkKey(m, key)
		default:
			err = checkFetched(m)
		}
		if err != nil {
			return nil, nil, err
		}
		methods = append(methods, m)
	}
	return methods, key, nil
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// segment decodes the parts of a token. Strictly, so that no signature has a second spelling.
var segment = base64.RawURLEncoding.Strict()

// Verify implements [Verifier]. It does not block, unless the token's key has to be fetched or its user to be looked up. No
// claim is read before the signature has been checked. Beyond signature and dates it refuses what Django's libraries let pass: white space and padding in the token,
// digits in quotes as a date, crit, and a token without exp unless the configuration allows it. The identity shares no
// memory with the token. Nothing of what a token holds is in an error.
func (v *JWT) Verify(ctx context.Context, c Credential) (*session.Identity, error) {
	defer v.seconds.since(time.Now())
	if len(c.Value) > MaxJWT {
		return nil, rejectLongJWT()
	}
	s := v.pool.Get().(*scratch)
	id, err := v.verify(ctx, s, c.Value)
	s.reset()
	v.pool.Put(s)
	if err != nil || v.users == nil {
		return id, err
	}
	return v.lookUp(ctx, id)
}

func (v *JWT) verify(ctx context.Context, s *scratch, token []byte) (*session.Identity, error) {
	head, payload, signature, ok := s.decode(token)
	if !ok {
		return nil, rejectJWTForm()
	}
	if !s.claims.parse(head) {
		return nil, reject(ReasonMalformed, "jwt: the header is no JSON object")
	}
	method, err := v.method(s)
	if err != nil {
		return nil, err
	}
	key := v.key
	if key == nil {
		if key, err = v.fetched(ctx, s, method); err != nil {
			return nil, err
		}
	}
	if !v.signed(s, method, key, token[:bytes.LastIndexByte(token, '.')], signature) {
		return nil, reject(ReasonBadSignature, "jwt: the signature is not of the configured key")
	}
	if !s.claims.parse(payload) {
		return nil, rejectJWTClaims()
	}
	if err := v.validator.Validate(&s.claims); err != nil {
		return nil, invalid(err)
	}
	id, err := v.identity(s)
	if err != nil {
		return nil, &Error{Kind: ErrRejected, Reason: ReasonBadClaims, Err: err}
	}
	return id, nil
}

func rejectLongJWT() error {
	return reject(ReasonMalformed, "jwt: the token is longer than "+strconv.Itoa(MaxJWT)+" bytes")
}

func rejectJWTForm() error {
	return reject(ReasonMalformed, "jwt: want three parts of base64url, without padding")
}

func rejectJWTClaims() error { return reject(ReasonMalformed, "jwt: the claims are no JSON object") }

// method returns which of the configured algorithms the header names. It understands no extension (RFC 7515 section 4.1.11),
// and no payload that is not base64url (RFC 7797), which a token may not have. A kid is a text whether or not it is needed
// (RFC 7515 section 4.1.4).
func (v *JWT) method(s *scratch) (int, error) {
	if _, ok := s.claims.get("crit"); ok {
		return 0, reject(ReasonBadAlgorithm, "jwt: the header has crit, and no extension is understood here")
	}
	if b64, ok := s.claims.get("b64"); ok && string(b64) == "false" {
		return 0, reject(ReasonBadAlgorithm, "jwt: the header says that the payload is not base64url")
	}
	if kid, ok := s.claims.get("kid"); ok && kid[0] != '"' {
		return 0, reject(ReasonMalformed, "jwt: the header has a kid that is no text")
	}
	alg, err := s.claims.appendText(s.text[:0], "alg")
	if err == nil {
		for i, m := range v.methods {
			if m.Alg() == string(alg) {
				return i, nil
			}
		}
	}
	return 0, reject(ReasonBadAlgorithm, "jwt: the token's algorithm is not configured")
}

// invalid says what the validator's err means in our words.
func invalid(err error) error {
	if e, ok := errors.AsType[*claimError](err); ok {
		return &Error{Kind: ErrRejected, Reason: ReasonBadClaims, Err: e}
	}
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return reject(ReasonExpired, "jwt: exp has passed")
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return reject(ReasonNotYetValid, "jwt: nbf or iat is in the future")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return reject(ReasonBadClaims, "jwt: aud is not the configured audience")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return reject(ReasonBadClaims, "jwt: iss is not the configured issuer")
	default:
		return reject(ReasonBadClaims, "jwt: exp, aud or iss is wanted and missing")
	}
}

// identity reads what the validator left to us. The token is genuine and in date by now.
func (v *JWT) identity(s *scratch) (*session.Identity, error) {
	c := &s.claims
	if !v.audience {
		if aud, err := c.GetAudience(); err != nil || len(aud) > 0 {
			return nil, &claimError{"aud", "names an audience, and none is configured"}
		}
	}
	for i := range v.require {
		if !v.require[i].met(s) {
			return nil, &claimError{v.require[i].claim, "does not have the required value"}
		}
	}
	id := &session.Identity{Source: v.name, IssuedAt: c.iat.Time}
	if err := v.texts(id, s); err != nil {
		return nil, err
	}
	var err error
	if id.Grants, err = c.grants(v.groups); err != nil {
		return nil, err
	}
	if id.Claims, err = c.keep(v.keep); err != nil {
		return nil, err
	}
	if !c.exp.IsZero() { // the validator has read both dates
		id.Expires = c.exp.Add(v.leeway)
	}
	return id, nil
}

// texts reads the identity's texts. They are parts of one string, since they live and die together: one allocation for each
// connection and not three.
func (v *JWT) texts(id *session.Identity, s *scratch) error {
	b, err := s.claims.appendText(s.text[:0], v.subject)
	if err != nil {
		return err
	}
	subject := len(b)
	if subject == 0 {
		return &claimError{v.subject, "is missing or empty, and says who the user is"}
	}
	if v.users == nil { // else the name is the row's, whatever the token has there
		if b, err = s.claims.appendText(b, v.nameClaim); err != nil {
			return err
		}
	}
	name := len(b)
	if b, err = s.claims.appendLongText(b, "jti"); err != nil {
		return err
	}
	if len(b)-name > maxText { // what tells tokens apart in the journal is no reason to refuse one
		b = b[:name]
	}
	all := string(b)
	id.Subject, id.Name, id.TokenID = all[:subject], all[subject:name], all[name:]
	return nil
}
