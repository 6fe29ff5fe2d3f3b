package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/application"
	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// authPath is a path of the route that verifies with a verifier of the trial's own.
const authPath = "/auth/bench"

// authRoute is that route; its verifier is called "measured". lines are further keys.
func authRoute(lines string) string {
	return `
[[route]]
path = "/auth/{group}"
join = ["{group}"]
on_message = "broadcast"
` + lines + `
credential = [
  { from = "header", name = "Authorization", scheme = "` + wire.Scheme + `", verifier = "measured" },
  { from = "query", name = "` + wire.QueryName + `", verifier = "measured" },
  { from = "cookie", name = "` + wire.CookieName + `", verifier = "measured" },
]
`
}

// ticketLife is how long a ticket may wait for its use, in seconds: all of a round are made before the first is shown.
const ticketLife = 120

var authCases = []authCase{
	{name: "HS256", tables: verifier("jwt", `algorithms = ["HS256"]`, "secret = "+strconv.Quote(jwtSecret)), show: hs256, via: wire.ViaHeader, target: cheap},
	{name: "HS256, user cached", tables: withUser, show: hs256, via: wire.ViaHeader, target: cheap, django: true, asks: userQueries, want: none},
	{name: "RS256", tables: publicKey("RS256"), show: signed("RS256"), via: wire.ViaHeader},
	{name: "ES256", tables: publicKey("ES256"), show: signed("ES256"), via: wire.ViaHeader},
	{name: "RS256, JWKS", tables: jwks, show: signed("RS256"), via: wire.ViaHeader},
	{name: tokenCase + ", cold, one by one", tables: drfToken, show: tokens(true), via: wire.ViaHeader, window: 1, django: true, asks: tokenQueries, want: atLeastEach},
	{name: tokenCase + ", cold", tables: drfToken, show: tokens(true), via: wire.ViaHeader, django: true, asks: tokenQueries, want: some},
	{name: tokenCase + ", cached", tables: drfToken, show: tokens(false), via: wire.ViaHeader, target: cheap, django: true, asks: tokenQueries, want: none},
	{name: sessionCase + ", cold, one by one", tables: djangoSession, show: cookies(true), via: wire.ViaCookie, window: 1, django: true, asks: sessionQueries, want: atLeastEach},
	{name: sessionCase + ", cold", tables: djangoSession, show: cookies(true), via: wire.ViaCookie, django: true, asks: sessionQueries, want: some},
	{name: sessionCase + ", cached", tables: djangoSession, show: cookies(false), via: wire.ViaCookie, target: cheap, django: true, asks: sessionQueries, want: none},
	{name: "callback, cold", tables: callback, show: opaque(true), via: wire.ViaHeader, asks: callbackQuestions, want: atLeastEach},
	{name: "callback, cached", tables: callback, show: opaque(false), via: wire.ViaHeader, target: cheap, asks: callbackQuestions, want: none},
	{name: "ticket", tables: verifier("ticket"), show: tickets, via: wire.ViaQuery},
}

// jwtSecret signs the HS256 tokens of the cases.
const jwtSecret = "bench: another key for HS256, longer than 32 bytes"

// tokenTable is where the tokens of Django REST framework are.
const tokenTable = "authtoken_token"

// cacheFor is how long a verifier keeps what it has found: longer than a case takes.
const cacheFor = `cache_ttl = "10m"`

// verifier makes the table of the verifier that is measured.
func verifier(kind string, lines ...string) func(*authWorld) (string, error) {
	return func(*authWorld) (string, error) { return verifierTable(kind, lines...), nil }
}

func verifierTable(kind string, lines ...string) string {
	t := fmt.Sprintf("[[verifier]]\nname = \"measured\"\nkind = %q\n", kind)
	for _, l := range lines {
		t += l + "\n"
	}
	return t
}

func publicKey(algorithm string) func(*authWorld) (string, error) {
	return func(w *authWorld) (string, error) {
		file, err := w.keyFile(algorithm)
		return verifierTable("jwt", fmt.Sprintf("algorithms = [%q]", algorithm), fmt.Sprintf("public_key_file = %q", file)), err
	}
}

// withUser looks up the user of the token, who must be there and active.
func withUser(w *authWorld) (string, error) {
	return verifierTable("jwt", `algorithms = ["HS256"]`, "secret = "+strconv.Quote(jwtSecret), fmt.Sprintf("users = %q", w.django.DSN), cacheFor), nil
}

func jwks(w *authWorld) (string, error) {
	return verifierTable("jwt", `algorithms = ["RS256", "ES256"]`, fmt.Sprintf("jwks_url = %q", w.app.URL+application.JWKSPath)), nil
}

func drfToken(w *authWorld) (string, error) { return tokenTables(w.django.DSN), nil }

