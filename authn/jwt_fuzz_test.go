package authn

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzJWT changes tokens. Whatever is accepted must carry our signature over exactly its first two parts.
func FuzzJWT(f *testing.F) {
	for _, fixture := range loadFixtures(f, "fixtures.json").JWTs {
		f.Add([]byte(fixture.Token))
	}
	f.Add([]byte(signed(`{"exp":3976214400,"user_id":"\u0031","aud":null,"groups":["a"],"iat":1e9}`)))
	v := newTestJWT(f, nil)
	f.Fuzz(func(t *testing.T, token []byte) {
		id, err := v.Verify(t.Context(), Credential{Value: token})
		if err != nil {
			wantNoSecret(t, err, secretsOf(string(token))...)
			if id != nil {
				t.Fatal("an identity beside an error")
			}
			return
		}
		parts := strings.Split(string(token), ".")
		header, _ := base64.RawURLEncoding.DecodeString(parts[0])
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		if sign(string(header), string(payload), []byte(fixtureSecret)) != string(token) {
			t.Fatalf("%s was accepted without our signature", token)
		}
		if id.Subject == "" || id.Anonymous || !id.Expires.After(testNow) {
			t.Fatalf("%s gave %+v", token, id)
		}
	})
}

// FuzzJWTClaims signs whatever comes, and reads it.
func FuzzJWTClaims(f *testing.F) {
	f.Add([]byte(`{"exp":3976214400,"user_id":1,"username":"alice","jti":"x","iat":1,"nbf":1.5,"groups":["a"]}`))
	f.Add([]byte(`{"exp":"3976214400","user_id":"\ud83d","aud":["x"],"groups":null}`))
	f.Add([]byte(`{"exp":1e10,"user_id":-7,"username":12,"jti":null,"sub":{}}`))
	v := newTestJWT(f, func(c *JWTConfig) { c.Keep = []string{"x"} })
	f.Fuzz(func(t *testing.T, payload []byte) {
		token := signed(string(payload))
		id, err := v.Verify(t.Context(), Credential{Value: []byte(token)})
		if err != nil {
			return
		}
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatalf("%q was accepted and is no JSON object: %v", payload, err)
		}
		switch s := claims["user_id"].(type) {
		case string:
			if s != id.Subject {
				t.Fatalf("user_id is %q, the subject %q", s, id.Subject)
			}
		case float64:
			var n json.Number
			if json.Unmarshal([]byte(id.Subject), &n) != nil {
				t.Fatalf("the subject %q of a number is none", id.Subject)
			}
		default:
			t.Fatalf("user_id is a %T, the subject %q", s, id.Subject)
		}
		if exp, ok := claims["exp"].(float64); !ok || exp <= float64(testNow.Unix()) {
			t.Fatalf("exp is %v", claims["exp"])
		}
		if _, err := json.Marshal(id); err != nil {
			t.Fatalf("the journal cannot hold %+v: %v", id, err)
		}
	})
}

func BenchmarkJWT_HS256(b *testing.B) {
	v := newTestJWT(b, nil)
	benchmarkVerify(b, v, loadFixtures(b, "fixtures.json").JWTs["valid"].Token, true)
}

func BenchmarkJWT_HS256Refused(b *testing.B) {
	v := newTestJWT(b, nil)
	benchmarkVerify(b, v, loadFixtures(b, "fixtures.json").JWTs["wrong_key"].Token, false)
}

func benchmarkVerify(b *testing.B, v Verifier, token string, ok bool) {
	ctx, c := b.Context(), Credential{From: "header", Value: []byte(token)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(ctx, c); (err == nil) != ok {
			b.Fatal(err)
		}
	}
}
