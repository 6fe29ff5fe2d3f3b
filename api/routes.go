package api

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
)

// routes builds the handler. For each endpoint "GET /path" there is a plain "/path" that refuses other methods, so that
// refusals are JSON, too.
func (a *API) routes(metrics http.Handler) http.Handler {
	endpoints := map[string]http.Handler{
		"/healthz": http.HandlerFunc(health),
		"/readyz":  http.HandlerFunc(a.ready),
	}
	if metrics != nil {
		endpoints["/metrics"] = metrics
	}
	var exist []string
	for path := range endpoints {
		exist = append(exist, "GET "+path)
	}
	slices.Sort(exist)

	mux := http.NewServeMux()
	for path, h := range endpoints {
		mux.Handle("GET "+path, h) // and HEAD
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", path+" knows GET and HEAD only", exist)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "not_found", "there is no such path", exist)
	})
	return mux
}

// refusal is the body of every answer that is an error of the client.
type refusal struct {
	Error     string   `json:"error"`     // for programs: from a closed set
	Message   string   `json:"message"`   // for people
	Endpoints []string `json:"endpoints"` // what exists
}

func refuse(w http.ResponseWriter, status int, code, message string, exist []string) {
	writeJSON(w, status, refusal{Error: code, Message: message, Endpoints: exist})
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
