package jwks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// site serves pages over TLS, or without. Its client trusts it.
func site(t *testing.T, start func(http.Handler) *httptest.Server, pages map[string]http.HandlerFunc) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, page := range pages {
		mux.HandleFunc(pattern, page)
	}
	s := start(mux)
	t.Cleanup(s.Close)
	return s
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

// unstarted returns a source that only loads: its goroutine has ended.
func unstarted(t *testing.T, server *httptest.Server, change func(*Config)) *Source {
	t.Helper()
	s := newSource(t, &issuer{err: errors.New("not now")}, change)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.client.Transport = server.Client().Transport
	t.Cleanup(server.Client().CloseIdleConnections)
	return s
}

func TestLoad(t *testing.T) {
	good := setOf(jwkOf(t, newEd25519(t), map[string]any{"kid": "1"}))
	var s *httptest.Server
	redirect := func(to func() string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to(), http.StatusFound) }
	}
	plain := site(t, httptest.NewServer, map[string]http.HandlerFunc{"/good": text(good)})
	s = site(t, httptest.NewTLSServer, map[string]http.HandlerFunc{
		"/good":    text(good),
		"/large":   text(`{"keys":[],"x":"` + strings.Repeat("x", maxBody) + `"}`),
		"/full":    text(good[:len(good)-1] + `,"x":"` + strings.Repeat("x", maxBody-len(good)-7) + `"}`),
		"/html":    text("<html>"),
		"/none":    text(setOf(`{"kty":"oct","k":"c2VjcmV0"}`, jwkOf(t, newRSA(2048), map[string]any{"kid": "r", "alg": "RS256"}), "1", "2")),
		"/error":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, good, http.StatusInternalServerError) },
		"/once":    redirect(func() string { return "/good" }),
		"/loop":    redirect(func() string { return "/loop" }),
		"/outside": redirect(func() string { return plain.URL + "/good" }),
		"/cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, good[:20])
		},
		"/accept": func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.Header.Get("Accept"), "application/jwk-set+json") {
				fmt.Fprint(w, good)
			}
		},
	})
	for _, c := range []struct{ url, err string }{
		{s.URL + "/good", ""},
		{s.URL + "/good?key=S3CRET", ""},
		{s.URL + "/once", ""},
		{s.URL + "/accept", ""},
		{s.URL + "/full", ""},
		{plain.URL + "/good", ""},
		{s.URL + "/loop?key=S3CRET", "/loop: more than 3 redirects"},
		{s.URL + "/outside", "/outside: a redirect from https to http"},
		{s.URL + "/large", "/large answers with more than 1048576 bytes"},
		{s.URL + "/error?key=S3CRET", "/error answers 500, want 200"},
		{s.URL + "/missing", "/missing answers 404, want 200"},
		{s.URL + "/html", "/html: it is no JSON object"},
		{s.URL + "/cut", "/cut: unexpected EOF"},
		{s.URL + "/none", "/none has no key that fits the configured algorithms: key 1: it is a secret, and everybody can read it, key 3: "},
		{strings.Replace(s.URL, "https://", "https://user:S3CRET@", 1) + "/missing", "/missing answers 404, want 200"},
		{"https://user:S3CRET@127.0.0.1:1/?key=S3CRET", "https://127.0.0.1:1/: dial tcp 127.0.0.1:1: "},
	} {
		t.Run(c.url, func(t *testing.T) {
			source := unstarted(t, s, func(config *Config) { config.URL = c.url })
			err := source.Check(t.Context())
			if c.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "S3CRET") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want %q", err, c.err)
			}
		})
	}
}

