package api

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Why the guard lets somebody not in: the label of a metric.
const (
	deniedNoKey  = "no_key"
	deniedBadKey = "bad_key"
	deniedClosed = "closed" // there are no keys, and the port is not on loopback
	deniedHost   = "host"
	deniedOrigin = "origin"
)

// caller is the name of the key that a request came with, "" where none is asked for.
type callerKey struct{}

func caller(ctx context.Context) string {
	name, _ := ctx.Value(callerKey{}).(string)
	return name
}

// guarded lets in who may use the API and the profiles. Browsers add no keys of their own, but they are everywhere on
// loopback, where no key is asked for: there a page of a foreign site is told by where it comes from (Sec-Fetch-Site,
// Origin), and one whose name was made to point here (DNS rebinding) by the name in Host.
func (a *API) guarded(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" || cross.Check(r) != nil {
			a.deny(w, deniedOrigin, &problem{
				Code: "cross_origin", Message: "a page of another origin asks; only programs, and pages of this port itself, may",
				status: http.StatusForbidden,
			})
			return
		}
		name, reason, p := a.authenticate(r)
		if p != nil {
			a.deny(w, reason, p)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, name)))
	})
}

func (a *API) deny(w http.ResponseWriter, reason string, p *problem) {
	a.metrics.denied[reason].Inc()
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="fairlead"`)
	}
	p.write(w)
}

// authenticate returns the name of who asks, or why not.
func (a *API) authenticate(r *http.Request) (name, reason string, _ *problem) {
	keys := *a.keys.Load()
	if len(keys) == 0 {
		switch {
		case !a.loopback:
			return "", deniedClosed, &problem{
				Code: "keys_required", status: http.StatusForbidden,
				Message: "this port can be reached from other machines, so the API wants a key, and none is configured; set api.keys_file, or listen.internal to an address of loopback",
			}
		case !isLoopback(r.Host):
			return "", deniedHost, &problem{
				Code: "host", status: http.StatusForbidden,
				Message: "the Host of the request is not this machine; ask 127.0.0.1 or localhost, or set api.keys_file",
			}
		}
		return "", "", nil
	}
	given := r.Header.Get("Authorization")
	if given == "" {
		return "", deniedNoKey, &problem{
			Code: "unauthorized", Message: "want a key of api.keys_file, as in Authorization: Bearer KEY", status: http.StatusUnauthorized,
		}
	}
	if key, ok := bearer(given); ok {
		if name, ok := find(keys, key); ok {
			return name, "", nil
		}
	}
	return "", deniedBadKey, &problem{
		Code: "unauthorized", Message: "this is no key of api.keys_file; want Authorization: Bearer KEY", status: http.StatusUnauthorized,
	}
}

// bearer returns the key of an Authorization field, RFC 6750 section 2.1.
func bearer(field string) (key string, ok bool) {
	scheme, key, ok := strings.Cut(field, " ")
	key = strings.Trim(key, " ")
	return key, ok && strings.EqualFold(scheme, "Bearer") && key != "" && len(key) <= maxKey
}

// isLoopback reports whether the Host of a request names this machine, as itself.
func isLoopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(strings.TrimSuffix(name, "."), "localhost")
}
