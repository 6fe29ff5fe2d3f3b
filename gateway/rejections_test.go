package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// A stranger whose credential is no good is not told why: the whole answer is the same.
func TestServeRejectsAlike(t *testing.T) {
	header, err := authn.NewHeader("Authorization", "Token")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authn.NewChain(authn.Source{Name: "drf", Extractor: header, Verifier: verifierFunc(
		func(_ context.Context, token string) (*session.Identity, error) {
			return nil, &authn.Error{Kind: authn.ErrRejected, Reason: authn.Reason(token), Err: errors.New("cause")}
		})})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Config{Routes: []Route{{Path: "/", Chain: chain}}}, nil)
	answer := func(token string) string {
		conn := s.dial(t)
		if _, err := io.WriteString(conn, handshakeTo("/", "Authorization: Token "+token)); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	want := answer(string(authn.ReasonUnknownToken))
	if !strings.HasPrefix(want, "HTTP/1.1 401 ") {
		t.Fatalf("the answer is %q", want)
	}
	for _, r := range []authn.Reason{
		authn.ReasonMalformed, authn.ReasonInactiveUser, authn.ReasonUnknownUser, authn.ReasonExpired, authn.ReasonNotYetValid,
		authn.ReasonBadSignature, authn.ReasonBadAlgorithm, authn.ReasonBadClaims, "of_someone_else", "two words",
	} {
		if got := answer(string(r)); got != want {
			t.Errorf("%s: the answer is\n%s\nand for another reason\n%s", r, got, want)
		}
	}
	for _, r := range []reason{reasonMalformed, reasonInactiveUser, reasonBadClaims} {
		if s.count(r) == 0 {
			t.Errorf("%s is not counted", r)
		}
	}
}

// So many bad credentials of an address are looked up in a minute, and then no credential from there, good or bad. Who
// brings none, and other addresses, are not concerned.
func TestRejectionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		query, err := authn.NewQuery("token")
		if err != nil {
			t.Fatal(err)
		}
		chain, err := authn.NewChain(authn.Source{Extractor: query, Verifier: verifierFunc(
			func(ctx context.Context, token string) (*session.Identity, error) {
				asked.Add(1)
				return tokenVerifier(ctx, token)
			})})
		if err != nil {
			t.Fatal(err)
		}
		const perMinute = 5
		l := newPipeListener()
		near := &remoteListener{l, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}}
		s := serve(t, Config{
			Routes: []Route{
				{Path: "/", Chain: chain, AllowAnonymous: true},
				{Path: "/lax", Chain: chain, AllowAnonymous: true, InvalidAnonymous: true},
			},
			Limits: Limits{RejectionsPerAddress: perMinute},
		}, near)
		ask := func(path string) int {
			client := l.dial(t)
			send(t, client, handshakeTo(path))
			resp, _ := readAnswer(t, client)
			if resp.status == 429 && resp.header.Get("Retry-After") == "" {
				t.Error("a refusal with 429 has no Retry-After")
			}
			return resp.status
		}
		for range 20 { // good ones, and such as nobody can say of, are not counted
			if got := ask("/?token=alice"); got != 101 {
				t.Fatalf("alice: %d", got)
			}
			for _, path := range []string{"/?token=down", "/?token=down:rejected", "/lax?token=down:rejected"} {
				if got := ask(path); got != 503 {
					t.Fatalf("%s: %d", path, got)
				}
			}
		}
		for i := range perMinute { // a route that takes bad ones for nobody counts them as well
			path, want := "/?token=guess", 401
			if i == 0 {
				path, want = "/lax?token=guess", 101
			}
			if got := ask(path); got != want {
				t.Fatalf("guess %d: %d", i, got)
			}
		}
		before := asked.Load()
		for _, c := range []struct {
			path string
			want int
		}{{"/?token=guess", 429}, {"/?token=alice", 429}, {"/lax?token=guess", 429}, {"/?token=%zz", 429}, {"/", 101}} {
			if got := ask(c.path); got != c.want {
				t.Errorf("%s, beyond the limit: %d, want %d", c.path, got, c.want)
			}
		}
		if asked.Load() != before {
			t.Error("the verifier was asked beyond the limit")
		}
		if n := testutil.ToFloat64(s.metrics.limitedRejections); n != 4 || s.count(reasonRejections) != 4 {
			t.Errorf("%v are counted, and %d refused, want 4", n, s.count(reasonRejections))
		}
		time.Sleep(time.Minute / perMinute)
		if got := ask("/?token=alice"); got != 101 {
			t.Errorf("alice, after a fifth of a minute: %d", got)
		}
		if got, then := ask("/?token=guess"), ask("/?token=guess"); got != 401 || then != 429 {
			t.Errorf("guesses, after a fifth of a minute: %d, then %d", got, then)
		}
		if err := s.SetLimits(Limits{}); err != nil {
			t.Fatal(err)
		}
		if got := ask("/?token=guess"); got != 401 {
			t.Errorf("a guess without a limit: %d", got)
		}
	})
}

// A refused event says who refused; those that are only counted are counted for each of them, but not without bound.
func TestRefusedEventsSayWho(t *testing.T) {
	m := memory(t)
	e := newRefusedEvents(Config{Journal: m, Epoch: testEpoch, RefusedPerSecond: 1}, discard)
	stop := e.start(t.Context())
	now := time.Now()
	for _, by := range []string{"drf", "jwt", "drf", "", "jwt", "jwt"} {
		e.add(now, refusedKey{reasonUnknownToken, by}, "/ws", netip.Addr{})
	}
	for i := range 2 * maxRefusedKeys {
		e.add(now, refusedKey{reasonForbidden, strconv.Itoa(i)}, "/ws", netip.Addr{})
	}
	if n := len(e.beyond); n > maxRefusedKeys+int(numReasons) {
		t.Errorf("%d are told apart, want %d at most", n, maxRefusedKeys)
	}
	stop()
	var got []string
	var sum uint64
	for _, r := range records(t, m) {
		e, ok := r.Event.(session.Refused)
		if !ok {
			t.Fatalf("%+v", r)
		}
		if e.Status == 401 {
			got = append(got, fmt.Sprintf("%s %q x%d", e.Reason, e.By, e.Count))
		}
		sum += e.Count
	}
	want := []string{`unknown_token "drf" x1`, `unknown_token "" x1`, `unknown_token "drf" x1`, `unknown_token "jwt" x3`}
	if !slices.Equal(got, want) || sum != 6+2*maxRefusedKeys {
		t.Errorf("got %q, %d in all, want %q and %d", got, sum, want, 6+2*maxRefusedKeys)
	}
}

// Who refused is in the event of a handshake, and who it was found by.
func TestServeJournalsWhoRefused(t *testing.T) {
	query, err := authn.NewQuery("token")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authn.NewChain(authn.Source{Name: "drf", Extractor: query, Verifier: verifierFunc(tokenVerifier)})
	if err != nil {
		t.Fatal(err)
	}
	m := memory(t)
	s := serve(t, Config{Routes: []Route{{Path: "/", Chain: chain}}, Journal: m, Epoch: testEpoch}, nil)
	s.ask(t, handshakeTo("/?token=guess"))
	s.ask(t, handshakeTo("/"))
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range records(t, m) {
		if e, ok := r.Event.(session.Refused); ok {
			got = append(got, e.Reason+" by "+e.By)
		}
	}
	if want := []string{"unknown_token by drf", "no_credential by "}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
