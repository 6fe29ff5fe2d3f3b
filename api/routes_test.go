package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

func do(t *testing.T, h http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, target, nil))
	return rec
}

func TestRoutes(t *testing.T) {
	const (
		text   = "text/plain; charset=utf-8"
		asJSON = "application/json"
		exist  = `"endpoints":["GET /healthz","GET /metrics","GET /readyz"]}` + "\n"
		none   = `{"error":{"code":"not_found","message":"there is no such path"},` + exist
	)
	wrong := func(path string) string {
		return `{"error":{"code":"method_not_allowed","message":"` + path + ` knows GET and HEAD only"},` + exist
	}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fairlead_x 1\n") })
	down := Check{Name: "bus", OK: func() error { return errors.Join(errDown, errors.New("for a while")) }}
	up := Check{Name: "accepting", OK: func() error { return nil }}
	late := Check{Name: "late", OK: func() error { return errDown }}

	for _, tt := range []struct {
		checks         []Check
		method, target string
		status         int
		contentType    string
		body           string
	}{
		{nil, "GET", "/healthz", 200, text, "ok\n"},
		{[]Check{down}, "GET", "/healthz", 200, text, "ok\n"},
		{nil, "GET", "/readyz", 200, text, "ready\n"},
		{[]Check{up}, "GET", "/readyz", 200, text, "ready\n"},
		{[]Check{up}, "GET", "/readyz?other=verbose", 200, text, "ready\n"},
		{[]Check{down, up, late}, "GET", "/readyz", 503, text, "not ready\nbus: no connection; for a while\nlate: no connection\n"},
		{nil, "GET", "/readyz?verbose", 200, asJSON, `{"ready":true,"checks":[]}` + "\n"},
		{nil, "GET", "/metrics", 200, text, "fairlead_x 1\n"},
		{nil, "GET", "/", 404, asJSON, none},
		{nil, "GET", "/ws/app_1", 404, asJSON, none},
		{nil, "POST", "/nothing", 404, asJSON, none},
		{nil, "GET", "/healthz/", 404, asJSON, none},
		{nil, "POST", "/healthz", 405, asJSON, wrong("/healthz")},
		{nil, "DELETE", "/readyz?verbose", 405, asJSON, wrong("/readyz")},
		{nil, "PUT", "/metrics", 405, asJSON, wrong("/metrics")},
	} {
		a := mustNew(t, Config{Metrics: metrics, Ready: tt.checks})
		res := do(t, a.Handler(), tt.method, tt.target)
		body := res.Body.String()
		if res.Code != tt.status || body != tt.body {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.target, res.Code, body, tt.status, tt.body)
		}
		if got := res.Header().Get("Content-Type"); got != tt.contentType && tt.target != "/metrics" {
			t.Errorf("%s %s: Content-Type %q, want %q", tt.method, tt.target, got, tt.contentType)
		}
		if got := res.Header().Get("Allow"); (got == "GET, HEAD") != (tt.status == 405) {
			t.Errorf("%s %s: Allow %q", tt.method, tt.target, got)
		}
		if tt.method == "GET" {
			if head := do(t, a.Handler(), "HEAD", tt.target); head.Code != tt.status {
				t.Errorf("HEAD %s: %d, want %d", tt.target, head.Code, tt.status)
			}
		}
	}
}

func TestRoutesWithoutMetrics(t *testing.T) {
	res := do(t, mustNew(t, Config{}).Handler(), "GET", "/metrics")
	const want = `{"error":{"code":"not_found","message":"there is no such path"},"endpoints":["GET /healthz","GET /readyz"]}` + "\n"
	if body := res.Body.String(); res.Code != http.StatusNotFound || body != want {
		t.Errorf("%d %s, want 404 %s", res.Code, body, want)
	}
}

func TestReadyVerbose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().UTC()
		var bus, accepting flag
		h := mustNew(t, Config{Ready: []Check{
			{Name: "accepting", OK: accepting.OK},
			{Name: "bus", OK: bus.OK, Grace: 2 * time.Second, Recover: 2 * time.Second},
		}}).Handler()
		check := func(status int, want readiness) {
			t.Helper()
			res := do(t, h, "GET", "/readyz?verbose")
			var got readiness
			if err := json.Unmarshal(res.Body.Bytes(), &got); err != nil {
				t.Fatalf("%v: %s", err, res.Body)
			}
			if res.Code != status || !reflect.DeepEqual(got, want) {
				t.Errorf("%d %+v, want %d %+v", res.Code, got, status, want)
			}
		}
		check(200, readiness{true, []Status{{"accepting", true, "", start}, {"bus", true, "", start}}})
		time.Sleep(time.Minute)
		bus.down.Store(true)
		check(200, readiness{true, []Status{{"accepting", true, "", start}, {"bus", true, "no connection", start}}})
		time.Sleep(2 * time.Second)
		turned := time.Now().UTC()
		accepting.down.Store(true)
		check(503, readiness{false, []Status{{"accepting", false, "no connection", turned}, {"bus", false, "no connection", turned}}})
		time.Sleep(time.Second)
		bus.down.Store(false)
		check(503, readiness{false, []Status{{"accepting", false, "no connection", turned}, {"bus", false, errRecovering.Error(), turned}}})
		time.Sleep(2 * time.Second)
		accepting.down.Store(false)
		again := time.Now().UTC()
		check(200, readiness{true, []Status{{"accepting", true, "", again}, {"bus", true, "", again}}})
	})
}
