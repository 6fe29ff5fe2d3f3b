package gateway

import (
	"context"
	"errors"
	"testing"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// verifierFunc verifies by a function.
type verifierFunc func(ctx context.Context, token string) (*session.Identity, error)

func (f verifierFunc) Verify(ctx context.Context, c authn.Credential) (*session.Identity, error) {
	return f(ctx, string(c.Value))
}

// authorizerFunc authorizes by a function.
type authorizerFunc func(ctx context.Context, id *session.Identity, g session.Group, p authn.Params) error

func (f authorizerFunc) Authorize(ctx context.Context, q *authn.Question) (rule string, err error) {
	return "test", f(ctx, q.Identity, q.Group, q.Params)
}

// tokenVerifier knows alice's token, and what is wrong with some others.
func tokenVerifier(ctx context.Context, token string) (*session.Identity, error) {
	switch token {
	case "alice":
		return &session.Identity{Subject: "1", Name: "alice", Source: "test"}, nil
	case "expired":
		return nil, &authn.Error{Kind: authn.ErrRejected, Reason: authn.ReasonExpired}
	case "down":
		return nil, &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable, Err: errors.New("connection refused")}
	case "down:rejected": // whom we asked was rejected itself
		return nil, &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable, Err: errGoneToken}
	case "down:absent":
		return nil, &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable, Err: authn.ErrAbsent}
	case "slow":
		<-ctx.Done()
		return nil, &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable, Err: ctx.Err()}
	case "panic":
		panic("cannot verify the token " + token + "-secret")
	case "nil":
		panic((*session.Identity)(nil).Subject)
	}
	return nil, &authn.Error{Kind: authn.ErrRejected, Reason: authn.ReasonUnknownToken}
}

// testChain looks for a token in the Authorization header, a query parameter, a cookie and a subprotocol.
func testChain(t testing.TB) *authn.Chain {
	t.Helper()
	header, err1 := authn.NewHeader("Authorization", "Token")
	query, err2 := authn.NewQuery("token")
	cookie, err3 := authn.NewCookie("JWT")
	protocol, err4 := authn.NewSubprotocol("bearer.")
	v := verifierFunc(tokenVerifier)
	chain, err5 := authn.NewChain(authn.Source{Extractor: header, Verifier: v}, authn.Source{Extractor: query, Verifier: v},
		authn.Source{Extractor: cookie, Verifier: v}, authn.Source{Extractor: protocol, Verifier: v})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	return chain
}
