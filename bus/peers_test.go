package bus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// helloInterval is short, so that a test sees nodes go.
const helloInterval = 50 * time.Millisecond

// peers is a node among others.
type peers struct {
	*bus.Peers
	conn     *nats.Conn
	epoch    session.Epoch
	draining *atomic.Bool
	metrics  *prometheus.Registry
}

// startPeers starts a node that answers, with what the questions say.
func startPeers(t *testing.T, url, name string, answers map[string]bus.Answerer) peers {
	t.Helper()
	epoch, err := session.NewEpoch(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := peers{
		conn:  client(t, url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectBufSize(-1)),
		epoch: epoch, draining: new(atomic.Bool), metrics: prometheus.NewRegistry(),
	}
	p.Peers, err = bus.NewPeers(bus.PeersConfig{
		Conn: p.conn, Interval: helloInterval, Logger: quiet(), Registerer: p.metrics,
		Self: func() bus.Peer {
			return bus.Peer{Name: name, Epoch: epoch, Version: "v1", Connections: 7, AcceptRate: 9, Draining: p.draining.Load()}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for op, f := range answers {
		p.Answer(op, f)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *peers) names() string {
	var names []string
	for _, peer := range p.List() {
		names = append(names, peer.Name)
	}
	return strings.Join(names, " ")
}

func (p *peers) sees(names string) func() bool { return func() bool { return p.names() == names } }

func say(answer string) bus.Answerer {
	return func(_ context.Context, payload []byte) ([]byte, error) {
		return slices.Concat([]byte(answer+" "), payload), nil
	}
}

func TestPeersKnowOneAnother(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	a, b, c := startPeers(t, url, "a", nil), startPeers(t, url, "b", nil), startPeers(t, url, "c", nil)
	eventually(t, "a sees the others", a.sees("b c"))
	eventually(t, "b sees the others", b.sees("a c"))
	eventually(t, "c sees the others", c.sees("a b"))
	got := a.List()[0]
	if time.Since(got.Seen) > patience || got.Seen.IsZero() {
		t.Errorf("b was seen at %v", got.Seen)
	}
	got.Seen = time.Time{}
	if want := (bus.Peer{Name: "b", Epoch: b.epoch, Version: "v1", Connections: 7, AcceptRate: 9}); got != want {
		t.Errorf("b is %+v, want %+v", got, want)
	}
	b.draining.Store(true)
	b.Announce()
	eventually(t, "a knows that b drains", func() bool { return a.List()[0].Draining })
	if v := testutil.CollectAndCount(a.metrics, "fairlead_peers"); v != 1 {
		t.Errorf("%d metrics fairlead_peers", v)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "b has left", a.sees("c"))
	c.conn.Close() // without a word
	eventually(t, "c is given up", a.sees(""))
	if problems, err := testutil.GatherAndLint(a.metrics); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// News is told at once, not with the next of the regular hellos.
func TestPeersAnnounce(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	var nodes [2]*bus.Peers
	conns := [2]*nats.Conn{client(t, url), client(t, url)}
	var draining atomic.Bool
	start := time.Now()
	for i := range nodes {
		epoch, err := session.NewEpoch(time.Now(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		nodes[i], err = bus.NewPeers(bus.PeersConfig{
			Conn: conns[i], Interval: time.Hour, Logger: quiet(),
			Self: func() bus.Peer { return bus.Peer{Name: "n", Epoch: epoch, Version: "v1", Draining: draining.Load()} },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer nodes[i].Close()
		if err := nodes[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes { // the first is greeted by the second, and answers
		eventually(t, "both know one another", func() bool { return len(n.List()) == 1 })
	}
	draining.Store(true)
	for range 1000 {
		nodes[0].Announce()
	}
	eventually(t, "the news is there", func() bool { return nodes[1].List()[0].Draining })
	if took := time.Since(start); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	conns[1].Close() // without a word, and it is not missed for hours
	eventually(t, "the server says that nobody is there", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, missing, err := nodes[0].Ask(ctx, "op", nil)
		return err == nil && len(missing) == 1 && ctx.Err() == nil
	})
}

// While NATS is away nobody is forgotten, nobody is waited for, and nothing has to be done when it is back.
func TestPeersOutage(t *testing.T) {
	server := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"})
	url := server.URL()
	a := startPeers(t, url, "a", nil)
	b := startPeers(t, url, "b", map[string]bus.Answerer{"op": say("b")})
	eventually(t, "a sees b", a.sees("b"))
	stop(t, server)
	eventually(t, "a notices", func() bool { return !a.conn.IsConnected() })
	if _, missing, err := a.Ask(t.Context(), "op", nil); !errors.Is(err, bus.ErrAway) || len(missing) != 1 {
		t.Errorf("Ask = %v, %v; want b and ErrAway", missing, err)
	}
	for away := time.Now(); time.Since(away) < 8*helloInterval; {
		if a.names() != "b" {
			t.Fatal("b is forgotten, though nobody can be heard")
		}
	}
	startServer(t, bus.EmbeddedConfig{Listen: strings.TrimPrefix(url, "nats://")})
	eventually(t, "b answers again", func() bool {
		replies, _, err := a.Ask(t.Context(), "op", []byte("again"))
		return err == nil && len(replies) == 1 && string(replies[0].Payload) == "b again"
	})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "b has left", a.sees(""))
}

// Strangers who can publish to the nodes' subjects make no node say anything to others, and are counted.
func TestPeersAndStrangers(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	var asked atomic.Int32
	a := startPeers(t, url, "a", map[string]bus.Answerer{"op": func(context.Context, []byte) ([]byte, error) {
		asked.Add(1)
		return nil, nil
	}})
	b := startPeers(t, url, "b", map[string]bus.Answerer{"op": say("b")})
	eventually(t, "the server has a's subscriptions, the last of which hears answers", func() bool {
		replies, _, err := a.Ask(t.Context(), "op", nil)
		return err == nil && len(replies) == 1
	})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "b has left", a.sees(""))
	nc := client(t, url)
	own := "fl.fairlead.n." + a.epoch.String()
	for _, m := range []nats.Msg{
		{Subject: "fl.fairlead.n.hello", Data: []byte("hello")},
		{Subject: own, Header: nats.Header{"Fairlead-Op": {"op"}}},
		{Subject: own, Header: nats.Header{"Fairlead-Op": {"op"}}, Reply: "fl.fairlead.g.app"},
		{Subject: own, Header: nats.Header{"Fairlead-Op": {"op"}}, Reply: "fl.fairlead.n.hello"},
		{Subject: own, Header: nats.Header{"Fairlead-Op": {"op"}}, Reply: "fl.fairlead.n.x.r.1.2"},
		{Subject: own + ".r.x.y"},
		{Subject: own + ".r.1.99"}, // an answer to nothing
	} {
		if err := nc.PublishMsg(&m); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are counted", func() bool {
		return testutil.GatherAndCompare(a.metrics, strings.NewReader(`
# HELP fairlead_peer_malformed_total Messages on the nodes' subjects that no node would send.
# TYPE fairlead_peer_malformed_total counter
fairlead_peer_malformed_total 6
`), "fairlead_peer_malformed_total") == nil
	})
	if n := asked.Load(); n != 0 || a.names() != "" {
		t.Errorf("%d strangers were answered, %q are peers", n, a.names())
	}
}

func TestPeersOfOtherClusters(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	other, err := bus.ParseCluster("other")
	if err != nil {
		t.Fatal(err)
	}
	a, b := startPeers(t, url, "a", nil), startPeers(t, url, "b", nil)
	p, err := bus.NewPeers(bus.PeersConfig{
		Conn: client(t, url), Cluster: other, Interval: helloInterval, Logger: quiet(),
		Self: func() bus.Peer { return bus.Peer{Name: "c", Epoch: a.epoch, Version: "v1"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("a second Start: %v", err)
	}
	eventually(t, "a and b see one another", func() bool { return a.names() == "b" && b.names() == "a" })
	if list := p.List(); len(list) > 0 {
		t.Errorf("the other cluster has %v", list)
	}
}

// Close ends what is under way, also twice and before Start.
func TestPeersClose(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	came := make(chan struct{})
	a := startPeers(t, url, "a", nil)
	b := startPeers(t, url, "b", map[string]bus.Answerer{"op": func(ctx context.Context, _ []byte) ([]byte, error) {
		close(came)
		<-ctx.Done()
		return nil, nil
	}})
	eventually(t, "a sees b", a.sees("b"))
	asked := make(chan error, 1)
	go func() {
		_, _, err := a.Ask(context.Background(), "op", nil)
		asked <- err
	}()
	<-came
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := <-asked; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Ask during Close = %v, want ErrClosed", err)
	}
	if _, _, err := a.Ask(t.Context(), "op", nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Ask after Close = %v, want ErrClosed", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestPeersConfig(t *testing.T) {
	nc := client(t, startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL())
	epoch, err := session.NewEpoch(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := func(p bus.Peer) func() bus.Peer { return func() bus.Peer { return p } }
	good := bus.Peer{Name: "n", Epoch: epoch, Version: "v1"}
	for name, c := range map[string]bus.PeersConfig{
		"nothing":             {},
		"no connection":       {Self: self(good)},
		"nobody":              {Conn: nc},
		"no epoch":            {Conn: nc, Self: self(bus.Peer{Name: "n", Version: "v1"})},
		"no name":             {Conn: nc, Self: self(bus.Peer{Epoch: epoch, Version: "v1"})},
		"a negative interval": {Conn: nc, Self: self(good), Interval: -1},
	} {
		if _, err := bus.NewPeers(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	p, err := bus.NewPeers(bus.PeersConfig{Conn: nc, Self: self(good)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Start(); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Start after Close = %v, want ErrClosed", err)
	}
}
