package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// oidc is an issuer that serves the public half of a key.
type oidc struct {
	*httptest.Server
	private string // the name of a PEM file
	down    atomic.Bool
}

func newOIDC(t *testing.T) *oidc {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	keys := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","x":%q,"y":%q}]}`, b64(point[1:33]), b64(point[33:]))
	o := &oidc{private: writeFile(t, "private.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case o.down.Load():
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/keys":
			fmt.Fprint(w, keys)
		case r.URL.Path == "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"%s/keys"}`, o.URL, o.URL)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(o.Close)
	return o
}

// jwtKinds is a configuration with an issuer by discovery, one by URL whose users are looked up, and both behind one name.
func (o *oidc) jwtKinds() string {
	return fmt.Sprintf(`
[[verifier]]
name = "found"
kind = "jwt"
algorithms = ["ES256"]
discover = true
issuer = %q
subject_claim = "sub"
[[verifier]]
name = "looked_up"
kind = "jwt"
algorithms = ["ES256"]
jwks_url = "%s/keys?key=S3CRET"
issuer = "other"
subject_claim = "username"
users = "sqlite:testdata/django.sqlite3"
user_field = "username"
[[verifier]]
name = "both"
kind = "issuers"
of = ["found", "looked_up"]
[[route]]
path = "/ws/{group}"
join = ["{group}"]
credential = [{ from = "query", name = "token", verifier = "both" }]
`, o.URL, o.URL)
}

// issue makes a token with the program itself.
func (o *oidc) issue(t *testing.T, file, verifier, subject string) string {
	t.Helper()
	r := fairlead(t, "", nil, "token", "issue", "--config", file, "--verifier", verifier, "--subject", subject, "--key-file", o.private, "--kid", "k1")
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

func TestJWTKinds(t *testing.T) {
	o := newOIDC(t)
	file := writeFile(t, "fairlead.toml", o.jwtKinds())
	l, err := config.Load(config.Source{File: file, Getenv: getenv(nil)})
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewRegistry()
	s := newSeries(r)
	a, err := assemble(t.Context(), l, s, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, c := range []struct {
		verifier, subject  string
		source, want, name string
		reason             authn.Reason
	}{
		{verifier: "found", subject: "auth0|1", source: "found", want: "auth0|1"},
		{verifier: "looked_up", subject: "zoë", source: "looked_up", want: "6", name: "zoë"},
		{verifier: "looked_up", subject: "bob", reason: authn.ReasonInactiveUser},
		{verifier: "looked_up", subject: "nobody", reason: authn.ReasonUnknownUser},
	} {
		token := o.issue(t, file, c.verifier, c.subject)
		id, err := a.verifiers["both"].Verify(t.Context(), authn.Credential{Value: []byte(token)})
		if c.reason != "" {
			if e, ok := errors.AsType[*authn.Error](err); !ok || e.Reason != c.reason || e.By != c.verifier {
				t.Errorf("%s: got %+v, %v, want %s", c.subject, id, err, c.reason)
			}
			continue
		}
		if err != nil || id.Source != c.source || id.Subject != c.want || id.Name != c.name {
			t.Errorf("%s: got %+v, %v", c.subject, id, err)
		}
	}
	if n, err := testutil.GatherAndCount(r, "fairlead_jwks_keys"); err != nil || n != 2 {
		t.Errorf("fairlead_jwks_keys has %d children, %v", n, err)
	}

	// A configuration that is read again, while the issuer is down: its keys are those from before.
	token := o.issue(t, file, "found", "1")
	o.down.Store(true)
	again, err := assemble(t.Context(), l, s, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	again.inherit(a)
	if id, err := again.verifiers["both"].Verify(t.Context(), authn.Credential{Value: []byte(token)}); err != nil || id.Subject != "1" {
		t.Errorf("after a reload: got %+v, %v", id, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	o.down.Store(false)

	// The token command looks users up, too.
	check := fairlead(t, o.issue(t, file, "looked_up", "alice"), nil, "token", "check", "--config", file, "--verifier", "looked_up")
	if check.code != 0 || !strings.Contains(check.stdout, `subject   "1"`) {
		t.Errorf("got %+v", check)
	}
	check = fairlead(t, o.issue(t, file, "looked_up", "bob"), nil, "token", "check", "--config", file, "--verifier", "looked_up")
	if check.code != 1 || !strings.Contains(check.stdout, "refused by looked_up: inactive_user") {
		t.Errorf("got %+v", check)
	}
	check = fairlead(t, "", nil, "token", "issue", "--config", file, "--verifier", "found", "--subject", "1")
	if check.code == 0 || !strings.Contains(check.stderr, "--key-file FILE, and its id with --kid ID") {
		t.Errorf("got %+v", check)
	}
}

// TestJWTUsersAreKept: a user is known for cache_ttl, and less where the database tells of a change; the token is looked at
// each time.
func TestJWTUsersAreKept(t *testing.T) {
	for ttl, kept := range map[string]bool{"1h": true, "0s": false} {
		t.Run(ttl, func(t *testing.T) {
			t.Chdir(t.TempDir())
			db := copyFixture(t, "django.sqlite3")
			l, err := config.Load(config.Source{Getenv: getenv(nil), File: writeFile(t, "fairlead.toml", fmt.Sprintf(`
[[verifier]]
name = "jwt"
kind = "jwt"
algorithms = ["HS256"]
secret = "a-secret-of-enough-bytes-0123456789-abcdef"
users = "sqlite:django.sqlite3"
cache_ttl = %[1]q
negative_ttl = %[1]q
`, ttl)+anyone)})
			if err != nil {
				t.Fatal(err)
			}
			a, err := assemble(t.Context(), l, nil, quiet(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			issuer, err := authn.NewIssuer(authn.IssuerConfig{JWT: authn.JWTConfig{Secret: []byte(l.Verifiers[0].Secret)}})
			if err != nil {
				t.Fatal(err)
			}
			token, err := issuer.Issue(authn.IssueParams{Subject: "1", TTL: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			ask := func(ctx context.Context) bool {
				t.Helper()
				_, err := a.verifiers["jwt"].Verify(ctx, authn.Credential{Value: []byte(token)})
				if err != nil && !errors.Is(err, authn.ErrRejected) {
					t.Error(err)
				}
				return err == nil
			}
			if !ask(t.Context()) {
				t.Error("alice was not let in")
			}
			execute(t, db, "UPDATE auth_user SET is_active = 0 WHERE id = 1")
			if ask(t.Context()) != kept {
				t.Errorf("alice is kept: %v, want %v", !kept, kept)
			}
			if ask(authn.WithMaxAge(t.Context(), 0)) {
				t.Error("a recheck was told what was so before")
			}
			if ask(t.Context()) {
				t.Error("alice was let in behind the recheck")
			}
			execute(t, db, "UPDATE auth_user SET is_active = 1 WHERE id = 1")
			if ask(t.Context()) == kept {
				t.Errorf("the refusal is kept: %v, want %v", !kept, kept)
			}
			a.change(authn.Change{Kind: authn.ChangeUser, User: "1"}, nil)
			if !ask(t.Context()) {
				t.Error("alice was not let in behind the change")
			}
		})
	}
}

// TestServeJWKS: a node whose issuer is down starts, and tells clients to come again; they get in once the keys have come, and
// stay welcome when the issuer is away again.
func TestServeJWKS(t *testing.T) {
	o := newOIDC(t)
	o.down.Store(true)
	text := o.jwtKinds() + "greet = true\n[drain]\nwindow = \"50ms\"\n"
	file := writeFile(t, "fairlead.toml", text)
	s := startServe(t, nil, "--config", file)
	url := "ws://" + s.public + "/ws/app_1?token="
	token := o.issue(t, file, "looked_up", "alice")
	if _, err := tryDial(t, url+token, nil); !errors.Is(err, refused(http.StatusServiceUnavailable)) {
		t.Fatalf("got %v, want 503", err)
	}
	o.down.Store(false)
	eventually(t, func() error {
		c, err := tryDial(t, url+token, nil)
		if err == nil {
			_, err = c.read()
		}
		return err
	})
	o.down.Store(true)
	greeted(t, url+token)
	for _, secret := range []string{token, strings.Split(token, ".")[1], "S3CRET"} {
		if strings.Contains(s.stderr.String(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
	if !strings.Contains(s.stderr.String(), "could not be fetched") || !strings.Contains(s.stderr.String(), "the keys of tokens were fetched") {
		t.Error("the log does not say what became of the keys")
	}
}

// TestJWKSMaxStale: what the configuration says reaches the verifier, and "0s" is no bound there.
func TestJWKSMaxStale(t *testing.T) {
	for text, want := range map[string]time.Duration{"": authn.DefaultJWKSMaxStale, "jwks_max_stale = \"36h\"\n": 36 * time.Hour, "jwks_max_stale = \"0s\"\n": -1} {
		head := "[[verifier]]\nname = \"a\"\nkind = \"jwt\"\nalgorithms = [\"RS256\"]\njwks_url = \"https://127.0.0.1:1/keys\"\n"
		l, err := config.Load(config.Source{File: writeFile(t, "fairlead.toml", head+text+anyone), Getenv: getenv(nil)})
		if err != nil {
			t.Fatal(err)
		}
		if jc, err := jwtConfig(&l.Verifiers[0]); err != nil || jc.JWKSMaxStale != want {
			t.Errorf("%q: got %v, %v, want %v", text, jc.JWKSMaxStale, err, want)
		}
	}
}

func TestJWTKindsRefused(t *testing.T) {
	const head = "[[verifier]]\nname = \"a\"\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = \"a-secret-of-enough-bytes-0123456789-abcdef\"\n"
	for _, c := range []struct{ name, text, says string }{
		{"users that are not there", head + "users = \"sqlite:none.sqlite3\"\n", "verifier[0].users: "},
		{"a column that is none", head + "users = \"sqlite:testdata/django.sqlite3\"\nuser_field = \"a.b\"\n", `"a.b" cannot be the name of a column`},
		{
			"a secret for keys that are fetched",
			"[[verifier]]\nname = \"a\"\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\njwks_url = \"https://127.0.0.1:1/keys\"\n", "HS256 needs a secret",
		},
		{
			"an issuer that is no URL",
			"[[verifier]]\nname = \"a\"\nkind = \"jwt\"\nalgorithms = [\"RS256\"]\nissuer = \"accounts\"\ndiscover = true\n", "the issuer cannot be asked for its keys",
		},
		{"nobody's issuer", head + "[[verifier]]\nname = \"i\"\nkind = \"issuers\"\nof = [\"a\"]\n", "verifier[1].of: a has no issuer"},
		{
			"another kind",
			head + "issuer = \"x\"\n[[verifier]]\nname = \"drf\"\nkind = \"drf_token\"\ndsn = \"sqlite:testdata/django.sqlite3\"\n[[verifier]]\nname = \"i\"\nkind = \"issuers\"\nof = [\"a\", \"drf\"]\n",
			"drf is not of kind jwt, and only those have an issuer",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := config.Load(config.Source{File: writeFile(t, "fairlead.toml", c.text+anyone), Getenv: getenv(nil)})
			if err == nil {
				_, err = assemble(t.Context(), l, nil, quiet(), nil)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestDoctorJWKS(t *testing.T) {
	o := newOIDC(t)
	const local = "[[verifier]]\nname = \"local\"\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = \"a-secret-of-enough-bytes-0123456789-abcdef\"\n"
	const plain = "[[verifier]]\nname = \"plain\"\nkind = \"jwt\"\nalgorithms = [\"RS256\"]\njwks_url = \"http://issuer.invalid/keys\"\n"
	d := newDoctor(t, o.jwtKinds()+local+plain, nil)
	d.databases(t.Context())
	for check, says := range map[string]string{"verifier found": "ok: what it asks answers in ", "verifier looked_up": "ok: what it asks answers in ", "verifier plain": "warn: its keys come over http"} {
		if got := d.found(check); !strings.HasPrefix(got, says) {
			t.Errorf("%s: %q, want %q", check, got, says)
		}
	}
	for _, check := range []string{"verifier local", "verifier both"} { // nobody is asked
		if got := d.found(check); got != "" {
			t.Errorf("%s: %q", check, got)
		}
	}
	o.down.Store(true)
	d.diagnosis.Findings = nil
	d.databases(t.Context())
	got := d.found("verifier looked_up")
	if !strings.HasPrefix(got, "fail: "+o.URL+"/keys answers 502, want 200") || strings.Contains(got, "S3CRET") {
		t.Errorf("got %q", got)
	}
}
