package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

var errDraining = errors.New("the node is about to stop: send new connections to others")

// registerDraining registers the metric that says that the node is about to stop.
func (n *node) registerDraining() error {
	return n.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fairlead_draining", Help: "1 from the signal to stop on, else 0.",
	}, func() float64 {
		if n.draining.Load() {
			return 1
		}
		return 0
	}))
}

// leave says everywhere that the node is about to stop, and returns when balancers have had drain.shutdown_delay to
// notice: until then it takes connections as before. It returns early when ended is closed, since then it takes none.
func (n *node) leave(ended <-chan struct{}) {
	n.draining.Store(true)
	n.peers.Announce()
	delay := n.settings().Drain.ShutdownDelay
	if delay == 0 {
		return
	}
	n.logger.Info("stopping: not ready any more, and still accepting for drain.shutdown_delay", "shutdown_delay", delay.String())
	wait := time.NewTimer(delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ended:
	}
}

// drain closes the connections as fast as the other nodes may be given them, over drain.window at least.
func (n *node) drain() error {
	c, count := n.settings().Drain, n.actors.Len()
	rate := func() float64 { return closeRate(n.peers.List(), c.CloseRate) }
	window := max(c.Window, time.Duration(float64(count)/rate()*float64(time.Second)))
	n.logger.Info("stopping: no new connections; closing the others", "connections", count,
		"window", window.Round(time.Millisecond).String(), "most_per_second", rate())
	// The journal numbers the events of nodes. One that it does not take is no reason to keep the connections.
	draining := session.Record{
		Time: time.Now(), Session: session.ID{Epoch: n.epoch}, Event: session.NodeDraining{Connections: count, Window: window},
	}
	if err := n.journal.Append(context.Background(), draining); err != nil {
		n.logger.Warn("the journal does not know of the drain", "error", err)
	}
	if err := n.actors.Drain(context.Background(), actor.DrainPlan{Window: c.Window, Rate: rate}); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

// closeRate returns how many closes per second the nodes that go on can be given together: most for each, and no more
// than a node accepts. Where this node knows of none, somebody takes the connections all the same: another process behind
// the same balancer, or the next life of this one.
func closeRate(peers []bus.Peer, most int) float64 {
	sum := 0
	for _, p := range peers {
		switch {
		case p.Draining:
		case p.AcceptRate > 0:
			sum += min(most, p.AcceptRate)
		default:
			sum += most
		}
	}
	if sum == 0 {
		sum = most
	}
	return float64(sum)
}
