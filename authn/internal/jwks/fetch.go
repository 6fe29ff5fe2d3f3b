package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxBody is the longest answer that is read, in bytes. A set of a hundred RSA keys has about 60 KiB.
const maxBody = 1 << 20

// maxRedirects is how many redirects are followed.
const maxRedirects = 3

// discoveryPath is where an issuer tells of itself (OpenID Connect Discovery 1.0, section 4).
const discoveryPath = "/.well-known/openid-configuration"

// parseURL checks a URL of keys. The error does not hold it: it may have a password.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("it is no URL of http or https")
	}
	return u, nil
}

// show returns a URL without what may be secret in it.
func show(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

// checkRedirect keeps a client that began with TLS from leaving it: keys from the plain network are anybody's.
func checkRedirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errors.New("a redirect from https to http")
	}
	return nil
}

// load asks for the keys and returns those that are usable; if the issuer answers and has none, an empty set beside the
// error. It blocks until ctx ends at the latest, and changes nothing.
func (s *Source) load(ctx context.Context) (*set, error) {
	u := s.url
	if u == nil {
		var err error
		if u, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	body, err := s.get(ctx, u)
	if err != nil {
		return nil, err
	}
	keys, skipped, err := Parse(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", show(u), err)
	}
	fetched := newSet(keys, skipped, s.config.Algorithms, s.config.Fits)
	if len(fetched.keys) == 0 {
		err = fmt.Errorf("%s has no key that fits the configured algorithms%s", show(u), why(fetched.skipped))
	}
	return fetched, err
}

// why says of the first keys why they are of no use.
func why(skipped []error) string {
	var b strings.Builder
	for i, err := range skipped {
		if i == 3 {
			b.WriteString(", …")
			break
		}
		b.WriteString([...]string{": ", ", "}[min(i, 1)] + err.Error())
	}
	return b.String()
}

// discover asks the issuer where its keys are.
func (s *Source) discover(ctx context.Context) (*url.URL, error) {
	u, err := parseURL(strings.TrimSuffix(s.config.Issuer, "/") + discoveryPath)
	if err != nil {
		return nil, fmt.Errorf("the issuer: %w", err)
	}
	body, err := s.get(ctx, u)
	if err != nil {
		return nil, err
	}
	var d struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, fmt.Errorf("%s is no OpenID configuration: want a JSON object with issuer and jwks_uri", show(u))
	}
	if d.Issuer != s.config.Issuer { // section 4.3: exactly
		return nil, fmt.Errorf("%s is of the issuer %.200q: want exactly the configured one, %q", show(u), d.Issuer, s.config.Issuer)
	}
	keys, err := parseURL(d.Keys)
	if err != nil {
		return nil, fmt.Errorf("%s: jwks_uri: %w", show(u), err)
	}
	if u.Scheme == "https" && keys.Scheme != "https" {
		return nil, fmt.Errorf("%s: jwks_uri leaves https for http", show(u))
	}
	return keys, nil
}

// get returns the body of an answer with 200.
func (s *Source) get(ctx context.Context, u *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", show(u), errRequest)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	res, err := s.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok { // its text has the whole URL
			err = e.Err
		}
		return nil, fmt.Errorf("%s: %w", show(u), err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d, want 200", show(u), res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", show(u), err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("%s answers with more than %d bytes", show(u), maxBody)
	}
	return body, nil
}

var errRequest = errors.New("it cannot be asked")
