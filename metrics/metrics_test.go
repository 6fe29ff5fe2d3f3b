package metrics

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

var build = Build{Version: "v0.1.0", Revision: "abc", GoVersion: "go1.26.0"}

func TestNewRegistry(t *testing.T) {
	r := NewRegistry(build)
	const want = `
		# HELP fairlead_build_info Always 1. The labels say what the program was built from.
		# TYPE fairlead_build_info gauge
		fairlead_build_info{go_version="go1.26.0",revision="abc",version="v0.1.0"} 1
	`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "fairlead_build_info"); err != nil {
		t.Error(err)
	}
	names := []string{"go_goroutines", "go_memstats_heap_alloc_bytes"}
	if runtime.GOOS == "linux" {
		names = append(names, "process_resident_memory_bytes", "process_open_fds")
	}
	for _, name := range names {
		if n, err := testutil.GatherAndCount(r, name); err != nil || n != 1 {
			t.Errorf("%s has %d series (%v), want 1", name, n, err)
		}
	}
	if problems, err := testutil.GatherAndLint(r, "fairlead_build_info"); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestNewRegistryTakesAnyText(t *testing.T) {
	r := NewRegistry(Build{Version: "v\xff"})
	const want = `
		# HELP fairlead_build_info Always 1. The labels say what the program was built from.
		# TYPE fairlead_build_info gauge
		fairlead_build_info{go_version="",revision="",version="v?"} 1
	`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "fairlead_build_info"); err != nil {
		t.Error(err)
	}
}

// get asks h with the given Accept and Accept-Encoding, and returns the answer with its body unpacked.
func get(t *testing.T, h http.Handler, accept, encoding string) (status int, header http.Header, text string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", encoding)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	var body io.Reader = rec.Body
	if rec.Header().Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		body = z
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Code, rec.Header(), string(b)
}

func TestHandler(t *testing.T) {
	r := NewRegistry(build)
	Handler(r)
	h := Handler(r) // a second one for the same registry
	for name, tt := range map[string]struct{ accept, encoding, wantType, wantEncoding, wantEnd string }{
		"a browser":        {"text/html", "", "text/plain; version=0.0.4", "", "\n"},
		"Prometheus":       {"application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "gzip", "application/openmetrics-text; version=1.0.0", "gzip", "# EOF\n"},
		"one that has all": {"text/plain", "zstd, gzip;q=0.5", "text/plain; version=0.0.4", "gzip", "\n"},
	} {
		status, header, body := get(t, h, tt.accept, tt.encoding)
		if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), tt.wantType) ||
			header.Get("Content-Encoding") != tt.wantEncoding {
			t.Errorf("%s: status %d, %q, want %q encoded as %q", name, status, header, tt.wantType, tt.wantEncoding)
		}
		if !strings.Contains(body, `fairlead_build_info{go_version="go1.26.0",revision="abc",version="v0.1.0"} 1`) || !strings.HasSuffix(body, tt.wantEnd) {
			t.Errorf("%s: the body is not the metrics:\n%s", name, body)
		}
	}
}

// broken is a collector that fails.
type broken struct{ desc *prometheus.Desc }

func (b broken) Describe(ch chan<- *prometheus.Desc) { ch <- b.desc }

func (b broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(b.desc, errors.New("no such thing"))
}

func TestHandlerLeavesOutWhatFails(t *testing.T) {
	r := NewRegistry(build)
	h := Handler(r)
	r.MustRegister(broken{prometheus.NewDesc("fairlead_broken", "Always fails.", nil, nil)})
	for range 2 { // the counter shows the failures of the scrapes before
		status, _, body := get(t, h, "", "")
		if status != http.StatusOK || !strings.Contains(body, "fairlead_build_info") || strings.Contains(body, "fairlead_broken") {
			t.Errorf("status %d, want 200 and all but what fails:\n%s", status, body)
		}
	}
	_, _, body := get(t, h, "", "")
	if want := `promhttp_metric_handler_errors_total{cause="gathering"} 2`; !strings.Contains(body, want) {
		t.Errorf("the errors are not counted, want %s in:\n%s", want, body)
	}
}

func TestHandlerOfAGatherer(t *testing.T) {
	var result error
	h := Handler(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, result })) // no Registerer
	if status, _, body := get(t, h, "", ""); status != http.StatusOK || body != "" {
		t.Errorf("an empty gatherer: status %d, body %q; want 200 and nothing", status, body)
	}
	result = errors.New("nothing works")
	if status, _, _ := get(t, h, "", ""); status != http.StatusInternalServerError {
		t.Errorf("a gatherer that fails: status %d, want 500", status)
	}
}

// slow lets a scrape wait until it is told to go on.
type slow struct{ entered, release chan struct{} }

func (s slow) Gather() ([]*dto.MetricFamily, error) {
	s.entered <- struct{}{}
	<-s.release
	return nil, nil
}

func TestHandlerBoundsScrapes(t *testing.T) {
	s := slow{make(chan struct{}), make(chan struct{})}
	h := Handler(s)
	done := make(chan struct{})
	for range maxScrapes {
		go func() {
			defer func() { done <- struct{}{} }()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		}()
		<-s.entered
	}
	if status, _, _ := get(t, h, "", ""); status != http.StatusServiceUnavailable {
		t.Errorf("one scrape too many: status %d, want 503", status)
	}
	close(s.release)
	for range maxScrapes {
		<-done
	}
}