func TestDiscover(t *testing.T) {
	good := setOf(jwkOf(t, newEd25519(t), map[string]any{"kid": "1"}))
	var s *httptest.Server
	page := func(format string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.ReplaceAll(format, "URL", s.URL))
		}
	}
	s = site(t, httptest.NewTLSServer, map[string]http.HandlerFunc{
		"/keys":                     text(good),
		discoveryPath:               page(`{"issuer":"URL","jwks_uri":"URL/keys","more":[]}`),
		"/a" + discoveryPath:        page(`{"issuer":"URL/a/","jwks_uri":"URL/keys"}`),
		"/b" + discoveryPath:        page(`{"issuer":"URL/B","jwks_uri":"URL/keys"}`),
		"/plain" + discoveryPath:    page(`{"issuer":"URL/plain","jwks_uri":"http://127.0.0.1/keys"}`),
		"/without" + discoveryPath:  page(`{"issuer":"URL/without"}`),
		"/file" + discoveryPath:     page(`{"issuer":"URL/file","jwks_uri":"file:///etc/passwd"}`),
		"/list" + discoveryPath:     page(`[]`),
		"/nowhere" + discoveryPath:  page(`{"issuer":"URL/nowhere","jwks_uri":"URL/nothing"}`),
		"/relative" + discoveryPath: page(`{"issuer":"URL/relative","jwks_uri":"/keys"}`),
	})
	for _, c := range []struct{ path, err string }{
		{"", ""},
		{"/a/", ""},
		{"/a", "want exactly the configured one"},
		{"/b", "want exactly the configured one"},
		{"/plain", "jwks_uri leaves https for http"},
		{"/without", "jwks_uri: it is no URL"},
		{"/file", "jwks_uri: it is no URL"},
		{"/relative", "jwks_uri: it is no URL"},
		{"/list", "is no OpenID configuration"},
		{"/nowhere", "/nothing answers 404"},
		{"/missing", "/missing/.well-known/openid-configuration answers 404"},
	} {
		t.Run(c.path, func(t *testing.T) {
			source := unstarted(t, s, func(config *Config) { config.URL, config.Issuer = "", s.URL+c.path })
			err := source.Check(t.Context())
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
		})
	}
}

// TestOverTCP runs a source against a real server, with the transport that it has when nobody gives it one.
func TestOverTCP(t *testing.T) {
	ed := newEd25519(t)
	s := site(t, httptest.NewServer, map[string]http.HandlerFunc{"/keys": text(setOf(jwkOf(t, ed, nil)))})
	source := newSource(t, nil, func(c *Config) { c.URL, c.Transport = s.URL+"/keys", nil })
	want(t, source, "", "EdDSA", ed, nil)
}

// TestCheckEnds: a look at an issuer that does not answer ends with the caller.
func TestCheckEnds(t *testing.T) {
	held := make(chan struct{})
	s := site(t, httptest.NewTLSServer, map[string]http.HandlerFunc{"/": func(http.ResponseWriter, *http.Request) { <-held }})
	t.Cleanup(func() { close(held) }) // before the server closes
	source := unstarted(t, s, func(c *Config) { c.URL = s.URL })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := source.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{
		{},
		{URL: "keys"},
		{URL: "ftp://host/keys"},
		{URL: "https://"},
		{URL: "https://user:S3CRET@host:port/"},
		{Issuer: "accounts.example.com"},
		{Issuer: "mailto:S3CRET"},
	} {
		s, err := New(c)
		if err == nil {
			t.Errorf("%+v was accepted", c)
			_ = s.Close()
			continue
		}
		if !strings.HasPrefix(err.Error(), "jwks: ") || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("got %v", err)
		}
	}
}

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		url, issuer string
		want        bool
	}{
		{"https://host/keys", "", false},
		{"http://host/keys", "", true},
		{"http://10.0.0.1:80/keys", "", true},
		{"http://127.0.0.1:8080/keys", "", false},
		{"http://[::1]/keys", "", false},
		{"http://localhost/keys", "", false},
		{"", "http://host", true},
		{"", "https://host", false},
		{"https://host", "http://host", false},
	} {
		s := newSource(t, &issuer{err: errors.New("not now")}, func(config *Config) { config.URL, config.Issuer = c.url, c.issuer })
		if got := s.Plain(); got != c.want {
			t.Errorf("%q, %q: got %v", c.url, c.issuer, got)
		}
	}
}
