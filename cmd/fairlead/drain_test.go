package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
	"github.com/fairlead-ws/fairlead/session"
)

func TestCloseRate(t *testing.T) {
	for name, tt := range map[string]struct {
		peers []bus.Peer
		want  float64
	}{
		"nobody is known":              {nil, 100},
		"one":                          {[]bus.Peer{{}}, 100},
		"three":                        {[]bus.Peer{{}, {}, {}}, 300},
		"who drains does not count":    {[]bus.Peer{{}, {Draining: true}}, 100},
		"all drain":                    {[]bus.Peer{{Draining: true}, {Draining: true}}, 100},
		"one takes less":               {[]bus.Peer{{AcceptRate: 30}, {}}, 130},
		"one would take more":          {[]bus.Peer{{AcceptRate: 3000}}, 100},
		"who takes less and drains":    {[]bus.Peer{{AcceptRate: 30, Draining: true}}, 100},
		"the only one takes even less": {[]bus.Peer{{AcceptRate: 1}}, 1},
	} {
		if got := closeRate(tt.peers, 100); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// After the signal to stop, balancers have drain.shutdown_delay to notice: who still comes in meanwhile is served.
func TestShutdownDelay(t *testing.T) {
	const delay = 3 * time.Second
	s := startServe(t, []string{"FAIRLEAD_DRAIN_SHUTDOWN_DELAY=" + delay.String(), "FAIRLEAD_DRAIN_WINDOW=50ms"},
		"--config", writeFile(t, "fairlead.toml", anyone))
	first := dial(t, "ws://"+s.public+"/ws/a")
	if v := metric(t, s, "fairlead_draining"); v != "0" {
		t.Errorf("draining = %s before the signal", v)
	}
	begin := time.Now()
	s.stop()
	eventually(t, func() error { return s.ready(503) })
	if _, body, err := s.get("/readyz?verbose"); err != nil || !strings.Contains(body, errDraining.Error()) {
		t.Errorf("/readyz: %s, %v", body, err)
	}
	late := dial(t, "ws://"+s.public+"/ws/a")
	if v := metric(t, s, "fairlead_draining"); v != "1" {
		t.Errorf("draining = %s after the signal", v)
	}
	late.send("still here")
	late.want("still here")
	first.want("still here")
	first.wantClosed(1012)
	late.wantClosed(1012)
	if passed := time.Since(begin); passed < delay {
		t.Errorf("the first close came after %v, the delay is %v", passed, delay)
	}
	if err := s.end(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > delay+5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

// The closes take as long as the nodes that go on need, which know of one another, and a second node that stops takes
// itself out of the count.
func TestDrainHeedsTheOthers(t *testing.T) {
	nats := startNATS(t, "127.0.0.1:0")
	defer nats.Close(t.Context())
	env := []string{
		"FAIRLEAD_NATS_URL=" + nats.URL(), "FAIRLEAD_NATS_USER=u", "FAIRLEAD_NATS_PASSWORD_FILE=" + writeFile(t, "password", "hidden\n"),
		"FAIRLEAD_DRAIN_WINDOW=0s", "FAIRLEAD_DRAIN_CLOSE_RATE=10",
	}
	file := writeFile(t, "fairlead.toml", anyone)
	one, two, three := startServe(t, env, "--config", file), startServe(t, env, "--config", file), startServe(t, env, "--config", file)
	nodes := []*serving{one, two, three}
	for _, s := range nodes {
		eventually(t, func() error {
			if v := metric(t, s, "fairlead_peers"); v != "2" {
				return fmt.Errorf("a node knows %s others, want 2", v)
			}
			return nil
		})
	}
	const clients = 41
	var all []*client
	for range clients {
		all = append(all, dial(t, "ws://"+one.public+"/ws/a"))
	}
	begin := time.Now()
	one.stop()
	for _, c := range all {
		c.wantClosed(1012)
	}
	if took := time.Since(begin); took < 1800*time.Millisecond { // it is not slower than that by its log, see below
		t.Errorf("%d closes took %v; two survivors take 10 per second each, so want 2 s", clients, took)
	}
	if err := one.end(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(one.stderr.String(), `"most_per_second":20`) {
		t.Errorf("the log does not say how fast it may go:\n%s", one.stderr)
	}
	eventually(t, func() error {
		if v := metric(t, two, "fairlead_peers"); v != "1" {
			return fmt.Errorf("two knows %s others, want 1", v)
		}
		return nil
	})
}

// The journal has the begin of the drain, numbered behind the start.
func TestDrainIsRecorded(t *testing.T) {
	l, err := config.Load(config.Source{Base: devConfig(), Getenv: getenv([]string{
		"FAIRLEAD_LISTEN_PUBLIC=127.0.0.1:0", "FAIRLEAD_LISTEN_INTERNAL=127.0.0.1:0", "FAIRLEAD_NATS_LISTEN=127.0.0.1:0",
		"FAIRLEAD_DRAIN_WINDOW=7s",
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
	if err := errors.Join(n.begin(), n.drain()); err != nil {
		t.Fatal(err)
	}
	var kinds []session.Kind
	for r, err := range n.journal.Epoch(t.Context(), n.epoch) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, r.Event.Kind())
		if e, ok := r.Event.(session.NodeDraining); ok && (e.Window != 7*time.Second || e.Connections != 0 || r.Seq != 2) {
			t.Errorf("event %d is %+v", r.Seq, e)
		}
	}
	if len(kinds) != 2 || kinds[1] != session.KindNodeDraining {
		t.Errorf("the journal has %v", kinds)
	}
}
