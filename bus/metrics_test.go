package bus

import (
	"errors"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Names are API: a dashboard breaks when one changes.
var golden = []string{
	"fairlead_bus_batch_messages",
	"fairlead_bus_busy_total",
	"fairlead_bus_connected",
	"fairlead_bus_dropped_total",
	"fairlead_bus_errors_total",
	"fairlead_bus_inbox_bytes",
	"fairlead_bus_published_total",
	"fairlead_bus_reconnects_total",
	"fairlead_bus_subscriptions",
	"fairlead_deliveries_total",
	"fairlead_groups",
	"fairlead_publisher_queue_bytes",
}

func TestMetricNames(t *testing.T) {
	reg := prometheus.NewRegistry()
	b, err := NewLocal(LocalConfig{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	slices.Sort(names)
	if !slices.Equal(names, golden) {
		t.Errorf("metrics %q, want %q", names, golden)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestMetricsRegisterAllOrNone(t *testing.T) {
	reg := prometheus.NewRegistry()
	taken := newMetrics().groups // somebody else's
	reg.MustRegister(taken)
	b, err := NewLocal(LocalConfig{Registerer: reg})
	if are := (prometheus.AlreadyRegisteredError{}); !errors.As(err, &are) {
		t.Fatalf("NewLocal = %v, %v, want an AlreadyRegisteredError", b, err)
	}
	if n, err := testutil.GatherAndCount(reg); n != 1 || err != nil {
		t.Errorf("%d metrics are registered after the failure (%v), want the other's alone", n, err)
	}
	reg.Unregister(taken)
	b, err = NewLocal(LocalConfig{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
}

func TestLocalConfigNegative(t *testing.T) {
	for _, c := range []LocalConfig{{Shards: -1}, {InboxBytes: -1}, {MaxPayload: -1}} {
		if b, err := NewLocal(c); !errors.Is(err, errNegative) {
			t.Errorf("NewLocal(%+v) = %v, %v", c, b, err)
		}
	}
}