// tokenTables are the verifier of the tokens of Django REST framework.
func tokenTables(dsn string) string {
	return verifierTable("drf_token", fmt.Sprintf("dsn = %q", dsn), cacheFor)
}

func djangoSession(w *authWorld) (string, error) {
	return verifierTable("django_session",
		fmt.Sprintf("dsn = %q", w.django.DSN), fmt.Sprintf("secret = %q", w.django.Secret), cacheFor), nil
}

func callback(w *authWorld) (string, error) {
	return verifierTable("callback", fmt.Sprintf("url = %q", w.app.URL+application.WhoPath), `forward = ["Authorization"]`, cacheFor), nil
}

// shown makes the credentials of a round.
type shown = func(context.Context, *authWorld, *stage, int) ([]string, error)

func hs256(_ context.Context, w *authWorld, _ *stage, _ int) (all []string, err error) {
	all = make([]string, w.o.Connections)
	now := time.Now()
	for i := range all {
		if all[i], err = crowd.Token(jwtSecret, i+1, now); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// signed makes the same tokens in each round, since a signature is checked each time.
func signed(algorithm string) shown {
	return func(_ context.Context, w *authWorld, _ *stage, _ int) (all []string, err error) {
		if all = w.signed[algorithm]; all != nil {
			return all, nil
		}
		all = make([]string, w.o.Connections)
		now := time.Now()
		for i := range all {
			if all[i], err = w.app.Token(algorithm, i, now); err != nil {
				return nil, err
			}
		}
		w.signed[algorithm] = all
		return all, nil
	}
}

// tokens shows keys that nobody has shown before, or the same in each round.
func tokens(fresh bool) shown {
	return func(_ context.Context, w *authWorld, _ *stage, round int) ([]string, error) {
		return part(w.django.Tokens, roundOf(fresh, round), w.o.Connections), nil
	}
}

func cookies(fresh bool) shown {
	return func(_ context.Context, w *authWorld, _ *stage, round int) ([]string, error) {
		return part(w.django.Cookies, roundOf(fresh, round), w.o.Connections), nil
	}
}

func opaque(fresh bool) shown {
	return func(_ context.Context, w *authWorld, _ *stage, round int) ([]string, error) {
		all := make([]string, w.o.Connections)
		for i := range all {
			all[i] = fmt.Sprintf("bench%d.%d", roundOf(fresh, round), i)
		}
		return all, nil
	}
}

func roundOf(fresh bool, round int) int {
	if fresh {
		return round
	}
	return 0
}

// tickets asks the server for one for each connection.
func tickets(ctx context.Context, w *authWorld, s *stage, _ int) ([]string, error) {
	client := http.Client{Transport: &http.Transport{}, Timeout: stuck}
	defer client.CloseIdleConnections()
	all := make([]string, w.o.Connections)
	for i := range all {
		body, err := json.Marshal(map[string]any{"subject": strconv.Itoa(i), "route": "/auth/{group}", "ttl_seconds": ticketLife})
		if err != nil {
			return nil, err
		}
		if all[i], err = ticket(ctx, &client, s.server.Internal+"/api/v1/tickets", body); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func ticket(ctx context.Context, client *http.Client, url string, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", err
	}
	var got struct{ Ticket string }
	if err := json.Unmarshal(b, &got); err != nil || resp.StatusCode/100 != 2 || got.Ticket == "" {
		return "", fmt.Errorf("tickets: %s: %.200s", resp.Status, b)
	}
	return got.Ticket, nil
}

func tokenQueries(ctx context.Context, w *authWorld) (int64, error) {
	return w.django.Queries(ctx, tokenTable)
}

func sessionQueries(ctx context.Context, w *authWorld) (int64, error) {
	return w.django.Queries(ctx, "django_session")
}

func userQueries(ctx context.Context, w *authWorld) (int64, error) {
	return w.django.Queries(ctx, "auth_user")
}

func callbackQuestions(_ context.Context, w *authWorld) (int64, error) { return w.app.Asked(), nil }

// What cases insist on: else they would not measure what they say.

func atLeastEach(asked, n int64) error {
	if asked < n {
		return fmt.Errorf("%d look-ups for %d credentials that were never seen before, one at a time", asked, n)
	}
	return nil
}

func some(asked, n int64) error {
	if asked < 1 || asked > 2*n {
		return fmt.Errorf("%d look-ups for %d credentials that were never seen before", asked, n)
	}
	return nil
}

// none is for credentials that came in the first round already.
func none(asked, n int64) error {
	if asked > 0 {
		return fmt.Errorf("%d look-ups for %d handshakes with the same credentials again and again: that is no cache", asked, n)
	}
	return nil
}
