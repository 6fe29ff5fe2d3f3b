package gateway

import (
	"context"
	"testing"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// requestVerifier is a verifier that looks at the request.
type requestVerifier func(*authn.Request) (*session.Identity, error)

func (f requestVerifier) Verify(_ context.Context, c authn.Credential) (*session.Identity, error) {
	return f(c.Request)
}

// A verifier is told which route it is asked for, also of two with one path.
func TestVerifierSeesTheRoute(t *testing.T) {
	seen := make(chan string, 1)
	chain, err := authn.NewChain(authn.Source{
		Extractor: authn.NewWhole(),
		Verifier: requestVerifier(func(r *authn.Request) (*session.Identity, error) {
			seen <- r.Route
			return nil, &authn.Error{Kind: authn.ErrRejected, Reason: authn.ReasonBadClaims}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Config{Routes: []Route{
		{Path: "/ws/{group}", Category: "app", Chain: chain}, {Path: "/ws/{group}", Chain: chain}, {Path: "/chat/{room...}", Chain: chain},
	}}, nil)
	for path, want := range map[string]string{
		"/ws/app_1": "/ws/{group}", "/ws/plain": "/ws/{group}", "/chat/a/b/": "/chat/{room...}", "/ws/app%5f1": "/ws/{group}",
	} {
		if answer, _ := s.ask(t, handshakeTo(path)); answer.status != 401 {
			t.Errorf("%s: status %d", path, answer.status)
		}
		if got := <-seen; got != want {
			t.Errorf("%s: the route is %q, want %q", path, got, want)
		}
	}
}
