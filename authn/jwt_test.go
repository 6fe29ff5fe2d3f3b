package authn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// testNow is when the fixtures are looked at. What they call the future is later, and the past earlier.
var testNow = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func fixedNow() time.Time { return testNow }

func newTestJWT(t testing.TB, change func(*JWTConfig)) *JWT {
	t.Helper()
	c := JWTConfig{Secret: []byte(fixtureSecret), Now: fixedNow}
	if change != nil {
		change(&c)
	}
	v, err := NewJWT(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func verify(t testing.TB, v Verifier, token string) (*session.Identity, error) {
	t.Helper()
	return v.Verify(t.Context(), Credential{From: "header", Value: []byte(token)})
}

// sign makes a token of raw JSON, by the letter of RFC 7515 and without a library.
func sign(header, payload string, secret []byte) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + b64(mac.Sum(nil))
}

const hs256Header = `{"alg":"HS256","typ":"JWT"}`

func signed(payload string) string { return sign(hs256Header, payload, []byte(fixtureSecret)) }

// TestJWTFixtures holds the verifier to the tokens that a real Django judged. A token is a user's primary key here, where
// the fixtures' Django looked the name up: looking up is another verifier's business.
func TestJWTFixtures(t *testing.T) {
	type answer struct {
		subject, name string
		reason        Reason
	}
	ok := func(subject, name string) answer { return answer{subject, name, ""} }
	no := func(r Reason) answer { return answer{reason: r} }
	want := map[string]struct{ byID, byName answer }{
		"valid":            {ok("1", "alice"), ok("alice", "alice")},
		"valid_unicode":    {ok("6", "zoë"), ok("zoë", "zoë")},
		"expired":          {no(ReasonExpired), no(ReasonExpired)},
		"no_exp":           {no(ReasonBadClaims), no(ReasonBadClaims)}, // differs on purpose, see below
		"exp_string":       {no(ReasonBadClaims), no(ReasonBadClaims)}, // differs on purpose
		"exp_float":        {ok("1", "alice"), ok("alice", "alice")},
		"exp_garbage":      {no(ReasonBadClaims), no(ReasonBadClaims)},
		"nbf_future":       {no(ReasonNotYetValid), no(ReasonNotYetValid)},
		"iat_future":       {no(ReasonNotYetValid), no(ReasonNotYetValid)},
		"orig_iat":         {ok("1", "alice"), ok("alice", "alice")},
		"with_aud":         {no(ReasonBadClaims), no(ReasonBadClaims)},
		"with_iss":         {ok("1", "alice"), ok("alice", "alice")},
		"missing_user_id":  {no(ReasonBadClaims), ok("alice", "alice")},
		"wrong_user_id":    {ok("99999", "alice"), ok("alice", "alice")},
		"missing_username": {ok("1", ""), no(ReasonBadClaims)},
		"empty_username":   {ok("1", ""), no(ReasonBadClaims)},
		"username_case":    {ok("1", "Alice"), ok("Alice", "Alice")},
		"inactive":         {ok("2", "bob"), ok("bob", "bob")},
		"deleted":          {ok("5", "gone"), ok("gone", "gone")},
		"wrong_key":        {no(ReasonBadSignature), no(ReasonBadSignature)},
		"alg_none":         {no(ReasonBadAlgorithm), no(ReasonBadAlgorithm)},
		"alg_None_case":    {no(ReasonBadAlgorithm), no(ReasonBadAlgorithm)},
		"hs512":            {no(ReasonBadAlgorithm), no(ReasonBadAlgorithm)},
		"hs384":            {no(ReasonBadAlgorithm), no(ReasonBadAlgorithm)},
		"tampered_payload": {no(ReasonBadSignature), no(ReasonBadSignature)},
		"truncated_sig":    {no(ReasonMalformed), no(ReasonMalformed)}, // cut inside a byte
		"two_parts":        {no(ReasonMalformed), no(ReasonMalformed)},
		"four_parts":       {no(ReasonMalformed), no(ReasonMalformed)},
		"padded":           {no(ReasonMalformed), no(ReasonMalformed)},
		"no_typ":           {ok("1", "alice"), ok("alice", "alice")},
		"payload_array":    {no(ReasonMalformed), no(ReasonMalformed)},
		"crit_header":      {no(ReasonBadAlgorithm), no(ReasonBadAlgorithm)}, // differs on purpose
		"empty":            {no(ReasonMalformed), no(ReasonMalformed)},
		"rs256":            {no(ReasonBadAlgorithm), no(ReasonBadAlgorithm)},
	}
	byID := newTestJWT(t, nil)
	byName := newTestJWT(t, func(c *JWTConfig) { c.SubjectClaim = "username" })
	for _, file := range []string{"fixtures.json", "fixtures_pg.json"} {
		jwts := loadFixtures(t, file).JWTs
		if len(jwts) != len(want) {
			t.Errorf("%s has %d tokens, the table %d", file, len(jwts), len(want))
		}
		for name, fixture := range jwts {
			for _, c := range []struct {
				v    *JWT
				want answer
			}{{byID, want[name].byID}, {byName, want[name].byName}} {
				t.Run(file+"/"+name+"/"+c.v.subject, func(t *testing.T) {
					id, err := verify(t, c.v, fixture.Token)
					if c.want.reason != "" {
						wantRefusal(t, err, ErrRejected, c.want.reason, secretsOf(fixture.Token)...)
						return
					}
					if err != nil || id.Subject != c.want.subject || id.Name != c.want.name || id.Source != "jwt" {
						t.Fatalf("got %+v, %v, want %+v", id, err, c.want)
					}
				})
			}
		}
	}
}

// secretsOf returns a token and its parts.
func secretsOf(token string) []string {
	return append(strings.Split(token, "."), token)
}

func TestJWTWithoutExpiry(t *testing.T) {
	v := newTestJWT(t, func(c *JWTConfig) { c.AllowNoExpiry = true })
	jwts := loadFixtures(t, "fixtures.json").JWTs
	id, err := verify(t, v, jwts["no_exp"].Token)
	if err != nil || id.Subject != "1" || !id.Expires.IsZero() {
		t.Errorf("no_exp: got %+v, %v", id, err)
	}
	// What has an expiry still keeps it.
	_, err = verify(t, v, jwts["expired"].Token)
	wantRefusal(t, err, ErrRejected, ReasonExpired)
	_, err = verify(t, v, jwts["exp_string"].Token)
	wantRefusal(t, err, ErrRejected, ReasonBadClaims)
}

// TestJWTSimple holds the verifier to the tokens of djangorestframework-simplejwt, whose refresh tokens are signed with the
// same key: only the required token_type tells them apart.
func TestJWTSimple(t *testing.T) {
	var f struct {
		Tokens map[string]struct{ Token string }
	}
	loadJSON(t, "simplejwt.json", &f)
	v := newTestJWT(t, func(c *JWTConfig) { c.Require = map[string]any{"token_type": "access"} })
	want := map[string]struct {
		subject string
		reason  Reason
	}{
		"access_alice":                 {"1", ""},
		"access_inactive_bob":          {"2", ""}, // nobody is looked up here
		"access_expired":               {"", ReasonExpired},
		"refresh_alice_used_as_access": {"", ReasonBadClaims},
		"sliding_alice":                {"", ReasonBadClaims},
		"unknown_user":                 {"99999", ""}, // likewise
		"missing_user_id":              {"", ReasonBadClaims},
		"missing_jti":                  {"1", ""}, // simplejwt wants one; it proves nothing
		"missing_token_type":           {"", ReasonBadClaims},
		"missing_exp":                  {"", ReasonBadClaims},
		"user_id_as_string":            {"1", ""},
	}
	if len(f.Tokens) != len(want) {
		t.Errorf("the fixtures have %d tokens, the table %d", len(f.Tokens), len(want))
	}
	for name, fixture := range f.Tokens {
		t.Run(name, func(t *testing.T) {
			id, err := verify(t, v, fixture.Token)
			if r := want[name].reason; r != "" {
				wantRefusal(t, err, ErrRejected, r, secretsOf(fixture.Token)...)
			} else if err != nil || id.Subject != want[name].subject {
				t.Fatalf("got %+v, %v, want %+v", id, err, want[name])
			}
		})
	}
	id, err := verify(t, v, f.Tokens["access_alice"].Token)
	wantID := &session.Identity{
		Subject: "1", Source: "jwt", TokenID: "0c591a636f664ad4bda672ff3da5440c",
		Expires: time.Unix(3955442839, 0).UTC(), IssuedAt: time.Unix(1000000000, 0).UTC(),
	}
	if err != nil || !reflect.DeepEqual(id, wantID) {
		t.Errorf("got %+v, %v, want %+v", id, err, wantID)
	}
}

func TestJWTClaims(t *testing.T) {
	const exp = `"exp":3976214400,`
	for _, c := range []struct {
		name, payload string
		change        func(*JWTConfig)
		want          *session.Identity // Source and Expires are filled in
		reason        Reason
	}{
		{name: "number as subject", payload: `{` + exp + `"user_id":12345678901234567890123}`, want: &session.Identity{Subject: "12345678901234567890123"}},
		{name: "number without float", payload: `{` + exp + `"user_id":10000000}`, want: &session.Identity{Subject: "10000000"}},
		{name: "negative number", payload: `{` + exp + `"user_id":-1}`, want: &session.Identity{Subject: "-1"}},
		{name: "text as subject", payload: `{` + exp + `"user_id":"76eedf10-fdc5-4888-9a2a-5ca6d6f84f71"}`, want: &session.Identity{Subject: "76eedf10-fdc5-4888-9a2a-5ca6d6f84f71"}},
		{name: "escaped text", payload: `{` + exp + `"user_id":"zo\u00eb\ud83d\ude00\/"}`, want: &session.Identity{Subject: "zoë😀/"}},
		{name: "the last of two counts", payload: `{` + exp + `"user_id":1,"user_id":2}`, want: &session.Identity{Subject: "2"}},
		{name: "space in the payload", payload: " {\n" + exp + `"user_id" : 1 } `, want: &session.Identity{Subject: "1"}},
		{name: "sub is not looked at", payload: `{` + exp + `"user_id":1,"sub":{"odd":[1]}}`, want: &session.Identity{Subject: "1"}},
		{name: "null name", payload: `{` + exp + `"user_id":1,"username":null}`, want: &session.Identity{Subject: "1"}},
		{
			name: "everything", payload: `{` + exp + `"user_id":1,"username":"alice","jti":7,"iat":1500000000.5,"nbf":0,"groups":["app_1","app_*"],"x":1}`,
			want: &session.Identity{
				Subject: "1", Name: "alice", TokenID: "7", IssuedAt: time.Unix(1500000000, 5e8).UTC(), Grants: []string{"app_1", "app_*"},
			},
		},
		{name: "no groups", payload: `{` + exp + `"user_id":1,"groups":[]}`, want: &session.Identity{Subject: "1"}},
		{name: "sub as subject", payload: `{` + exp + `"sub":"u1","user_id":{}}`, change: subject("sub"), want: &session.Identity{Subject: "u1"}},
		{name: "kept claims", payload: `{` + exp + `"user_id":1,"plan":{"n":1.0},"z":null,"y":2}`, change: func(c *JWTConfig) { c.Keep = []string{"plan", "z", "none"} }, want: &session.Identity{
			Subject: "1", Claims: map[string]any{"plan": map[string]any{"n": json.Number("1.0")}, "z": nil},
		}},

		{name: "no subject", payload: `{` + exp + `"username":"alice"}`, reason: ReasonBadClaims},
		{name: "no sub", payload: `{` + exp + `"user_id":1}`, change: subject("sub"), reason: ReasonBadClaims},
		{name: "another case of the name", payload: `{` + exp + `"User_ID":1}`, reason: ReasonBadClaims},
		{name: "empty subject", payload: `{` + exp + `"user_id":""}`, reason: ReasonBadClaims},
		{name: "null subject", payload: `{` + exp + `"user_id":null}`, reason: ReasonBadClaims},
		{name: "fraction as subject", payload: `{` + exp + `"user_id":1.0}`, reason: ReasonBadClaims},
		{name: "exponent as subject", payload: `{` + exp + `"user_id":1e0}`, reason: ReasonBadClaims},
		{name: "minus zero as subject", payload: `{` + exp + `"user_id":-0}`, reason: ReasonBadClaims},
		{name: "true as subject", payload: `{` + exp + `"user_id":true}`, reason: ReasonBadClaims},
		{name: "list as subject", payload: `{` + exp + `"user_id":["1"]}`, reason: ReasonBadClaims},
		{name: "object as subject", payload: `{` + exp + `"user_id":{"id":1}}`, reason: ReasonBadClaims},
		{name: "NUL in the subject", payload: `{` + exp + `"user_id":"1\u0000"}`, reason: ReasonBadClaims},
		{name: "line end in the subject", payload: `{` + exp + `"user_id":"1\n"}`, reason: ReasonBadClaims},
		{name: "half a surrogate in the subject", payload: `{` + exp + `"user_id":"\ud800"}`, reason: ReasonBadClaims},
		{name: "no UTF-8 in the subject", payload: `{` + exp + "\"user_id\":\"\xff\"}", reason: ReasonMalformed},
		{name: "long subject", payload: `{` + exp + `"user_id":"` + strings.Repeat("a", 1025) + `"}`, reason: ReasonBadClaims},
		{name: "long number", payload: `{` + exp + `"user_id":` + strings.Repeat("1", 1025) + `}`, reason: ReasonBadClaims},
		{name: "name is a list", payload: `{` + exp + `"user_id":1,"username":["a"]}`, reason: ReasonBadClaims},
		{name: "jti is an object", payload: `{` + exp + `"user_id":1,"jti":{}}`, reason: ReasonBadClaims},
		{name: "groups is a text", payload: `{` + exp + `"user_id":1,"groups":"app_1"}`, reason: ReasonBadClaims},
		{name: "groups has a number", payload: `{` + exp + `"user_id":1,"groups":[1]}`, reason: ReasonBadClaims},
		{name: "groups has null", payload: `{` + exp + `"user_id":1,"groups":["a",null]}`, reason: ReasonBadClaims},
		{name: "groups has an empty one", payload: `{` + exp + `"user_id":1,"groups":["a",""]}`, want: &session.Identity{Subject: "1", Grants: []string{"a", ""}}},
		{name: "groups has half a character", payload: `{` + exp + `"user_id":1,"groups":["\ud800"]}`, reason: ReasonBadClaims},
		{
			name: "groups has one of a directory", payload: `{` + exp + `"user_id":1,"groups":["CN=` + strings.Repeat("a", 300) + `","app_*"]}`,
			want: &session.Identity{Subject: "1", Grants: []string{"app_*"}},
		},
		{name: "groups of a directory", payload: `{` + exp + `"user_id":1,"groups":["` + strings.Repeat("a", 101) + `"]}`, want: &session.Identity{Subject: "1"}},
		{name: "long jti", payload: `{` + exp + `"user_id":1,"jti":"` + strings.Repeat("a", 1025) + `"}`, want: &session.Identity{Subject: "1"}},
		{name: "long name", payload: `{` + exp + `"user_id":"` + strings.Repeat("名", 150) + `"}`, want: &session.Identity{Subject: strings.Repeat("名", 150)}},

		{name: "exp now", payload: `{"exp":1795521600,"user_id":1}`, reason: ReasonExpired},
		{name: "exp in another case", payload: `{"EXP":3976214400,"user_id":1}`, reason: ReasonBadClaims},
		{name: "exp null", payload: `{"exp":null,"user_id":1}`, reason: ReasonBadClaims},
		{name: "exp true", payload: `{"exp":true,"user_id":1}`, reason: ReasonBadClaims},
		{name: "exp list", payload: `{"exp":[3976214400],"user_id":1}`, reason: ReasonBadClaims},
		{name: "exp in milliseconds", payload: `{"exp":3976214400000,"user_id":1}`, reason: ReasonBadClaims},
		{name: "exp beyond all", payload: `{"exp":1e300,"user_id":1}`, reason: ReasonBadClaims},
		{name: "exp beyond float", payload: `{"exp":1e999,"user_id":1}`, reason: ReasonBadClaims},
		{name: "exp long ago", payload: `{"exp":-1e300,"user_id":1}`, reason: ReasonBadClaims},
		{name: "exp before 1970", payload: `{"exp":-5,"user_id":1}`, reason: ReasonExpired},
		{name: "iat before the year 0", payload: `{` + exp + `"iat":-70000000000,"user_id":1}`, reason: ReasonBadClaims},
		{name: "iat string", payload: `{` + exp + `"iat":"1","user_id":1}`, reason: ReasonBadClaims},
		{name: "nbf string", payload: `{` + exp + `"nbf":"1","user_id":1}`, reason: ReasonBadClaims},
		{name: "iat one second ahead", payload: `{` + exp + `"iat":1795521601,"user_id":1}`, reason: ReasonNotYetValid},

		{name: "ends as exp says, and no later", payload: `{"exp":1795521601,"user_id":1}`, want: &session.Identity{Subject: "1", Expires: testNow.Add(time.Second)}},
		{name: "exp with a fraction", payload: `{"exp":1795521600.25,"user_id":1}`, want: &session.Identity{Subject: "1", Expires: testNow.Add(time.Second / 4)}},
		{name: "leeway for exp", payload: `{"exp":1795521571,"user_id":1}`, change: leeway, want: &session.Identity{Subject: "1", Expires: testNow.Add(time.Second)}},
		{name: "leeway for iat", payload: `{` + exp + `"iat":1795521630,"user_id":1}`, change: leeway, want: &session.Identity{
			Subject: "1", Expires: time.Unix(3976214430, 0).UTC(), IssuedAt: testNow.Add(30 * time.Second),
		}},
		{name: "leeway ends", payload: `{"exp":1795521570,"user_id":1}`, change: leeway, reason: ReasonExpired},

		{name: "aud text", payload: `{` + exp + `"user_id":1,"aud":"us"}`, change: audience, want: &session.Identity{Subject: "1"}},
		{name: "aud list", payload: `{` + exp + `"user_id":1,"aud":["them","us"]}`, change: audience, want: &session.Identity{Subject: "1"}},
		{name: "aud other", payload: `{` + exp + `"user_id":1,"aud":"them"}`, change: audience, reason: ReasonBadClaims},
		{name: "aud missing", payload: `{` + exp + `"user_id":1}`, change: audience, reason: ReasonBadClaims},
		{name: "aud number", payload: `{` + exp + `"user_id":1,"aud":1}`, change: audience, reason: ReasonBadClaims},
		{name: "aud unasked", payload: `{` + exp + `"user_id":1,"aud":["us"]}`, reason: ReasonBadClaims},
		{name: "aud unasked and odd", payload: `{` + exp + `"user_id":1,"aud":{}}`, reason: ReasonBadClaims},
		{name: "aud of nobody", payload: `{` + exp + `"user_id":1,"aud":""}`, want: &session.Identity{Subject: "1"}},
		{name: "aud null", payload: `{` + exp + `"user_id":1,"aud":null}`, want: &session.Identity{Subject: "1"}},
		{name: "iss", payload: `{` + exp + `"user_id":1,"iss":"we"}`, change: issuer, want: &session.Identity{Subject: "1"}},
		{name: "iss other", payload: `{` + exp + `"user_id":1,"iss":"We"}`, change: issuer, reason: ReasonBadClaims},
		{name: "iss missing", payload: `{` + exp + `"user_id":1}`, change: issuer, reason: ReasonBadClaims},
		{name: "iss list", payload: `{` + exp + `"user_id":1,"iss":["we"]}`, change: issuer, reason: ReasonBadClaims},

		{name: "required", payload: `{` + exp + `"user_id":1,"a":"x","b":true,"c":3,"d":-4}`, change: require, want: &session.Identity{Subject: "1"}},
		{name: "required, escaped", payload: `{` + exp + `"user_id":1,"a":"\u0078","b":true,"c":3,"d":-4}`, change: require, want: &session.Identity{Subject: "1"}},
		{name: "required text is missing", payload: `{` + exp + `"user_id":1,"b":true,"c":3,"d":-4}`, change: require, reason: ReasonBadClaims},
		{name: "required text is another", payload: `{` + exp + `"user_id":1,"a":"X","b":true,"c":3,"d":-4}`, change: require, reason: ReasonBadClaims},
		{name: "required bool is a text", payload: `{` + exp + `"user_id":1,"a":"x","b":"true","c":3,"d":-4}`, change: require, reason: ReasonBadClaims},
		{name: "required number is a text", payload: `{` + exp + `"user_id":1,"a":"x","b":true,"c":"3","d":-4}`, change: require, reason: ReasonBadClaims},
		{name: "required text is a list", payload: `{` + exp + `"user_id":1,"a":["x"],"b":true,"c":3,"d":-4}`, change: require, reason: ReasonBadClaims},

		{name: "null payload", payload: `null`, reason: ReasonMalformed},
		{name: "text payload", payload: `"user"`, reason: ReasonMalformed},
		{name: "broken payload", payload: `{` + exp + `"user_id":1`, reason: ReasonMalformed},
		{name: "something behind the payload", payload: `{` + exp + `"user_id":1} {}`, reason: ReasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := signed(c.payload)
			id, err := verify(t, newTestJWT(t, c.change), token)
			if c.reason != "" {
				wantRefusal(t, err, ErrRejected, c.reason, secretsOf(token)...)
				return
			}
			if c.want.Source = "jwt"; c.want.Expires.IsZero() {
				c.want.Expires = time.Unix(3976214400, 0).UTC()
			}
			if err != nil || !reflect.DeepEqual(id, c.want) {
				t.Fatalf("got %+v, %v, want %+v", id, err, c.want)
			}
		})
	}
}

