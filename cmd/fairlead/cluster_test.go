package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
	"github.com/fairlead-ws/fairlead/session"
)

func startNATS(t *testing.T, address string) *bus.Embedded {
	t.Helper()
	return startStore(t, address, t.TempDir())
}

// startStore is startNATS with what the folder has, which is nothing otherwise.
func startStore(t *testing.T, address, dir string) *bus.Embedded {
	t.Helper()
	e, err := bus.StartEmbedded(bus.EmbeddedConfig{
		Listen: address, User: "u", Password: "hidden", JetStream: true, StoreDir: dir, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestNATS: two nodes with one NATS share groups; when it is away they say so, and go on; when it is back, so are they.
func TestNATS(t *testing.T) {
	nats := startNATS(t, "127.0.0.1:0")
	address := strings.TrimPrefix(nats.URL(), "nats://")
	env := []string{
		"FAIRLEAD_NATS_URL=nats://" + address, "FAIRLEAD_NATS_USER=u",
		"FAIRLEAD_NATS_PASSWORD_FILE=" + writeFile(t, "password", "hidden\n"), "FAIRLEAD_NATS_CLUSTER=test",
	}
	file := writeFile(t, "fairlead.toml", anyone)
	one, two := startServe(t, env, "--config", file), startServe(t, env, "--config", file)
	a, b := dial(t, "ws://"+one.public+"/ws/g"), dial(t, "ws://"+two.public+"/ws/g")
	a.send("across")
	a.want("across")
	b.want("across")
	if got := fairlead(t, "", env, "publish", "g", "from outside"); got.code != 0 || !strings.Contains(got.stderr, "fl.test.g.g") {
		t.Fatalf("publish: exit code %d, %q", got.code, got.stderr)
	}
	a.want("from outside")
	b.want("from outside")
	if !strings.Contains(one.stderr.String(), `"bus":"nats"`) || metric(t, one, "fairlead_bus_embedded") != "0" {
		t.Error("the node does not say that it shares its groups")
	}

	if err := nats.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*serving{one, two} {
		eventually(t, func() error { return s.ready(503) })
		if _, body, err := s.get("/readyz?verbose"); err != nil || !strings.Contains(body, "NATS is away") {
			t.Errorf("/readyz: %s, %v", body, err)
		}
	}
	a.send("alone")
	a.want("alone")

	nats = startNATS(t, address)
	defer nats.Close(t.Context())
	for _, s := range []*serving{one, two} {
		eventually(t, func() error { return s.ready(200) })
	}
	b.send("again")
	b.want("again")
	a.want("again")
	for _, s := range []*serving{one, two} {
		if strings.Contains(s.stderr.String(), "hidden") {
			t.Errorf("the password is in the log:\n%s", s.stderr)
		}
	}
}

// TestNATSAway: a node starts without its NATS, serves its own clients, and says that it is not ready.
func TestNATSAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	s := launch(t, nil, "--config", writeFile(t, "fairlead.toml", anyone), "--nats-url", "nats://"+nobody)
	eventually(t, func() error { return s.ready(503) })
	a, b := dial(t, "ws://"+s.public+"/ws/g"), dial(t, "ws://"+s.public+"/ws/g")
	a.send("x")
	a.want("x")
	b.want("x")
}

// metric returns the value of a metric without labels.
func metric(t *testing.T, s *serving, name string) string {
	t.Helper()
	_, body, err := s.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("there is no metric %s", name)
	return ""
}

// TestNodeStarted: the journal begins with the start of the node, and its refusals follow.
func TestNodeStarted(t *testing.T) {
	l, err := config.Load(config.Source{Base: devConfig(), Getenv: getenv([]string{
		"FAIRLEAD_LISTEN_PUBLIC=127.0.0.1:0", "FAIRLEAD_LISTEN_INTERNAL=127.0.0.1:0", "FAIRLEAD_NATS_LISTEN=127.0.0.1:0",
		"FAIRLEAD_NODE_NAME=n1",
	})})
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(t.Context(), l, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.begin(); err != nil {
		t.Fatal(err)
	}
	s := &serving{internal: n.internal.Addr().String()}
	ended := make(chan error, 1)
	ctx, stop := listen(t.Context())
	defer stop.stop()
	go func() { ended <- n.serve(ctx) }()
	eventually(t, func() error { return s.ready(200) })
	if _, err := tryDial(t, "ws://"+n.public.Addr().String()+"/ws/demo", nil); !errors.Is(err, refused(401)) {
		t.Errorf("%v, want 401", err)
	}
	eventually(t, func() error {
		var got []session.Record
		for r, err := range n.journal.Epoch(t.Context(), n.epoch) {
			if err != nil {
				return err
			}
			got = append(got, r)
		}
		if len(got) != 2 {
			return fmt.Errorf("the journal has %d records: %v", len(got), got)
		}
		if e, ok := got[0].Event.(session.NodeStarted); !ok || e.Node != "n1" || got[0].Seq != 1 {
			t.Errorf("the first record is %+v", got[0])
		}
		if e, ok := got[1].Event.(session.Refused); !ok || e.Status != 401 || got[1].Seq != 2 {
			t.Errorf("the second record is %+v", got[1])
		}
		return nil
	})
	stop.stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
