package authn

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

func newFinder(t testing.TB, c UsersConfig) *Users {
	t.Helper()
	c.Name = "jwt"
	if c.DSN == "" {
		c.DSN = sqliteDSN
	}
	u := must(NewUsers(t.Context(), c))
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

// TestJWTFixturesWithUsers replays every token of djangorestframework-jwt, whose users are looked up by username. It says the
// same as Django, but for the rows of differs.
func TestJWTFixturesWithUsers(t *testing.T) {
	users := newFinder(t, UsersConfig{Field: "username"})
	v := newTestJWT(t, func(c *JWTConfig) { c.SubjectClaim, c.Users, c.AllowNoExpiry = "username", users, true })
	differs := map[string]Reason{
		"exp_string":  ReasonBadClaims,    // a NumericDate is a number
		"crit_header": ReasonBadAlgorithm, // RFC 7515 section 4.1.11: nobody here understands it
	}
	ids := map[string]string{"alice": "1", "zoë": "6"}
	accepted := 0
	for name, fixture := range loadFixtures(t, "fixtures.json").JWTs {
		t.Run(name, func(t *testing.T) {
			id, err := verify(t, v, fixture.Token)
			if want, ok := differs[name]; ok {
				wantRefusal(t, err, ErrRejected, want, secretsOf(fixture.Token)...)
				return
			}
			if fixture.Expect == nil || *fixture.Expect == "see observed" { // anonymous, as the three servers answered
				if err == nil || !errors.Is(err, ErrRejected) {
					t.Fatalf("got %+v, %v, and Django rejects it", id, err)
				}
				return
			}
			accepted++
			if err != nil || id.Name != *fixture.Expect || id.Subject != ids[*fixture.Expect] || id.Subject == "" {
				t.Fatalf("got %+v, %v, and for Django it is %s", id, err, *fixture.Expect)
			}
		})
	}
	if accepted < 9 {
		t.Errorf("%d were accepted: are the fixtures there?", accepted)
	}
	for name, want := range map[string]Reason{"inactive": ReasonInactiveUser, "deleted": ReasonUnknownUser, "username_case": ReasonUnknownUser} {
		token := loadFixtures(t, "fixtures.json").JWTs[name].Token
		_, err := verify(t, v, token)
		wantRefusal(t, err, ErrRejected, want, append(secretsOf(token), "bob", "gone", "Alice")...)
	}
}

// TestJWTSimpleWithUsers replays every token of djangorestframework-simplejwt, whose users are looked up by id. It says the
// same as JWTAuthentication.
func TestJWTSimpleWithUsers(t *testing.T) {
	var f struct {
		Tokens map[string]struct{ Token, Observed string }
	}
	loadJSON(t, "simplejwt.json", &f)
	users := newFinder(t, UsersConfig{})
	v := newTestJWT(t, func(c *JWTConfig) {
		c.Require, c.Users = map[string]any{"token_type": "access", "jti": AnyValue}, users
	})
	for name, want := range map[string]Reason{
		"access_alice": "", "user_id_as_string": "",
		"access_inactive_bob": ReasonInactiveUser, "unknown_user": ReasonUnknownUser, "access_expired": ReasonExpired,
		"refresh_alice_used_as_access": ReasonBadClaims, "sliding_alice": ReasonBadClaims, "missing_user_id": ReasonBadClaims,
		"missing_jti": ReasonBadClaims, "missing_token_type": ReasonBadClaims, "missing_exp": ReasonBadClaims,
	} {
		fixture := f.Tokens[name]
		if (fixture.Observed == "alice") != (want == "") {
			t.Errorf("%s: Django says %q, the table %q", name, fixture.Observed, want)
		}
		id, err := verify(t, v, fixture.Token)
		if want != "" {
			wantRefusal(t, err, ErrRejected, want, secretsOf(fixture.Token)...)
		} else if err != nil || id.Subject != "1" || id.Name != "alice" || len(id.TokenID) != 32 || id.Expires.IsZero() {
			t.Errorf("%s: got %+v, %v", name, id, err)
		}
	}
}

// finder answers as a database would that has one user, or none.
type finder struct {
	user  User
	found bool
	err   error
	asked []string
}

func (f *finder) ByField(_ context.Context, value string) (User, bool, error) {
	f.asked = append(f.asked, value)
	return f.user, f.found, f.err
}

func TestJWTUsers(t *testing.T) {
	for _, c := range []struct {
		name    string
		finder  finder
		payload string
		accept  bool
		want    *session.Identity
		kind    error
		reason  Reason
		asked   string
	}{
		{
			name: "active", finder: finder{user: User{ID: "7", Name: "root", Active: true}, found: true}, asked: "x",
			payload: `{"exp":3976214400,"user_id":"x","username":"lies","jti":"j","iat":1,"groups":["app_*"]}`,
			want: &session.Identity{
				Subject: "7", Name: "root", Source: "jwt", TokenID: "j", Grants: []string{"app_*"},
				Expires: time.Unix(3976214400, 0).UTC(), IssuedAt: time.Unix(1, 0).UTC(),
			},
		},
		{
			name: "without names", finder: finder{user: User{ID: "7", Active: true}, found: true}, asked: "1",
			payload: `{"exp":3976214400,"user_id":1,"username":["nobody","reads","it"]}`,
			want:    &session.Identity{Subject: "7", Source: "jwt", Expires: time.Unix(3976214400, 0).UTC()},
		},
		{
			name: "inactive", finder: finder{user: User{ID: "7"}, found: true}, asked: "1",
			payload: `{"exp":3976214400,"user_id":1}`, kind: ErrRejected, reason: ReasonInactiveUser,
		},
		{
			name: "inactive, accepted", finder: finder{user: User{ID: "7"}, found: true}, asked: "1", accept: true,
			payload: `{"exp":3976214400,"user_id":1}`, want: &session.Identity{Subject: "7", Source: "jwt", Expires: time.Unix(3976214400, 0).UTC()},
		},
		{name: "unknown", asked: "1", payload: `{"exp":3976214400,"user_id":1}`, kind: ErrRejected, reason: ReasonUnknownUser},
		{
			name: "no answer", finder: finder{err: errors.New("no route")}, asked: "1",
			payload: `{"exp":3976214400,"user_id":1}`, kind: ErrUnavailable, reason: ReasonVerifierUnavailable,
		},
		{name: "nobody is looked up for a dead token", payload: `{"exp":1,"user_id":1}`, kind: ErrRejected, reason: ReasonExpired},
		{name: "nor for one without a user", payload: `{"exp":3976214400}`, kind: ErrRejected, reason: ReasonBadClaims},
		{name: "nor for an odd one", payload: `{"exp":3976214400,"user_id":1,"groups":1}`, kind: ErrRejected, reason: ReasonBadClaims},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := c.finder
			v := newTestJWT(t, func(config *JWTConfig) { config.Users, config.AcceptInactive = &f, c.accept })
			token := signed(c.payload)
			id, err := verify(t, v, token)
			if got := strings.Join(f.asked, " "); got != c.asked {
				t.Errorf("asked for %q, want %q", got, c.asked)
			}
			if c.want == nil {
				wantRefusal(t, err, c.kind, c.reason, secretsOf(token)...)
			} else if err != nil || !reflect.DeepEqual(id, c.want) {
				t.Errorf("got %+v, %v, want %+v", id, err, c.want)
			}
		})
	}
}

