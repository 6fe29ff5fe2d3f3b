package application

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// rsaBits is the size of the RSA key: what issuers use most.
const rsaBits = 2048

// tokenLife is longer than any run.
const tokenLife = 6 * time.Hour

// The paths of the application.
const (
	JWKSPath = "/jwks.json"
	WhoPath  = "/who"
)

// Application is a running one. It may be used by many goroutines.
type Application struct {
	URL string // base URL

	keys   map[string]crypto.Signer // by algorithm, which is the key's id too
	server *http.Server
	wg     sync.WaitGroup
	asked  atomic.Int64
}

// Start makes keys and listens on the loopback. The caller closes it.
func Start() (*Application, error) {
	r, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, err
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &Application{URL: "http://" + l.Addr().String(), keys: map[string]crypto.Signer{"RS256": r, "ES256": e}}
	jwks, err := a.jwks()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+JWKSPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(jwks) // the client's trouble
	})
	mux.HandleFunc("GET "+WhoPath, a.who)
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	a.wg.Go(func() { _ = a.server.Serve(l) }) // until Close
	return a, nil
}

// who answers that each credential is somebody else.
func (a *Application) who(w http.ResponseWriter, r *http.Request) {
	a.asked.Add(1)
	credential := r.Header.Get("Authorization")
	if credential == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	sum := sha256.Sum256([]byte(credential))
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"subject": "%x", "name": "bench"}`, sum[:8])
}

// Asked returns how often it was asked who somebody is.
func (a *Application) Asked() int64 { return a.asked.Load() }

// Public returns the public key for an algorithm, RS256 or ES256, as PEM.
func (a *Application) Public(algorithm string) ([]byte, error) {
	key, ok := a.keys[algorithm]
	if !ok {
		return nil, fmt.Errorf("application: no key for %s", algorithm)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Token signs a token for user number n, with the claims of a crowd's own.
func (a *Application) Token(algorithm string, n int, now time.Time) (string, error) {
	key, ok := a.keys[algorithm]
	if !ok {
		return "", fmt.Errorf("application: no key for %s", algorithm)
	}
	t := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), jwt.MapClaims{
		"token_type": "access", "user_id": fmt.Sprint(n), "iat": now.Unix(), "exp": now.Add(tokenLife).Unix(), "jti": fmt.Sprintf("%032x", n),
	})
	t.Header["kid"] = algorithm
	return t.SignedString(key)
}

// jwks is the set of public keys (RFC 7517).
func (a *Application) jwks() ([]byte, error) {
	encode := base64.RawURLEncoding.EncodeToString
	var keys []map[string]string
	for algorithm, key := range a.keys {
		k := map[string]string{"kid": algorithm, "alg": algorithm, "use": "sig"}
		switch p := key.Public().(type) {
		case *rsa.PublicKey:
			k["kty"], k["n"], k["e"] = "RSA", encode(p.N.Bytes()), encode(big.NewInt(int64(p.E)).Bytes())
		case *ecdsa.PublicKey:
			point, err := p.Bytes() // 4, then x and y
			if err != nil {
				return nil, err
			}
			half := len(point) / 2
			k["kty"], k["crv"], k["x"], k["y"] = "EC", "P-256", encode(point[1:1+half]), encode(point[1+half:])
		}
		keys = append(keys, k)
	}
	return json.Marshal(map[string]any{"keys": keys})
}

// Close stops to listen and drops who is connected.
func (a *Application) Close() error {
	err := a.server.Close()
	a.wg.Wait()
	return err
}

var _ io.Closer = (*Application)(nil)
