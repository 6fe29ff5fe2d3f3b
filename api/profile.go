package api

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"
)

// maxProfile is how long a profile may take, in seconds.
const maxProfile = 60

// profiles are the paths of net/http/pprof, but for the command line, which may have a secret in it, and symbols, which
// today's profiles bring along.
func (a *API) profiles() map[string]http.Handler {
	paths := map[string]http.Handler{
		"/debug/pprof/{$}":     http.HandlerFunc(pprof.Index),
		"/debug/pprof/profile": http.HandlerFunc(pprof.Profile),
		"/debug/pprof/trace":   http.HandlerFunc(pprof.Trace),
	}
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		paths["/debug/pprof/"+name] = pprof.Handler(name)
	}
	for path, h := range paths {
		paths[path] = a.profile(h)
	}
	return paths
}

// profile bounds how long a profile takes, and lets there be one at a time.
func (a *API) profile(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text := r.FormValue("seconds"); text != "" {
			if s, err := strconv.ParseFloat(text, 64); err != nil || !(s > 0 && s <= maxProfile) {
				badRequest("parameter", fmt.Sprintf("seconds is %.20q; want a number over 0 and up to %d", text, maxProfile)).write(w)
				return
			}
		}
		select {
		case a.profiling <- struct{}{}:
			defer func() { <-a.profiling }()
		default:
			busy("another profile is being made; ask again when it is done").write(w)
			return
		}
		// The server's time for reading a request would end the request, and the profile with it. net/http/pprof itself
		// sees to the time for writing. An error is a writer that is no connection.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		next.ServeHTTP(w, r)
	})
}