func TestJWTCheckUsers(t *testing.T) {
	if err := newTestJWT(t, nil).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := newTestJWT(t, func(c *JWTConfig) { c.Users = &finder{} }).Check(t.Context()); err != nil {
		t.Error(err)
	}
	err := newTestJWT(t, func(c *JWTConfig) { c.Users = &finder{err: errors.New("no route")} }).Check(t.Context())
	if err == nil || err.Error() != "jwt: no route" {
		t.Errorf("got %v", err)
	}
}

func TestJWTRequireAnyValue(t *testing.T) {
	v := newTestJWT(t, func(c *JWTConfig) { c.Require = map[string]any{"a": AnyValue} })
	for payload, want := range map[string]Reason{
		`"a":"x"`: "", `"a":""`: "", `"a":0`: "", `"a":false`: "", `"a":{}`: "", `"a":"*"`: "",
		`"a":null`: ReasonBadClaims, `"b":1`: ReasonBadClaims, `"A":1`: ReasonBadClaims,
	} {
		_, err := verify(t, v, signed(`{"exp":3976214400,"user_id":1,`+payload+`}`))
		if want != "" {
			wantRefusal(t, err, ErrRejected, want)
		} else if err != nil {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

// TestJWTSimpleOdd: of genuine tokens with odd claims, nobody is let in whom djangorestframework-simplejwt keeps out. Who is
// kept out here alone is one whose id is written in another way than Django writes it, or whose claims are of no type that
// RFC 7519 knows.
func TestJWTSimpleOdd(t *testing.T) {
	var cases []struct{ Name, Head, Claims, User string }
	loadJSON(t, "simplejwt_odd.json", &cases)
	if len(cases) < 100 {
		t.Fatalf("there are %d cases", len(cases))
	}
	users := newTestUsers(t, UsersConfig{DSN: sqliteDSN})
	v := newTestJWT(t, func(c *JWTConfig) {
		c.Users, c.Require = users, map[string]any{"token_type": "access", "jti": AnyValue}
	})
	stricter := []string{
		"user_id 1.0", "user_id 1e0", "user_id true", `user_id " 1"`, `user_id "1 "`, `user_id "01"`, `user_id "+1"`, `user_id "١"`, `user_id "１"`,
		`user_id "1\n"`, "user_id 1.5", `user_id "٦"`, "user_id 4.0", `user_id "00000000000000000000001"`,
		"jti null", "jti []", "jti true", "jti {}", `jti "\ud800"`, "jti 1.5", `and "aud":"x"`, `and "groups":[1]`, `and "x":NaN`,
	}
	seen := 0
	for _, c := range cases {
		got := ""
		id, err := verify(t, v, sign(orDefault(c.Head, `{"alg":"HS256","typ":"JWT"}`), c.Claims, []byte(fixtureSecret)))
		switch {
		case err == nil:
			got = id.Name
		case !errors.Is(err, ErrRejected):
			t.Errorf("%s: %v", c.Name, err)
		}
		if slices.Contains(stricter, c.Name) && c.User != "" {
			seen++
			c.User = ""
		}
		if got != c.User {
			t.Errorf("%s: got %q, %v, want %q", c.Name, got, err, c.User)
		}
	}
	if seen != len(stricter) {
		t.Errorf("%d cases of %d are stricter here", seen, len(stricter))
	}
}
