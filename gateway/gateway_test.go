package gateway

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var discard = slog.New(slog.DiscardHandler)

func TestNewErrors(t *testing.T) {
	good := Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{}}
	for _, c := range []struct {
		want   string
		change func(*Config)
	}{
		{"no routes", func(c *Config) { c.Routes = nil }},
		{"Actors is missing", func(c *Config) { c.Actors = nil }},
		{"Epoch is missing", func(c *Config) { c.Journal = &brokenJournal{} }},
		{"cannot be negative", func(c *Config) { c.Handshakes = -1 }},
		{"cannot be negative", func(c *Config) { c.HandshakeTimeout = -1 }},
		{"cannot be negative", func(c *Config) { c.RefusedPerSecond = -1 }},
		{"HeadBytes is 1000", func(c *Config) { c.HeadBytes = 1000 }},
		{"HeadBytes is -1", func(c *Config) { c.HeadBytes = -1 }},
		{"HeadBytes is 1048577", func(c *Config) { c.HeadBytes = 1<<20 + 1 }},
	} {
		cfg := good
		c.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "gateway: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
	if _, err := New(good); err != nil {
		t.Errorf("without the changes: %v", err)
	}
}

func TestNewDefaults(t *testing.T) {
	g, err := New(Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{}, Journal: &brokenJournal{}, Epoch: testEpoch})
	if err != nil {
		t.Fatal(err)
	}
	h := g.handshakes.Get().(*handshake)
	if cap(g.slots) != 256 || cap(g.heads) != 1024 || g.timeout != 5*time.Second || h.head.pool.limit != 16384 || g.refused.perSecond != 50 {
		t.Errorf("defaults are %d, %v, %d, %d", cap(g.slots), g.timeout, h.head.pool.limit, g.refused.perSecond)
	}
	if g.Accepting() {
		t.Error("it accepts before Serve")
	}
}

// What the metrics are called is API.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s := serve(t, Config{Routes: []Route{memberRoute(t)}, Registerer: reg}, nil)
	s.ask(t, handshakeTo("/ws/app_1234?token=alice"))
	s.ask(t, handshakeTo("/nothing"))
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names, reasons []string
	for _, f := range families {
		names = append(names, f.GetName())
		if f.GetName() != "fairlead_handshakes_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if len(labels) != 2 || (labels["result"] == "accepted") != (labels["reason"] == "ok") {
				t.Errorf("labels %v", labels)
			}
			if want := labels["reason"] == "ok" || labels["reason"] == "no_route"; (m.GetCounter().GetValue() == 1) != want {
				t.Errorf("%v is %v", labels, m.GetCounter().GetValue())
			}
			reasons = append(reasons, labels["reason"])
		}
	}
	wantNames := []string{
		"fairlead_accept_errors_total", "fairlead_handshake_seconds", "fairlead_handshakes_in_flight", "fairlead_handshakes_total",
		"fairlead_heads_waiting",
		"fairlead_limited_total", "fairlead_recheck_late_seconds", "fairlead_rechecked_connections", "fairlead_rechecks_total",
	}
	if !slices.Equal(names, wantNames) {
		t.Errorf("metrics %q, want %q", names, wantNames)
	}
	wantReasons := strings.Fields(`address_full authorizer_unavailable bad_algorithm bad_claims bad_parameter bad_signature body busy client_gone crowded
		draining duplicate_header expired forbidden full group head_too_large header host http_version inactive_user internal
		key malformed method no_credential no_route not_upgrade not_yet_valid ok origin panic path plain_http proxy_header
		request_line timeout tls too_many_attempts too_many_rejections unavailable unknown_token unknown_user used user_full verifier_unavailable
		websocket_version`)
	if slices.Sort(reasons); !slices.Equal(reasons, wantReasons) {
		t.Errorf("reasons %q, want %q", reasons, wantReasons)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	for _, c := range []struct {
		name string
		want int
	}{{"fairlead_handshake_seconds", 2}, {"fairlead_handshakes_in_flight", 0}} {
		for _, f := range families {
			if m := f.GetMetric()[0]; f.GetName() == c.name && int(m.GetHistogram().GetSampleCount())+int(m.GetGauge().GetValue()) != c.want {
				t.Errorf("%s is %v, want %d", c.name, m, c.want)
			}
		}
	}
	if _, err := New(Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{}, Registerer: reg}); err == nil {
		t.Error("a second gateway has the same metrics")
	}
}
