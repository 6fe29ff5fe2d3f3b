package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// slowGroups holds up whoever asks for the list, for a while.
type slowGroups struct{}

func (slowGroups) Members(session.Group) int { return 0 }

func (slowGroups) Groups(string, string, int) []bus.GroupCount {
	time.Sleep(time.Minute) // in a bubble
	return nil
}

// More requests than there are places wait a little, and are told to come again.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode(t, "n", 1, nil, func(c *Config) { c.Backend.Groups = slowGroups{} })
		var asked sync.WaitGroup
		for range maxReads {
			asked.Go(func() { n.ask("GET", "/api/v1/groups", "") })
		}
		synctest.Wait()
		start := time.Now()
		res := n.ask("GET", "/api/v1/nodes", "")
		res.refused(503, "busy", "too many requests")
		if took := time.Since(start); took != slotPatience || res.Header().Get("Retry-After") != "1" {
			t.Errorf("after %v, Retry-After %q", took, res.Header().Get("Retry-After"))
		}
		// Those that publish have places of their own, and health needs none.
		var got publishResult
		n.ask("POST", "/api/v1/publish", `{"group":"g","data":1}`).as(200, &got)
		if res := n.ask("GET", "/healthz", ""); res.Code != 200 {
			t.Errorf("/healthz: %d", res.Code)
		}
		asked.Wait()
		n.ask("GET", "/api/v1/nodes", "").as(200, &nodeList{})
		if err := n.actors.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A fault is answered as one, is counted, and tells nobody what was in it.
func TestPanic(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	n.API.backend.Self = func() bus.Peer { panic(errors.New("SECRET")) }
	res := do(t, n.Handler(), "GET", "http://127.0.0.1/api/v1/nodes")
	if body := res.Body.String(); res.Code != 500 || !strings.Contains(body, `"internal"`) || strings.Contains(body, "SECRET") {
		t.Errorf("%d %s", res.Code, body)
	}
	if log := n.log.String(); !strings.Contains(log, "an endpoint of the API panicked") || strings.Contains(log, "SECRET") {
		t.Errorf("the log is\n%s", log)
	}
	if got := testutil.ToFloat64(n.API.metrics.requests["GET /api/v1/nodes"][2]); got != 1 {
		t.Errorf("%v answers of 5xx are counted", got)
	}
}

func TestMethods(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	res := n.ask("GET", "/api/v1/publish", "")
	res.refused(405, "method_not_allowed", "/api/v1/publish knows POST only")
	if got := res.Header().Get("Allow"); got != "POST" {
		t.Errorf("Allow is %q", got)
	}
	n.ask("DELETE", "/api/v1/sessions/x", "").refused(405, "method_not_allowed", "knows GET and HEAD only")
	n.ask("GET", "/api/v2/nodes", "").refused(404, "not_found", "there is no such path")
	if !strings.Contains(n.ask("GET", "/api", "").Body.String(), `"POST /api/v1/publish"`) {
		t.Error("what exists is not listed")
	}
}

func TestRequestsAreCounted(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	n.ask("GET", "/api/v1/nodes", "")
	n.ask("GET", "/api/v1/nodes?x=1", "")
	for class, want := range []float64{1, 1, 0} {
		if got := testutil.ToFloat64(n.API.metrics.requests["GET /api/v1/nodes"][class]); got != want {
			t.Errorf("class %d: %v, want %v", class, got, want)
		}
	}
}

// deadlines notes what is set of the connection.
type deadlines struct {
	*httptest.ResponseRecorder
	read []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return nil
}

func TestProfiles(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	for path, content := range map[string]string{
		"/debug/pprof/":                   "text/html",
		"/debug/pprof/heap":               "application/octet-stream",
		"/debug/pprof/goroutine?debug=1":  "text/plain",
		"/debug/pprof/trace?seconds=0.01": "application/octet-stream",
	} {
		if res := n.ask("GET", path, ""); res.Code != 200 || !strings.HasPrefix(res.Header().Get("Content-Type"), content) {
			t.Errorf("%s: %d %q", path, res.Code, res.Header().Get("Content-Type"))
		}
	}
	for _, path := range []string{"/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/x"} {
		n.ask("GET", path, "").refused(404, "not_found", "")
	}
	for _, seconds := range []string{"0", "-1", "61", "1e9", "NaN", "x"} {
		n.ask("GET", "/debug/pprof/profile?seconds="+seconds, "").refused(400, "parameter", "up to 60")
	}
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1/debug/pprof/trace?seconds=0.01", nil)
	if n.Handler().ServeHTTP(w, r); w.Code != 200 || len(w.read) != 1 || !w.read[0].IsZero() {
		t.Errorf("%d, read deadlines %v: want it taken away, or a long profile is cut", w.Code, w.read)
	}
	n.profiling <- struct{}{}
	n.ask("GET", "/debug/pprof/heap", "").refused(http.StatusServiceUnavailable, "busy", "another profile")
	<-n.profiling
}
