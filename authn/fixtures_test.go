package authn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/session"
)

// fixtureSecret signed the JWTs of the fixtures. It is as throw-away as they are.
const fixtureSecret = "throwaway-fixture-secret-key-0123456789abcdefghijklmnop"

// aliceKey is alice's DRF token in the fixtures.
const aliceKey = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"

// fixtures is the part of fixtures.json that concerns this package.
type fixtures struct {
	Tokens map[string]struct {
		Key, User string
		ID        int
		Active    bool
	}
	JWTs map[string]struct {
		Token, Note string
		Expect      *string
	}
	RSAPrivate string `json:"rs256_private_pem"`
	RSAPublic  string `json:"rs256_public_pem"`
}

func loadFixtures(t testing.TB, file string) fixtures {
	t.Helper()
	var f fixtures
	loadJSON(t, file, &f)
	return f
}

func loadJSON(t testing.TB, file string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// conformanceCase is one request that was sent to a real Django, and what the servers answered.
type conformanceCase struct {
	Group, Case string
	Request     []byte `json:"request_b64"`
	Observed    map[string]any
}

func loadConformance(t testing.TB) []conformanceCase {
	t.Helper()
	var f struct{ Cases []conformanceCase }
	loadJSON(t, "conformance.json", &f)
	return f.Cases
}

// parseHead makes a Request of a well-formed head. The gateway has a strict parser; this one is for fixtures.
func parseHead(t testing.TB, head []byte) *Request {
	t.Helper()
	head, _, _ = bytes.Cut(head, []byte("\r\n\r\n"))
	lines := bytes.Split(head, []byte("\r\n"))
	target := bytes.SplitN(lines[0], []byte(" "), 3)
	if len(target) != 3 {
		t.Fatalf("request line %q", lines[0])
	}
	r := &Request{}
	r.Path, r.RawQuery, _ = bytes.Cut(target[1], []byte("?"))
	for _, line := range lines[1:] {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = trim(value)
		r.Header = append(r.Header, HeaderField{name, value})
		switch strings.ToLower(string(name)) {
		case "host":
			r.Host = value
		case "origin":
			r.Origin, r.HasOrigin = value, true
		case "authorization":
			r.Authorization, r.HasAuthorization = value, true
		case "cookie":
			r.Cookie = value
		case "sec-websocket-protocol":
			for p := range bytes.SplitSeq(value, []byte(",")) {
				r.Protocols = append(r.Protocols, trim(p))
			}
		}
	}
	return r
}

// wantRefusal fails unless err is an *Error of that kind and reason, and holds none of the secrets.
func wantRefusal(t testing.TB, err, kind error, reason Reason, secrets ...string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got the error %v, want an *Error %v (%s)", err, kind, reason)
	}
	if !errors.Is(err, kind) || !errors.Is(e.Kind, kind) || e.Reason != reason {
		t.Fatalf("got %v, want %v (%s)", err, kind, reason)
	}
	wantNoSecret(t, err, secrets...)
}

// authorize asks a about g, and returns why not.
func authorize(ctx context.Context, a Authorizer, id *session.Identity, g session.Group, p Params) error {
	rule, err := a.Authorize(ctx, &Question{Identity: id, Group: g, Params: p})
	if (rule == "") != (err != nil) {
		return errors.New("want a rule or an error")
	}
	return err
}

// wantNoSecret fails if the error, or anything that it wraps, holds one of the secrets. Those under six bytes are not looked
// for: a fuzzer finds pieces of our own words, such as "jec" of "rejected".
func wantNoSecret(t testing.TB, err error, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if len(s) >= 6 && strings.Contains(err.Error(), s) {
			t.Errorf("the error holds the credential: %v", err)
		}
	}
	switch u := any(err).(type) {
	case interface{ Unwrap() error }:
		if inner := u.Unwrap(); inner != nil {
			wantNoSecret(t, inner, secrets...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			wantNoSecret(t, inner, secrets...)
		}
	}
}

// extractCase is a row of an extractor's table. Exactly one of value, absent and reason is set.
type extractCase struct {
	name   string
	req    Request
	value  string
	absent bool
	reason Reason
}

func runExtract(t *testing.T, e Extractor, from string, cases []extractCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := e.Extract(&c.req)
			switch {
			case c.absent:
				if !errors.Is(err, ErrAbsent) {
					t.Fatalf("got %q, %v, want ErrAbsent", got.Value, err)
				}
			case c.reason != "":
				wantRefusal(t, err, ErrRejected, c.reason, "KEY", "SECRET")
			case err != nil || string(got.Value) != c.value || got.From != from:
				t.Fatalf("got %q from %q, %v, want %q", got.Value, got.From, err, c.value)
			}
		})
	}
}

// noAllocs fails if extracting from r allocates.
func noAllocs(t *testing.T, e Extractor, r *Request) {
	t.Helper()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := e.Extract(r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Extract allocates %v times, want 0", n)
	}
}

// httpRequest returns a net/http request with one header, to compare with.
func httpRequest(name, value string) *http.Request {
	return &http.Request{Header: http.Header{name: {value}}}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
