package journal_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// patience is how long a test waits for what must come from a server.
const patience = 30 * time.Second

// eventually asks until ok, and fails the test if that takes too long.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// freePort returns a port on which nobody listens.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// options are those of a server with JetStream.
func options(t testing.TB, port int) *server.Options {
	return &server.Options{
		ServerName: "nats", Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 256 << 20,
		DisableJetStreamBanner: true,
	}
}

// runServer starts a server that ends with the test, or with the function that it returns.
func runServer(t testing.TB, o *server.Options) (*server.Server, func()) {
	t.Helper()
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	end := sync.OnceFunc(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	t.Cleanup(end)
	return s, end
}

// runCluster starts three servers that are one JetStream.
func runCluster(t testing.TB) []*server.Server {
	t.Helper()
	var ports []int
	for range 3 {
		ports = append(ports, freePort(t))
	}
	var urls []string
	for _, p := range ports {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	var servers []*server.Server
	for i, p := range ports {
		o := options(t, -1)
		o.ServerName = fmt.Sprintf("nats-%d", i)
		o.Cluster = server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: p}
		o.Routes = server.RoutesFromStr(strings.Join(urls, ","))
		s, _ := runServer(t, o)
		servers = append(servers, s)
	}
	eventually(t, "the cluster has a leader", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == 3
			}
		}
		return false
	})
	return servers
}

// connect returns a connection as a node has one: publishing fails at once while it is disconnected.
func connect(t testing.TB, url string, o ...nats.Option) *nats.Conn {
	t.Helper()
	o = append([]nats.Option{
		nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(20 * time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1), nats.NoEcho(),
	}, o...)
	nc, err := nats.Connect(url, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// node is a journal with what a test looks at.
type node struct {
	*journal.JetStream
	registry *prometheus.Registry
	epoch    session.Epoch
}

// start opens a journal that is closed with the test.
func start(t testing.TB, c journal.JetStreamConfig) node {
	t.Helper()
	n := node{registry: prometheus.NewRegistry()}
	if c.Epoch.IsZero() {
		c.Epoch = session.Epoch{1, 2, 3}
	}
	if c.Cluster == "" {
		c.Cluster = "test"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Registerer, n.epoch = n.registry, c.Epoch
	var err error
	if n.JetStream, err = journal.NewJetStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return n
}

// value returns a metric: the one of its children whose only label has that value, or the only one.
func (n node) value(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 0 && label == "" || len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == label {
				return number(m)
			}
		}
	}
	t.Fatalf("no metric %s{%s}", name, label)
	return 0
}

func number(m *dto.Metric) float64 {
	switch {
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetHistogram() != nil:
		return float64(m.GetHistogram().GetSampleCount())
	default:
		return m.GetGauge().GetValue()
	}
}

func (n node) id(number uint64) session.ID { return session.ID{Epoch: n.epoch, Number: number} }

func (n node) opened(number uint64) session.Record {
	return session.Record{
		Time: time.Unix(1_800_000_000, 0).UTC(), Session: n.id(number), Seq: 1,
		Event: session.Opened{Identity: session.Anonymous(), Route: "/ws", Protocol: "raw", Groups: []session.Group{group}},
	}
}

func (n node) closed(number, seq uint64) session.Record {
	return session.Record{Time: time.Unix(1_800_000_001, 0).UTC(), Session: n.id(number), Seq: seq, Event: session.Closed{Code: 1000}}
}

func (n node) append(t testing.TB, records ...session.Record) {
	t.Helper()
	if err := n.Append(t.Context(), records...); err != nil {
		t.Fatalf("Append: %v", err)
	}
}

// all reads the node's epoch.
func (n node) all(t testing.TB) []session.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var records []session.Record
	for r, err := range n.Epoch(ctx, n.epoch) {
		if err != nil {
			t.Fatalf("after %d records: %v", len(records), err)
		}
		records = append(records, r)
	}
	return records
}

// stillOpen returns the sessions that are open when the records are folded.
func stillOpen(records []session.Record) map[uint64]session.State {
	states := map[uint64]session.State{}
	for _, r := range records {
		if _, ok := r.Event.(session.Gap); ok {
			clear(states) // those that are still open are announced
		}
		states[r.Session.Number] = states[r.Session.Number].Apply(r)
	}
	for number, s := range states {
		if s.Phase != session.PhaseOpen {
			delete(states, number)
		}
	}
	return states
}

// events returns the records of one kind of event.
func events[E session.Event](records []session.Record) []E {
	var found []E
	for _, r := range records {
		if e, ok := r.Event.(E); ok {
			found = append(found, e)
		}
	}
	return found
}
