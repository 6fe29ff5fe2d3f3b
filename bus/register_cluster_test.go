package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/fairlead-ws/fairlead/bus"
)

// runCluster starts three servers that are one JetStream.
func runCluster(t *testing.T) []*server.Server {
	t.Helper()
	var routes []string
	for range 3 {
		routes = append(routes, "nats://"+freeAddress(t))
	}
	var servers []*server.Server
	for i, route := range routes {
		host, port, ok := strings.Cut(strings.TrimPrefix(route, "nats://"), ":")
		if !ok {
			t.Fatal(route)
		}
		o := &server.Options{
			ServerName: fmt.Sprintf("nats-%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), JetStreamMaxMemory: 16 << 20, JetStreamMaxStore: 16 << 20, DisableJetStreamBanner: true,
			Cluster: server.ClusterOpts{Name: "cluster", Host: host}, Routes: server.RoutesFromStr(strings.Join(routes, ",")),
		}
		if _, err := fmt.Sscan(port, &o.Cluster.Port); err != nil {
			t.Fatal(err)
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		if !s.ReadyForConnections(patience) {
			t.Fatal("the server is not ready")
		}
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

// With three replicas there is one winner, on whichever server a node is; and what was used stays so when one of them dies,
// also the one that led.
func TestRegisterReplicated(t *testing.T) {
	t.Parallel()
	servers := runCluster(t)
	var nodes []register
	for _, s := range servers {
		nc, err := bus.Dial(bus.NATSConfig{URL: s.ClientURL(), Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		r, err := bus.NewRegister(bus.RegisterConfig{Conn: nc, Replicas: 3, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, r)
	}
	p := ""
	eventually(t, "the register is there", func() (ok bool) {
		var err error
		p, err = nodes[0].Place(t.Context())
		return err == nil
	})
	oneWinner(t, p, nodes...)
	wantSpend(t, nodes[0], p, "used", true)

	leader := -1
	for i, s := range servers {
		if s.JetStreamIsStreamLeader("$G", ticketStream) {
			leader = i
		}
	}
	if leader < 0 {
		t.Fatal("the stream has no leader")
	}
	servers[leader].Shutdown()
	servers[leader].WaitForShutdown()
	left := nodes[(leader+1)%3]
	eventually(t, "the others have a leader", func() bool {
		first, err := left.Spend(t.Context(), p, "used")
		if first || err != nil && !errors.Is(err, bus.ErrRegister) {
			t.Fatalf("a used one is %v, %v", first, err)
		}
		return err == nil
	})
	oneWinner(t, p, left, nodes[(leader+2)%3])
}