func subject(claim string) func(*JWTConfig) {
	return func(c *JWTConfig) { c.SubjectClaim = claim }
}
func leeway(c *JWTConfig)   { c.Leeway = MaxLeeway }
func audience(c *JWTConfig) { c.Audience = "us" }
func issuer(c *JWTConfig)   { c.Issuer = "we" }
func require(c *JWTConfig) {
	c.Require = map[string]any{"a": "x", "b": true, "c": 3, "d": int64(-4)}
}

func TestJWTForm(t *testing.T) {
	good := signed(`{"exp":3976214400,"user_id":1}`)
	v := newTestJWT(t, nil)
	if _, err := verify(t, v, good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	last := good[len(good)-1]
	for _, c := range []struct {
		name, token string
		reason      Reason
	}{
		{"empty", "", ReasonMalformed},
		{"one part", parts[0], ReasonMalformed},
		{"dots", "..", ReasonMalformed},
		{"line end in the signature", good[:len(good)-4] + "\n" + good[len(good)-4:], ReasonMalformed},
		{"line end behind", good + "\r\n", ReasonMalformed},
		{"carriage return behind", good + "\r", ReasonMalformed},
		{"space before", " " + good, ReasonMalformed},
		{"space in the payload", parts[0] + ". " + parts[1] + "." + parts[2], ReasonMalformed},
		{"padding", good + "=", ReasonMalformed},
		{"plain base64", strings.ReplaceAll(good, "-", "+") + "+", ReasonMalformed},
		{"NUL", good + "\x00", ReasonMalformed},
		{"bits behind the signature", good[:len(good)-1] + string(last+1), ReasonMalformed},
		{"four parts", good + ".", ReasonMalformed},
		{"header is no JSON", base64.RawURLEncoding.EncodeToString([]byte("x")) + "." + parts[1] + "." + parts[2], ReasonMalformed},
		{"header is a list", sign(`["HS256"]`, `{"exp":3976214400,"user_id":1}`, []byte(fixtureSecret)), ReasonMalformed},
		{"no alg", sign(`{"typ":"JWT"}`, `{}`, []byte(fixtureSecret)), ReasonBadAlgorithm},
		{"alg is a number", sign(`{"alg":256}`, `{}`, []byte(fixtureSecret)), ReasonBadAlgorithm},
		{"alg in lower case", sign(`{"alg":"hs256"}`, `{}`, []byte(fixtureSecret)), ReasonBadAlgorithm},
		{"alg under another name", sign(`{"ALG":"HS256"}`, `{}`, []byte(fixtureSecret)), ReasonBadAlgorithm},
		{"unknown alg", sign(`{"alg":"HS1"}`, `{}`, []byte(fixtureSecret)), ReasonBadAlgorithm},
		{"null header", sign(`null`, `{}`, []byte(fixtureSecret)), ReasonMalformed},
		{"crit", sign(`{"alg":"HS256","crit":["exp"]}`, `{"exp":3976214400,"user_id":1}`, []byte(fixtureSecret)), ReasonBadAlgorithm},
		{"crit is null", sign(`{"alg":"HS256","crit":null}`, `{"exp":3976214400,"user_id":1}`, []byte(fixtureSecret)), ReasonBadAlgorithm},
		{"b64 is false", sign(`{"alg":"HS256","b64":false}`, `{"exp":3976214400,"user_id":1}`, []byte(fixtureSecret)), ReasonBadAlgorithm},
		{"kid is a number", sign(`{"alg":"HS256","kid":1}`, `{"exp":3976214400,"user_id":1}`, []byte(fixtureSecret)), ReasonMalformed},
		{"kid is null", sign(`{"alg":"HS256","kid":null}`, `{"exp":3976214400,"user_id":1}`, []byte(fixtureSecret)), ReasonMalformed},
		{"no UTF-8 in the header", sign("{\"alg\":\"HS256\",\"x\":\"\xff\"}", `{"exp":3976214400,"user_id":1}`, []byte(fixtureSecret)), ReasonMalformed},
		{"no UTF-8 in a claim that means nothing", signed("{\"exp\":3976214400,\"user_id\":1,\"x\":\"\xe9\"}"), ReasonMalformed},
		{"a claim that is too deep", signed(`{"exp":3976214400,"user_id":1,"x":` + nested(maxClaimDepth) + `}`), ReasonMalformed},
		{"too long", signed(`{"exp":3976214400,"user_id":1,"x":"` + strings.Repeat("x", MaxJWT) + `"}`), ReasonMalformed},
		{"deep", signed(strings.Repeat("[", 5000)), ReasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := verify(t, v, c.token)
			wantRefusal(t, err, ErrRejected, c.reason, secretsOf(c.token)...)
		})
	}
}

// TestJWTKeepsNothing checks that an identity shares no memory with the token: it lives as long as its connection.
func TestJWTKeepsNothing(t *testing.T) {
	v := newTestJWT(t, func(c *JWTConfig) { c.Keep = []string{"plan"} })
	token := []byte(signed(`{"exp":3976214400,"user_id":"subject","username":"name","jti":"id","groups":["g"],"plan":"p"}`))
	id, err := v.Verify(t.Context(), Credential{Value: token})
	if err != nil {
		t.Fatal(err)
	}
	before := *id
	for i := range token {
		token[i] = 'X'
	}
	if id.Subject != "subject" || id.Name != "name" || id.TokenID != "id" || id.Grants[0] != "g" || id.Claims["plan"] != "p" {
		t.Errorf("the identity changed with the token: %+v, was %+v", id, before)
	}
}
