package trial

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/floor"
	"github.com/fairlead-ws/fairlead/bench/internal/peer"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/server"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// figures runs a trial, and returns its figures by name once it is sure that the server was stopped.
func figures(t *testing.T, r *rig, trial interface {
	Run(context.Context, *Bench) ([]report.Figure, error)
},
) map[string]report.Figure {
	t.Helper()
	all, err := trial.Run(t.Context(), r.Bench)
	if err != nil {
		t.Fatal(err)
	}
	if r.stops != 1 || len(r.said) == 0 {
		t.Errorf("the server was stopped %d times; progress: %q", r.stops, r.said)
	}
	for _, f := range all {
		if f.Trial == "" || f.Name == "" || math.IsNaN(f.Value) || math.IsInf(f.Value, 0) {
			t.Errorf("figure %+v", f)
		}
	}
	named := byName(all)
	if len(named) != len(all) {
		t.Errorf("names come twice in %+v", all)
	}
	return named
}

func byName(all []report.Figure) map[string]report.Figure {
	named := map[string]report.Figure{}
	for _, f := range all {
		named[f.Name] = f
	}
	return named
}

// want checks a figure's value, or that it lies between two.
func want(t *testing.T, got map[string]report.Figure, name string, low, high float64) {
	t.Helper()
	if f, ok := got[name]; !ok || f.Value < low || f.Value > high {
		t.Errorf("%q is %+v (there: %v), want %v to %v", name, f, ok, low, high)
	}
}

func TestIdle(t *testing.T) {
	for _, apart := range []bool{false, true} {
		r := newRig(t, peer.Config{})
		got := figures(t, r, Idle{Connections: 50, Apart: apart, Wait: 50 * time.Millisecond, Via: wire.ViaCookie})
		want(t, got, "connections", 50, 50)
		want(t, got, "goroutines per connection", 1, 1)
		if f := got["resident bytes per connection"]; (f.Met == nil) != apart {
			t.Errorf("the target is for one group: %+v", f)
		}
		if len(r.settings) != 2 || r.settings["nats.store_dir"] != `"{dir}/store"` || r.settings["journal.mode"] != `"degrade"` {
			t.Errorf("settings %v; idle is measured with the defaults, and the journal on disk", r.settings)
		}
	}
}

func TestHandshake(t *testing.T) {
	r := newRig(t, peer.Config{})
	got := figures(t, r, Handshake{Connections: 30, Rounds: 2, Window: 8, Via: wire.ViaQuery})
	want(t, got, "goroutines left by refusals", 0, 0)
	want(t, got, "server CPU per authenticated handshake", 1, 1e5)
	want(t, got, "server CPU per refusal (401)", 1, 1e5)
	want(t, got, "CPU per empty system call, around the handshakes", 10, 1e5)
	want(t, got, "handshake, scaled to the machine's fastest", 0, got["server CPU per authenticated handshake"].Value)
	if n := len(got["handshakes"].Samples); n != 2 {
		t.Errorf("%d samples of 2 rounds", n)
	}
	m, err := server.ReadMetrics(t.Context(), r.peer.Internal+"/metrics")
	if err != nil || m.Sum("fairlead_handshakes_total", `result="accepted"`) != 90 || m.Sum("fairlead_handshakes_total", `result="refused"`) != 90 {
		t.Errorf("the server has seen %v, %v; want 90 of each, in 3 rounds", m, err)
	}
}

// TestHandshakeInsists has servers that do not do as they should.
func TestHandshakeInsists(t *testing.T) {
	r := newRig(t, peer.Config{})
	start := r.Server
	r.Server = func(ctx context.Context, setup Setup) (*Target, error) {
		s, err := start(ctx, setup)
		if err == nil {
			s.Secret = "a key that the server does not know"
		}
		return s, err
	}
	if got, err := (Handshake{Connections: 3, Rounds: 1, Window: 1, Via: wire.ViaHeader}).Run(t.Context(), r.Bench); err == nil {
		t.Errorf("nobody gets in, but %+v", got)
	} else if !strings.Contains(err.Error(), "3 were refused (map[401:3])") || r.stops != 1 {
		t.Errorf("%v; stopped %d times", err, r.stops)
	}
}

