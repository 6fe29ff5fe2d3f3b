package application

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) *Application {
	t.Helper()
	a, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return a
}

func get(t *testing.T, url, authorization string) (status int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// TestKeys verifies tokens with the published keys and with the files.
func TestKeys(t *testing.T) {
	a := start(t)
	_, body := get(t, a.URL+JWKSPath, "")
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) != 2 {
		t.Fatalf("%v in %s", err, body)
	}
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(b)
	}
	published := func(token *jwt.Token) (any, error) {
		i := slices.IndexFunc(set.Keys, func(k map[string]string) bool { return k["kid"] == token.Header["kid"] })
		if i < 0 {
			t.Fatalf("no key %v", token.Header["kid"])
		}
		k := set.Keys[i]
		if k["kty"] == "RSA" {
			return &rsa.PublicKey{N: number(k["n"]), E: int(number(k["e"]).Int64())}, nil
		}
		point := append([]byte{4}, number(k["x"]).FillBytes(make([]byte, 32))...)
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(point, number(k["y"]).FillBytes(make([]byte, 32))...))
	}
	for _, algorithm := range []string{"RS256", "ES256"} {
		token, err := a.Token(algorithm, 7, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jwt.Parse(token, published, jwt.WithValidMethods([]string{algorithm}), jwt.WithExpirationRequired())
		if err != nil || parsed.Claims.(jwt.MapClaims)["user_id"] != "7" {
			t.Errorf("%s: %+v, %v", algorithm, parsed, err)
		}
		file, err := a.Public(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		key, err := jwt.ParseRSAPublicKeyFromPEM(file)
		if algorithm == "ES256" {
			var e *ecdsa.PublicKey
			if e, err = jwt.ParseECPublicKeyFromPEM(file); err == nil {
				_, err = jwt.Parse(token, func(*jwt.Token) (any, error) { return e, nil })
			}
		} else if err == nil {
			_, err = jwt.Parse(token, func(*jwt.Token) (any, error) { return key, nil })
		}
		if err != nil {
			t.Errorf("%s by the file: %v", algorithm, err)
		}
	}
	if _, err := a.Token("HS256", 1, time.Now()); err == nil {
		t.Error("a token without a key")
	}
	if _, err := a.Public("HS256"); err == nil {
		t.Error("a file without a key")
	}
}

func TestWho(t *testing.T) {
	a := start(t)
	subjects := map[string]bool{}
	for _, credential := range []string{"Bearer a", "Bearer b", "Bearer a"} {
		status, body := get(t, a.URL+WhoPath, credential)
		var who struct{ Subject string }
		if err := json.Unmarshal(body, &who); err != nil || status != http.StatusOK || who.Subject == "" {
			t.Fatalf("%d %s: %v", status, body, err)
		}
		subjects[who.Subject] = true
	}
	if status, _ := get(t, a.URL+WhoPath, ""); status != http.StatusUnauthorized {
		t.Errorf("nobody is %d", status)
	}
	if len(subjects) != 2 || a.Asked() != 4 {
		t.Errorf("%d subjects of 2 credentials; asked %d times", len(subjects), a.Asked())
	}
}
