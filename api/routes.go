package api

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// endpoint answers one method and path under /api/v1.
type endpoint func(http.ResponseWriter, *http.Request) (any, error)

// endpoints are the paths under /api/v1, by method and path.
func (a *API) endpoints() map[string]endpoint {
	return map[string]endpoint{
		"POST /api/v1/publish":                    a.postPublish,
		"POST /api/v1/publish/batch":              a.postBatch,
		"GET /api/v1/groups":                      a.getGroups,
		"GET /api/v1/groups/{group}":              a.getGroup,
		"GET /api/v1/sessions":                    a.getSessions,
		"GET /api/v1/sessions/{id}":               a.getSession,
		"GET /api/v1/sessions/{id}/events":        a.getEvents,
		"POST /api/v1/sessions/{id}/disconnect":   a.postDisconnect,
		"GET /api/v1/users/{subject}/sessions":    a.getUserSessions,
		"POST /api/v1/users/{subject}/disconnect": a.postUserDisconnect,
		"POST /api/v1/tickets":                    a.postTicket,
		"GET /api/v1/nodes":                       a.getNodes,
		"GET /api/v1/openapi.json":                getOpenAPI,
	}
}

// openAPI describes all paths of the port. A test keeps it.
//
//go:embed openapi.json
var openAPI []byte

func getOpenAPI(http.ResponseWriter, *http.Request) (any, error) {
	return json.RawMessage(openAPI), nil
}

// patterns are all that the port answers, by method and path.
func (a *API) patterns(metrics http.Handler) map[string]http.Handler {
	all := map[string]http.Handler{
		"GET /healthz": http.HandlerFunc(health),
		"GET /readyz":  http.HandlerFunc(a.ready),
	}
	if metrics != nil {
		all["GET /metrics"] = metrics
	}
	if a.backend == nil {
		return all
	}
	for pattern, e := range a.endpoints() {
		all[pattern] = a.guarded(a.endpoint(pattern, e))
	}
	for path, h := range a.profiles() {
		all["GET "+path] = a.guarded(h)
	}
	return all
}

// routes builds the handler. For each endpoint "GET /path" there is a plain "/path" that refuses other methods, so that
// refusals are JSON, too.
func (a *API) routes(metrics http.Handler) http.Handler {
	all := a.patterns(metrics)
	exist := slices.Sorted(maps.Keys(all))
	mux := http.NewServeMux()
	for pattern, h := range all {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(pattern, h) // GET also answers HEAD
		allow := method
		if method == http.MethodGet {
			allow = "GET, HEAD"
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", allow)
			p := problem{
				Code: "method_not_allowed", Message: fmt.Sprintf("%s knows %s only", path, strings.ReplaceAll(allow, ", ", " and ")),
				status: http.StatusMethodNotAllowed, exist: exist,
			}
			p.write(w)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		p := notFound("there is no such path")
		p.exist = exist
		p.write(w)
	})
	return mux
}

// endpoint bounds and counts what e does, and writes its answer.
func (a *API) endpoint(pattern string, e endpoint) http.Handler {
	slots := a.reads
	if strings.HasPrefix(pattern, http.MethodPost) {
		slots = a.writes
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, status := time.Now(), http.StatusOK
		ctx := r.Context()
		if a.tracer != nil {
			var end func(bool, ...slog.Attr)
			ctx, end = a.tracer.BeginRequest(r, pattern, start)
			defer func() {
				end(status >= http.StatusInternalServerError, slog.String("http.route", pattern[strings.IndexByte(pattern, ' ')+1:]),
					slog.String("http.request.method", r.Method), slog.Int("http.response.status_code", status))
			}()
		}
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		answer, err := a.call(w, r.WithContext(ctx), slots, e)
		if err != nil {
			p := asProblem(err)
			if status = p.status; status == http.StatusInternalServerError {
				a.logger.Error("the API failed", "endpoint", pattern, "error", err)
			}
			p.write(w)
		} else {
			writeJSON(w, status, answer)
		}
		a.metrics.answered(pattern, status, time.Since(start))
	})
}

// call waits for a slot and calls e, whose panic is an error.
func (a *API) call(w http.ResponseWriter, r *http.Request, slots chan struct{}, e endpoint) (answer any, err error) {
	if r.Method == http.MethodPost && r.ContentLength != 0 {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return nil, &problem{
				Code: "unsupported_media_type", Message: "want Content-Type: application/json; curl sends it with --json",
				status: http.StatusUnsupportedMediaType,
			}
		}
	}
	patience := time.NewTimer(slotPatience)
	defer patience.Stop()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-patience.C:
		return nil, busy("too many requests are under way; ask again in a moment")
	case <-r.Context().Done():
		return nil, busy("too many requests are under way; ask again in a moment")
	}
	defer func() {
		if v := recover(); v != nil {
			// A payload may be in the value: only its type is told.
			a.logger.Error("an endpoint of the API panicked", "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			answer, err = nil, &problem{
				Code: "internal", Message: "a fault of the server; its log says more", status: http.StatusInternalServerError,
			}
		}
	}()
	return e(w, r)
}

func health(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "ok\n")
}

// readiness is the body of /readyz?verbose.
type readiness struct {
	Ready  bool     `json:"ready"`
	Checks []Status `json:"checks"` // in the order of Config.Ready
}

func (a *API) ready(w http.ResponseWriter, r *http.Request) {
	answer := readiness{Ready: true, Checks: []Status{}}
	var failed strings.Builder
	for _, p := range a.probes {
		s := p.ask()
		answer.Checks = append(answer.Checks, s)
		if !s.OK {
			answer.Ready = false
			failed.WriteString(s.Name + ": " + strings.ReplaceAll(s.Error, "\n", "; ") + "\n")
		}
	}
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	switch {
	case r.URL.Query().Has("verbose"):
		writeJSON(w, status, answer)
	case answer.Ready:
		writeText(w, status, "ready\n")
	default:
		writeText(w, status, "not ready\n"+failed.String())
	}
}

func writeText(w http.ResponseWriter, status int, text string) {
	header(w, status, "text/plain; charset=utf-8")
	io.WriteString(w, text) //nolint:errcheck // the client went away
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	header(w, status, "application/json")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client went away: v is one of ours
}

func header(w http.ResponseWriter, status int, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
}
