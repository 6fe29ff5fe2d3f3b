package trial

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/peer"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// onTerm calls f when this process, which is the peers', is told to end.
func onTerm(t *testing.T, f func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-signals:
			f()
		case <-done:
		}
	}()
	t.Cleanup(func() {
		signal.Stop(signals)
		close(done)
		<-ended
	})
}

func TestDrain(t *testing.T) {
	r := newRig(t, peer.Config{})
	onTerm(t, r.restart)
	o := Drain{Connections: 30, Window: time.Second, Bound: 30, Via: wire.ViaHeader}
	all, err := o.Run(t.Context(), r.Bench)
	if err != nil {
		t.Fatal(err)
	}
	got := byName(all)
	want(t, got, "connections open at the other node", 30, 30)
	want(t, got, "lost, or not let in", 0, 0)
	want(t, got, "most connections in one second at the other node", 1, 30)
	want(t, got, "from the signal until all are at the other node", 0, 6)
	if r.settings["nats.url"] != `"nats://127.0.0.1:1"` || r.settings["drain.window"] != `"1s"` || r.settings["drain.close_rate"] != "30" {
		t.Errorf("settings %v", r.settings)
	}
	if r.stops != 2 || !slices.Equal(r.nats, []string{"kill"}) {
		t.Errorf("%d servers were stopped; NATS: %v", r.stops, r.nats)
	}
}

// TestDrainInsists has a server that was told to stop and does not.
func TestDrainInsists(t *testing.T) {
	r := newRig(t, peer.Config{})
	onTerm(t, r.restart)
	r.ended = errors.New("it goes on")
	_, err := Drain{Connections: 3, Window: time.Second, Bound: 30, Via: wire.ViaHeader}.Run(t.Context(), r.Bench)
	if !errors.Is(err, r.ended) || r.stops != 2 {
		t.Errorf("%v, %d stops", err, r.stops)
	}
}

func TestJournal(t *testing.T) {
	r := newRig(t, peer.Config{Journal: true})
	all, err := Journal{Connections: 20, Rounds: 2, Window: 8, Via: wire.ViaHeader}.Run(t.Context(), r.Bench)
	if err != nil {
		t.Fatal(err)
	}
	got := byName(all)
	want(t, got, "records kept", 80, 80)
	want(t, got, "server CPU per event, journal on disk less none", -1e5, 1e5)
	if n := len(got["server CPU per event, journal on disk less none"].Samples); n != 2 || r.stops != 2 {
		t.Errorf("%d samples of 2 rounds, %d stops", n, r.stops)
	}

	r = newRig(t, peer.Config{})
	if _, err := (Journal{Connections: 5, Rounds: 1, Window: 8, Via: wire.ViaHeader}).Run(t.Context(), r.Bench); err == nil ||
		!strings.Contains(err.Error(), "the journal has 0 records more, want 10") {
		t.Errorf("a server without a journal: %v", err)
	}
}

func TestOutage(t *testing.T) {
	for _, mode := range []string{"degrade", "require"} {
		r := newRig(t, peer.Config{})
		o := Outage{
			Mode: mode, Standing: 5, Rate: 20, Before: time.Second, Away: time.Second, After: time.Second, Grown: 1000, Via: wire.ViaHeader,
		}
		all, err := o.Run(t.Context(), r.Bench)
		if err != nil {
			t.Fatal(err)
		}
		got := byName(all)
		want(t, got, "let in", 60, 60)
		want(t, got, "neither", 0, 0)
		want(t, got, "connections that were there and were lost", 0, 0)
		if refused := got["refused with 503"]; refused.Missed() != (mode == "require") {
			t.Errorf("%s: %+v; the peer refuses nobody", mode, refused)
		}
		if !slices.Equal(r.nats, []string{"kill", "again", "kill"}) || r.stops != 1 || r.settings["journal.mode"] != `"`+mode+`"` {
			t.Errorf("NATS: %v; %d stops; settings %v", r.nats, r.stops, r.settings)
		}
	}
}
