package authn

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/fairlead-ws/fairlead/session"
)

// everyCredential returns all tokens of the fixtures, good and bad.
func everyCredential(t *testing.T) []string {
	t.Helper()
	f := loadFixtures(t, "fixtures.json")
	list := []string{"SECRET\x00SECRET", "SECRET\xff", strings.Repeat("SECRET", 2000), strings.Repeat("SECRET", 22)}
	for _, token := range f.Tokens {
		list = append(list, token.Key, strings.ToUpper(token.Key), token.Key+"~")
	}
	for _, fixture := range f.JWTs {
		list = append(list, fixture.Token, strings.ToLower(fixture.Token), fixture.Token+".x")
	}
	sessions := loadDjango(t, "fixtures.json")
	for _, s := range sessions.Table {
		list = append(list, s.SessionID, strings.ToUpper(s.SessionID))
	}
	for _, s := range sessions.Cookies {
		list = append(list, s.SessionID, s.SessionID+"~")
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// TestNoErrorHoldsACredential sends every credential along every way there is, right and wrong, and reads what comes back.
func TestNoErrorHoldsACredential(t *testing.T) {
	closed := must(NewDRFToken(t.Context(), DRFTokenConfig{DSN: sqliteDSN}))
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	verifiers := []Verifier{
		newTestJWT(t, nil),
		newTestJWT(t, func(c *JWTConfig) { c.Audience, c.Issuer = "us", "we" }),
		newTestJWT(t, func(c *JWTConfig) { c.Require = map[string]any{"x": 1} }),
		must(NewJWT(JWTConfig{Algorithms: []string{"ES256"}, PublicKey: publicPEM("p256")})),
		newTestJWT(t, func(c *JWTConfig) { c.SubjectClaim, c.Users = "username", newFinder(t, UsersConfig{Field: "username"}) }),
		newFetchingJWT(t, jwkSet(jwkOf(t, "ed", nil), jwkOf(t, "rsa", nil)), nil),
		newFetchingJWT(t, "", func(c *JWTConfig) { c.JWKSURL = "https://user:s3cr3t-pw@issuer.test/keys?key=s3cr3t-pw" }),
		must(NewIssuers(IssuersConfig{Of: []*JWT{newTestJWT(t, issuer)}})),
		newDRFToken(t, DRFTokenConfig{DSN: sqliteDSN}),
		closed,
		newDRFToken(t, DRFTokenConfig{DSN: "postgres://u:s3cr3t-pw@127.0.0.1:1/d?sslmode=disable", Timeout: time.Second}),
	}
	for _, engine := range []string{EngineDB, EngineFile, EngineSignedCookies} {
		verifiers = append(verifiers, newDjangoSession(t, DjangoSessionConfig{Engine: engine, Dir: t.TempDir(), Legacy: true}))
	}
	extractors := []Extractor{
		must(NewHeader("Authorization", "Token")), must(NewHeader("X-Token", "")), must(NewCookie("JWT")), must(NewQuery("token")),
		must(NewSubprotocol("bearer.")),
	}
	seen := map[Reason]int{}
	for _, secret := range everyCredential(t) {
		ways := []Request{
			authorization("Token " + secret), authorization("Token " + secret + " more"), authorization("Bearer " + secret), authorization(secret),
			fields("X-Token", secret), fields("X-Token", secret, "x-token", secret),
			cookies("JWT=" + secret), cookies(`JWT="` + secret + `"; a`), cookies("JWT=" + secret + " x"),
			query("token=" + secret), query("token=" + secret + "%zz"), query("token=%41" + secret),
			offers("bearer." + secret), offers("bearer."+secret, "bearer."+secret),
		}
		for _, v := range verifiers {
			var sources []Source
			for _, e := range extractors {
				sources = append(sources, Source{Extractor: e, Verifier: v})
			}
			chain := must(NewChain(sources...))
			for i := range ways {
				id, err := chain.Authenticate(t.Context(), &ways[i])
				if err == nil {
					if id.Subject == "" || strings.Contains(id.Subject+id.Name+id.TokenID, secret) {
						t.Errorf("the identity holds the credential: %+v", id)
					}
					continue
				}
				e, ok := errors.AsType[*Error](err)
				if !ok || !slices.Contains(Reasons(), e.Reason) {
					t.Fatalf("got %v", err)
				}
				seen[e.Reason]++
				wantNoSecret(t, err, append(secretsOf(secret), "SECRET", "s3cr3t-pw", strings.ToLower(secret))...)
			}
		}
	}
	for _, r := range []Reason{
		ReasonNoCredential, ReasonMalformed, ReasonUnknownToken, ReasonInactiveUser, ReasonExpired, ReasonNotYetValid, ReasonBadSignature,
		ReasonBadAlgorithm, ReasonBadClaims, ReasonUnknownUser, ReasonVerifierUnavailable,
	} {
		if seen[r] == 0 {
			t.Errorf("no error had the reason %s", r)
		}
	}
}

// TestIdentitiesAreSmall keeps many identities and weighs them: each is held as long as its connection.
func TestIdentitiesAreSmall(t *testing.T) {
	const n = 4000
	v := newTestJWT(t, nil)
	token := signed(`{"exp":3976214400,"iat":1500000000,"user_id":1234567,"username":"somebody","jti":"0c591a636f664ad4bda672ff3da5440c",` +
		`"email":"somebody@example.com","filler":"` + strings.Repeat("x", 2000) + `"}`)
	kept := make([]*session.Identity, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range kept {
		kept[i] = must(verify(t, v, token))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	// The struct, its texts in one string, and nothing of the 3 KiB that the token has.
	if limit := int64(unsafe.Sizeof(session.Identity{})) + 128; each > limit {
		t.Errorf("an identity weighs %d bytes, want at most %d", each, limit)
	}
	runtime.KeepAlive(kept)
}
