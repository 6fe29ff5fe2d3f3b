package conformance

import (
	"encoding/json"
	"fmt"
	"os"
)

// Facts are what the fixtures say of users and credentials, as Django saw them.
type Facts struct {
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
	facts := &Facts{tokens: map[string]holder{}, jwts: map[string]string{}, sessions: map[string]string{}}
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
	if len(facts.tokens) == 0 || len(facts.jwts) == 0 || len(facts.sessions) == 0 {
		return nil, fmt.Errorf("%s: want tokens, jwts and sessions", file)
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
