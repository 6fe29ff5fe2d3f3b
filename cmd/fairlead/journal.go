package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/api"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/gateway"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// The proofs that both journals are what the parts ask for.
var (
	_ actor.Journal   = (*journal.JetStream)(nil)
	_ gateway.Journal = (*journal.JetStream)(nil)
	_ api.Journal     = (*journal.JetStream)(nil)
	_ events          = (*journal.JetStream)(nil)
	_ events          = (*journal.Memory)(nil)
)

// events is a journal: in memory, or in JetStream.
type events interface {
	Append(ctx context.Context, records ...session.Record) error
	Session(ctx context.Context, id session.ID) iter.Seq2[session.Record, error]
	Epoch(ctx context.Context, epoch session.Epoch) iter.Seq2[session.Record, error]
}

// startJournal opens the journal, behind the bus. A log that is away is no error.
func (n *node) startJournal(ctx context.Context) error {
	c := n.config.Journal
	if c.Mode == "off" {
		m, err := journal.NewMemory(journal.MemoryConfig{Registerer: n.registry})
		if err != nil {
			return err
		}
		n.journal = m
		n.closers = append(n.closers, m.Close)
		return nil
	}
	nc := n.natsConfig()
	nc.Name += " journal"
	conn, err := bus.Dial(nc)
	if err != nil {
		return n.config.At("nats", err)
	}
	n.closers = append(n.closers, func() error { conn.Close(); return nil })
	jc := journal.JetStreamConfig{
		Conn: conn, Cluster: n.parts.cluster.String(), Epoch: n.epoch, Replicas: c.Replicas,
		Retention: c.Retention, BufferBytes: c.BufferBytes, Announce: n.announce,
		Logger: n.logger, Registerer: n.registry,
	}
	if c.Mode == "require" {
		jc.Mode = journal.Require
	}
	if n.embedded != nil {
		jc.Memory = n.config.NATS.StoreDir == ""
		jc.MaxBytes = n.embedded.StoreBytes() / 16 * 15 // the oldest events go before the server is full
	}
	if n.log, err = journal.NewJetStream(ctx, jc); err != nil {
		return err
	}
	n.journal = n.log
	n.closers = append(n.closers, n.endJournal)
	return nil
}

// announce returns the open sessions, for the journal.
func (n *node) announce() iter.Seq[session.Record] {
	if actors := n.announced.Load(); actors != nil {
		return actors.Announce()
	}
	return func(func(session.Record) bool) {}
}

// endJournal seals the epoch of a node that has begun, behind its last event, and closes the log.
func (n *node) endJournal() error {
	if n.begun {
		if err := n.bounded(func(ctx context.Context) error { return n.log.Seal(ctx, "the node stopped") }); err != nil {
			// The epoch ends unsealed: it is purged later, and no error of this node.
			n.logger.Warn("the journal's epoch is not sealed", "err", err)
		}
	}
	return n.log.Close()
}

// recorded reports whether the journal's log is there, without which nobody comes in where it is required.
func (n *node) recorded() error {
	err := n.log.Healthy()
	if err == nil {
		return nil
	}
	return fmt.Errorf("journal.mode is require: nobody comes in: %w", err)
}

// checks are what makes the node ready.
func (n *node) checks() []api.Check {
	checks := []api.Check{
		{Name: "accepting", OK: n.accepting},
		{Name: "bus", OK: n.connected, Grace: busGrace, Recover: busRecover},
	}
	if n.config.Journal.Mode == "require" {
		checks = append(checks, api.Check{Name: "journal", OK: n.recorded, Grace: busGrace, Recover: busRecover})
	}
	return checks
}

// explainEmbedded says which key an error of the embedded server is about.
func (n *node) explainEmbedded(err error) error {
	if errors.Is(err, bus.ErrStore) {
		return n.config.At("nats.store_dir", err)
	}
	return &listenError{n.config.NATS.Listen, "--nats-listen", "nats.listen", err}
}
