package conformance

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/golang-jwt/jwt/v5"
)

// Facts are what the fixtures say of users and credentials, as Django saw them.
type Facts struct {
	users  map[string]bool   // who is active, by name
	secret []byte            // of HS256
	tokens map[string]holder // by key
	jwts   map[string]string // the user's name by token; "" for nobody
	// sessions are the users' names by the cookie's value.
	sessions map[string]string
}

type holder struct {
	name   string
	active bool
}

// kept is a session, and whom Django takes it for; nil is nobody.
type kept struct {
	SessionID string
	Expect    *string
}

// LoadFacts reads fixtures.json.
func LoadFacts(file string) (*Facts, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var f struct {
		JWTSecret string `json:"jwt_secret"`
		Users     []struct {
			Username string
			IsActive bool `json:"is_active"`
		}
		Tokens map[string]struct {
			Key, User string
			Active    bool
		}
		JWTs    map[string]struct{ Token, Expect string }
		DB      map[string]kept `json:"sessions_db"`
		Cookies map[string]kept `json:"sessions_signed_cookies"`
		Files   map[string]kept `json:"sessions_file"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	facts := &Facts{
		users: map[string]bool{}, secret: []byte(f.JWTSecret), tokens: map[string]holder{}, jwts: map[string]string{}, sessions: map[string]string{},
	}
	for _, u := range f.Users {
		facts.users[u.Username] = u.IsActive
	}
	for _, t := range f.Tokens {
		facts.tokens[t.Key] = holder{t.User, t.Active}
	}
	for _, t := range f.JWTs {
		if t.Expect == "anonymous" || t.Expect == "see observed" { // what was observed is nobody
			t.Expect = ""
		}
		facts.jwts[t.Token] = t.Expect
	}
	for _, sessions := range []map[string]kept{f.DB, f.Cookies, f.Files} {
		for _, s := range sessions {
			if s.Expect != nil && *s.Expect != "error" { // an exception is nobody
				facts.sessions[s.SessionID] = *s.Expect
			}
		}
	}
	if len(facts.users) == 0 || len(facts.secret) == 0 || len(facts.tokens) == 0 || len(facts.jwts) == 0 || len(facts.sessions) == 0 {
		return nil, fmt.Errorf("%s: want users, jwt_secret, tokens, jwts and sessions", file)
	}
	return facts, nil
}

// token returns the name of the active user who holds the key, "" for nobody.
func (f *Facts) token(key string) string {
	if h := f.tokens[key]; h.active {
		return h.name
	}
	return ""
}

// jwt returns the name of the active user whom the token is of, "" for nobody. One that the fixtures do not know is verified.
func (f *Facts) jwt(token string) string {
	if name, ok := f.jwts[token]; ok {
		return name
	}
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return f.secret, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	name, _ := claims["username"].(string)
	if err != nil || len(f.secret) == 0 || claims["aud"] != nil || !f.users[name] {
		return ""
	}
	return name
}
