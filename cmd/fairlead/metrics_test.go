package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

var update = flag.Bool("update", false, "write testdata/metrics.golden and testdata/conformance/differs.golden")

// TestMetrics holds the names of all metrics: dashboards and alerts are made of them, so a name, a type or a label that
// changes is a change for users. After an addition: go test ./cmd/fairlead -run TestMetrics -update.
func TestMetrics(t *testing.T) {
	cert := newCertificate(t, time.Now().Add(time.Hour))
	base := devConfig() // and what has metrics of its own besides
	base.Verifiers = append(base.Verifiers, config.Verifier{Name: "ticket", Kind: config.KindTicket},
		config.Verifier{Name: "app", Kind: config.KindCallback, URL: "http://127.0.0.1:1/", Timeout: time.Second})
	base.Verifiers = append(base.Verifiers, config.Verifier{Name: "oidc", Kind: config.KindJWT, Algorithms: []string{"RS256"}, JWKSURL: "https://127.0.0.1:1/"})
	base.Verifiers = append(base.Verifiers,
		config.Verifier{Name: "drf", Kind: config.KindDRFToken, DSN: "sqlite:testdata/django.sqlite3", CacheTTL: time.Second},
		config.Verifier{Name: "pg", Kind: config.KindDRFToken, DSN: "postgres://127.0.0.1:1/d", Listen: true, UserTable: "u", UserPK: "id", UserActive: "a", TokenTable: "t", TokenKey: "k", TokenUser: "u"})
	base.Authorizers = append(base.Authorizers,
		config.Authorizer{Name: "member", Kind: config.KindSQL, DSN: "sqlite:testdata/django.sqlite3", Query: "SELECT 1", CacheTTL: time.Second})
	l, err := config.Load(config.Source{Base: base, Getenv: getenv([]string{
		"FAIRLEAD_TLS_CERT=" + cert.cert, "FAIRLEAD_TLS_KEY=" + cert.key,
		"FAIRLEAD_LISTEN_PUBLIC=127.0.0.1:0", "FAIRLEAD_LISTEN_INTERNAL=127.0.0.1:0", "FAIRLEAD_NATS_LISTEN=127.0.0.1:0",
	})})
	if err != nil {
		t.Fatal(err)
	}
	var log output
	n, err := newNode(t.Context(), l, newLogger(&log, l.Log))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "fairlead_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		lines = append(lines, fmt.Sprintf("%s{%s} %s: %s\n", f.GetName(), strings.Join(labels, ","), strings.ToLower(f.GetType().String()), f.GetHelp()))
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	const golden = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the metrics have changed; got\n%s\nwant\n%s", got, want)
	}
	problems, err := testutil.GatherAndLint(n.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "fairlead_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, base := range []string{"go_goroutines", "process_open_fds"} {
		if !slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == base }) {
			t.Errorf("%s is missing", base)
		}
	}
}
