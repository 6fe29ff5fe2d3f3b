package authn_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
)

// A route that takes a JWT from the Authorization header, or else from a cookie.
func ExampleChain() {
	config := authn.JWTConfig{Name: "jwt", Secret: []byte("an example's secret has at least 32 bytes"), SubjectClaim: "sub"}
	verifier, err := authn.NewJWT(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	header, _ := authn.NewHeader("Authorization", "Bearer")
	cookie, _ := authn.NewCookie("JWT")
	chain, err := authn.NewChain(
		authn.Source{Extractor: header, Verifier: verifier},
		authn.Source{Extractor: cookie, Verifier: verifier},
	)
	if err != nil {
		fmt.Println(err)
		return
	}

	issuer, _ := authn.NewIssuer(authn.IssuerConfig{JWT: config})
	token, _ := issuer.Issue(authn.IssueParams{Subject: "42", Name: "alice", TTL: time.Hour})
	id, err := chain.Authenticate(context.Background(), &authn.Request{Cookie: []byte("JWT=" + token)})
	fmt.Println(id.Subject, id.Name, id.Source, err)

	_, err = chain.Authenticate(context.Background(), &authn.Request{})
	fmt.Println(errors.Is(err, authn.ErrAbsent), err)
	fmt.Println(chain.Challenge())
	// Output:
	// 42 alice jwt <nil>
	// true no credential (no_credential)
	// Bearer realm="fairlead"
}

// The origins of one site and of its development server.
func ExampleOriginPolicy() {
	policy, err := authn.NewOriginPolicy([]string{".example.com", "http://localhost:5173"}, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, origin := range []string{"https://app.example.com", "http://localhost:5173", "http://localhost:8080", "https://example.com.evil.test"} {
		err := policy.Check(&authn.Request{Origin: []byte(origin), HasOrigin: true})
		fmt.Println(origin, err == nil)
	}
	// Output:
	// https://app.example.com true
	// http://localhost:5173 true
	// http://localhost:8080 false
	// https://example.com.evil.test false
}
