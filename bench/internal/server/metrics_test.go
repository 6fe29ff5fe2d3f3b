package server

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const exposition = `# HELP go_goroutines Number of goroutines.
# TYPE go_goroutines gauge
go_goroutines 15012
fairlead_closes_total{code="1000"} 7
fairlead_closes_total{code="1013",why="slow, { very } slow"} 2
fairlead_closes_total_more 100

fairlead_auth_seconds_bucket{le="+Inf"} 1.5e+03 1700000000000
`

func TestMetrics(t *testing.T) {
	m, err := parseMetrics(strings.NewReader(exposition))
	if err != nil || len(m) != 5 {
		t.Fatalf("got %v, %v", m, err)
	}
	tests := []struct {
		name  string
		parts []string
		want  float64
	}{
		{"go_goroutines", nil, 15012},
		{"fairlead_closes_total", nil, 9},
		{"fairlead_closes_total", []string{`code="1013"`}, 2},
		{"fairlead_closes_total", []string{`code="1013"`, `why="slow, { very } slow"`}, 2},
		{"fairlead_closes_total", []string{`code="1001"`}, 0},
		{"fairlead_auth_seconds_bucket", nil, 1500},
		{"nothing", nil, 0},
	}
	for _, tt := range tests {
		if got := m.Sum(tt.name, tt.parts...); got != tt.want {
			t.Errorf("Sum(%q, %q) = %v, want %v", tt.name, tt.parts, got, tt.want)
		}
	}
	before := Metrics{`fairlead_closes_total{code="1000"}`: 7, "fairlead_closes_total_more": 99}
	want := Metrics{`fairlead_closes_total{code="1013",why="slow, { very } slow"}`: 2, "fairlead_closes_total_more": 1}
	if got := m.Grown(before, "closes", "other"); !maps.Equal(got, want) {
		t.Errorf("Grown = %v, want %v", got, want)
	}
}

func TestMetricsMalformed(t *testing.T) {
	for _, give := range []string{"name", "name{a=\"b\"}", "name value", `name{a="b"}1`} {
		if m, err := parseMetrics(strings.NewReader(give)); !errors.Is(err, ErrMetrics) {
			t.Errorf("parseMetrics(%q) = %v, %v; want ErrMetrics", give, m, err)
		}
	}
}

func TestReadMetrics(t *testing.T) {
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(exposition))
	}))
	if m, err := ReadMetrics(t.Context(), s.URL); err != nil || m["go_goroutines"] != 15012 {
		t.Errorf("got %v, %v", m, err)
	}
	status = http.StatusServiceUnavailable
	if m, err := ReadMetrics(t.Context(), s.URL); err == nil {
		t.Errorf("a 503 gives %v", m)
	}
	s.Close()
	for _, url := range []string{s.URL, "::"} {
		if m, err := ReadMetrics(t.Context(), url); err == nil {
			t.Errorf("%s: no error, but %v", url, m)
		}
	}
}
