package main

import (
	"fmt"
	"net"
	"os"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/api"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/metrics"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// The proofs that the parts are what the API acts on.
var (
	_ api.Publisher = (*bus.NATS)(nil)
	_ api.Groups    = (*bus.NATS)(nil)
	_ api.Sessions  = (*actor.System)(nil)
	_ api.Cluster   = (*bus.Peers)(nil)
	_ api.Journal   = (*journal.Memory)(nil)
	_ api.Tickets   = (*authn.Tickets)(nil)
)

// natsConfig says where NATS is and who the node is there.
func (n *node) natsConfig() bus.NATSConfig {
	c := n.config.NATS
	return bus.NATSConfig{
		URL: c.URL, Embedded: n.embedded, Cluster: n.parts.cluster, Name: "fairlead " + n.name,
		Creds: c.Creds, User: c.User, Password: c.Password, TLSCA: c.TLSCA, TLSCert: c.TLSCert, TLSKey: c.TLSKey,
		MaxPayload: n.config.Limits.MessageBytes, Logger: n.logger, Registerer: n.registry,
	}
}

// dialControl connects to NATS once more, for what must not wait behind messages.
func (n *node) dialControl() (err error) {
	if n.control, err = bus.Dial(n.natsConfig()); err != nil {
		return n.config.At("nats", err)
	}
	n.closers = append(n.closers, func() error { n.control.Close(); return nil })
	return nil
}

// self is what other nodes and operators know of this one.
func (n *node) self() bus.Peer {
	return bus.Peer{
		Name: n.name, Epoch: n.epoch, Version: metrics.ReadBuild().Version,
		Connections: n.actors.Len(), AcceptRate: n.settings().Limits.AcceptRate, Draining: n.draining.Load(),
	}
}

// startAPI makes the internal port's answers, and what other nodes may ask.
func (n *node) startAPI() (err error) {
	n.peers, err = bus.NewPeers(bus.PeersConfig{
		Conn: n.control, Cluster: n.parts.cluster, Self: n.self, Logger: n.logger, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, n.peers.Close)
	loopback := isLoopback(n.internal.Addr())
	if !loopback && len(n.parts.apiKeys) == 0 {
		n.logger.Warn("the API answers nobody: other machines can reach listen.internal, and api.keys_file is not set; health and metrics are open",
			"internal", n.internal.Addr().String())
	}
	n.api, err = api.New(api.Config{
		Metrics: metrics.Handler(n.registry),
		Ready:   n.checks(),
		Backend: &api.Backend{
			Self: n.self, Publisher: n.bus, Sessions: n.actors, Groups: n.bus, Journal: n.journal, Cluster: n.peers, Tickets: ticketIssuer{n},
		},
		Keys: n.parts.apiKeys, Loopback: loopback, Tracer: n.tracer, Logger: n.logger, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	for op, f := range n.api.Answerers() {
		n.peers.Answer(op, f)
	}
	return n.peers.Start()
}

// isLoopback reports whether only this machine reaches a listener.
func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// readAPIKeys reads api.keys_file; "" has no keys.
func readAPIKeys(file string) ([]api.Key, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	keys, err := api.ParseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}