func TestFanout(t *testing.T) {
	r := newRig(t, peer.Config{})
	o := Fanout{Members: 20, Size: 128, Rate: 1000, Warm: 2, Messages: 10, Pairs: 2, Reading: crowd.Discard}
	got := figures(t, r, o)
	want(t, got, "send loop CPU per send", 0.1, 1e5)
	want(t, got, "server CPU per delivery", 0.1, 1e5)
	want(t, got, "deliveries counted by server and clients, difference", 0, 0)
	want(t, got, "dropped or slow, by the server's metrics", 0, 0)
	if n := len(got["server CPU per delivery over send loop CPU per send"].Samples); n != 2 {
		t.Errorf("%d samples of 2 pairs", n)
	}
	if r.settings["limits.ping_interval"] != noPings {
		t.Errorf("settings %v: clients that discard answer no ping", r.settings)
	}
}

func TestFanoutInsists(t *testing.T) {
	o := Fanout{Members: 5, Size: 64, Rate: 1000, Warm: 1, Messages: 5, Pairs: 1, Reading: crowd.Sweep}
	r := newRig(t, peer.Config{})
	r.Loop = func(context.Context, int, int) (*floor.Loop, error) { return nil, errors.New("no loop today") }
	if _, err := o.Run(t.Context(), r.Bench); err == nil || !strings.Contains(err.Error(), "no loop today") || r.stops != 1 {
		t.Errorf("got %v; stopped %d times", err, r.stops)
	}
}

func TestFlood(t *testing.T) {
	for _, reading := range []crowd.Reading{crowd.Discard, crowd.Sweep} {
		r := newRig(t, peer.Config{})
		got := figures(t, r, Flood{
			Members: 20, Size: 128, Senders: 2, Window: 16, Duration: 50 * time.Millisecond, Runs: 2, Reading: reading,
		})
		want(t, got, "deliveries", 100, 1e9)
		want(t, got, "deliveries lost", 0, 0)
		want(t, got, "connections lost", 0, 0)
		want(t, got, "deliveries counted by server and clients, difference", 0, 0)
	}
}

func TestStall(t *testing.T) {
	const timeout = 2 * time.Second // those that read must not be starved for so long, on a busy machine either
	r := newRig(t, peer.Config{WriteTimeout: timeout})
	got := figures(t, r, Stall{
		Name: "test", Healthy: 5, Stalled: 3, Size: 60_000, Rate: 100, Messages: 150, WriteTimeout: timeout, Outbox: 1 << 30,
	})
	want(t, got, "stalled connections cut", 3, 3)
	want(t, got, "longest from blocked to closed", 1.5, 5)
	want(t, got, "deliveries lost by those that read", 0, 0)
	want(t, got, "longest latency beside the stalled", 0.001, 5000)
	if r.settings["limits.write_timeout"] != `"2s"` || r.settings["limits.outbox_bytes"] != "1073741824" {
		t.Errorf("settings %v", r.settings)
	}
}

func TestCycle(t *testing.T) {
	r := newRig(t, peer.Config{})
	got := figures(t, r, Cycle{Connections: 60, Warm: 1, Rounds: 2, Window: 8, Via: wire.ViaSubprotocol})
	want(t, got, "connections that came and went, in a round", 60, 60)
	want(t, got, "goroutines more after a round", -1, 0)
	want(t, got, "open files more after a round", -2, 2)
	if n := len(got["resident memory after a round"].Samples); n != 2 {
		t.Errorf("%d samples of 2 rounds", n)
	}
}

func TestTLS(t *testing.T) {
	r := newRig(t, peer.Config{})
	got := figures(t, r, TLS{Connections: 30, Wait: 20 * time.Millisecond, Pinged: 20 * time.Millisecond, Window: 4})
	want(t, got, "connections", 30, 30)
	want(t, got, "goroutines per connection", 1, 1)
	want(t, got, "pings answered per connection", 0, 0)
	want(t, got, "server CPU per handshake, of TLS (P-256) and of the WebSocket", 1, 1e6)
	if r.settings["journal.mode"] != `"degrade"` {
		t.Errorf("settings %v; it is measured as idle is, with the journal on disk", r.settings)
	}
	if _, err := os.Stat(strings.Trim(r.settings["tls.key"], `"`)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key is left behind: %v", err)
	}
	r = newRig(t, peer.Config{Secret: "a key that nobody is told, of 32 bytes"})
	if _, err := (TLS{Connections: 3, Window: 1}).Run(t.Context(), r.Bench); err == nil || !strings.Contains(err.Error(), "0 are open: connection") || r.stops != 1 {
		t.Errorf("nobody gets in: %v; stopped %d times", err, r.stops)
	}
}

func TestCompress(t *testing.T) {
	o := Compress{Members: 10, Size: 300, Rate: 1000, Messages: 5, Rounds: 2}
	r := newRig(t, peer.Config{Compress: true})
	got := figures(t, r, o)
	want(t, got, "compressions per message", 2, 2) // the peer says it of both groups
	want(t, got, "server CPU per delivery, compressed", 0.1, 1e5)
	want(t, got, "server CPU per delivery, plain", 0.1, 1e5)
	want(t, got, "dropped or slow, by the server's metrics", 0, 0)
	if n := len(got["compressed over plain"].Samples); n != 2 {
		t.Errorf("%d samples of 2 rounds", n)
	}
	if r.settings["compression.enabled"] != "true" {
		t.Errorf("settings %v", r.settings)
	}
	r = newRig(t, peer.Config{})
	if _, err := o.Run(t.Context(), r.Bench); err == nil || !strings.Contains(err.Error(), "compressed nothing") {
		t.Errorf("a server that does not compress: %v", err)
	}
}

// TestWatch follows sockets through looks at a table that the test writes.
func TestWatch(t *testing.T) {
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	a, b, other := netip.MustParseAddrPort("127.0.0.2:1"), netip.MustParseAddrPort("127.0.0.2:2"), netip.MustParseAddrPort("127.0.0.1:3")
	var table []proc.Socket
	w := &watch{
		read: func() ([]proc.Socket, error) { return table, nil },
		of:   func(c netip.AddrPort) bool { return c.Addr() != localhost }, started: begin, sockets: map[netip.AddrPort]*watched{},
	}
	open := func(client netip.AddrPort, send int) proc.Socket {
		return proc.Socket{Remote: client, Send: send, Inode: 1}
	}
	for _, look := range []struct {
		ms    int
		table []proc.Socket
	}{
		{0, []proc.Socket{open(a, 0), open(b, 0), open(other, 900)}},
		{100, []proc.Socket{open(a, 100), open(b, 100), open(other, 900)}},
		{200, []proc.Socket{open(a, 100), open(b, 300), open(other, 900)}},
		{600, []proc.Socket{{Remote: a, Send: 100}, open(b, 300)}}, // a is closed, but its bytes are still there
		{1000, nil},
		{1200, nil},
	} {
		table = look.table
		if err := w.look(at(look.ms)); err != nil {
			t.Fatal(err)
		}
	}
	gone, fromStart, fromBlock := w.outcome()
	if gone != 2 || fromStart != time.Second || fromBlock != 800*time.Millisecond || w.resting != 400 {
		t.Errorf("%d gone, %v from the start, %v from the block, %d bytes; want 2, 1 s, 800 ms, 400",
			gone, fromStart, fromBlock, w.resting)
	}
	w.read = func() ([]proc.Socket, error) { return nil, errors.New("no table") }
	if err := w.look(at(1300)); err == nil {
		t.Error("a table that cannot be read is no error")
	}
}

func TestLosses(t *testing.T) {
	before := server.Metrics{`fairlead_bus_dropped_total{reason="member"}`: 2, "fairlead_slow_closes_total": 0, "other": 0}
	after := server.Metrics{`fairlead_bus_dropped_total{reason="member"}`: 5, "fairlead_slow_closes_total": 1, "other": 9}
	if f := losses(before, after); len(f) != 1 || f[0].Value != 4 || !f[0].Missed() {
		t.Errorf("got %+v, want 4", f)
	}
}

func TestLater(t *testing.T) {
	if got := later([]float64{10, 90, 20, 25, 21, 80}); got != 5 {
		t.Errorf("got %v, want 5", got)
	}
}

func TestMeasure(t *testing.T) {
	c, err := measure(os.Getpid(), func() error {
		for begin := time.Now(); time.Since(begin) < 30*time.Millisecond; {
		}
		return nil
	})
	if err != nil || c.wall < 30*time.Millisecond || c.server <= 0 {
		t.Errorf("got %+v, %v", c, err)
	}
	if got := (cost{server: 3 * time.Millisecond}).each(1000); got != 3 {
		t.Errorf("3 ms for 1000 are %v us each, want 3", got)
	}
	failed := errors.New("failed")
	if _, err := measure(os.Getpid(), func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := settle(ctx, os.Getpid()); !errors.Is(err, context.Canceled) {
		t.Errorf("settle: %v", err)
	}
}

// byTrial finds a figure by both its names.
func byTrial(trial, name string) func(report.Figure) bool {
	return func(f report.Figure) bool { return f.Trial == trial && f.Name == name }
}
