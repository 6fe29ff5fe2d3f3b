package api

import (
	"context"
	"iter"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// Backend is what the paths under /api/v1 show and act on. All but Cluster and Tickets is required.
type Backend struct {
	// Self returns what there is to know of this node. Its Epoch never changes.
	Self func() bus.Peer
	// Publisher takes what is published.
	Publisher Publisher
	// Sessions are the connections of this node.
	Sessions Sessions
	// Groups are the groups with members on this node.
	Groups Groups
	// Journal has the events of sessions: those of this node, and of others where it is shared.
	Journal Journal
	// Cluster asks the other nodes. Nil: there is only this one.
	Cluster Cluster
	// Tickets makes one-time tickets. Nil: there are none.
	Tickets Tickets
}

// Tickets makes one-time tickets, as [authn.Tickets] does.
type Tickets interface {
	Issue(ctx context.Context, p authn.TicketParams) (authn.IssuedTicket, error)
}

// Publisher takes messages to the members of their group, as [bus.NATS] does.
type Publisher interface {
	Publish(m bus.Message, w bus.Waiter) error
	Connected() bool
}

// Sessions are the connections of one node, as in [actor.System].
type Sessions interface {
	Sessions(ctx context.Context, f actor.Filter, after uint64, limit int) (found []actor.Info, silent int)
	Session(ctx context.Context, number uint64) (actor.Info, bool)
	Disconnect(ctx context.Context, f actor.Filter, code actor.CloseCode, reason string) (closed, silent int)
}

// Groups are the groups with members on one node, as in [bus.NATS].
type Groups interface {
	Groups(prefix, after string, limit int) []bus.GroupCount
	Members(g session.Group) int
}

// Journal reads the events of a session, oldest first. An error comes last and alone.
type Journal interface {
	Session(ctx context.Context, id session.ID) iter.Seq2[session.Record, error]
}

// Cluster asks the other nodes, as [bus.Peers] does.
type Cluster interface {
	List() []bus.Peer
	Ask(ctx context.Context, op string, payload []byte) ([]bus.Reply, []bus.Peer, error)
	AskNode(ctx context.Context, node session.Epoch, op string, payload []byte) ([]byte, error)
}

// alone is the Cluster of a node without others.
type alone struct{}

func (alone) List() []bus.Peer { return nil }

func (alone) Ask(context.Context, string, []byte) ([]bus.Reply, []bus.Peer, error) {
	return nil, nil, nil
}

func (alone) AskNode(context.Context, session.Epoch, string, []byte) ([]byte, error) {
	return nil, bus.ErrNoPeer
}

// node is a node, as the API shows it.
type node struct {
	Name        string        `json:"name"`
	Epoch       session.Epoch `json:"epoch"`
	Version     string        `json:"version"`
	Started     time.Time     `json:"started"` // to the second
	Connections int           `json:"connections"`
	Draining    bool          `json:"draining"`
	Self        bool          `json:"self"`          // the node that answers
	Seen        time.Time     `json:"seen,omitzero"` // when that node last heard of it
}

func nodeOf(p bus.Peer, self bool) node {
	return node{
		Name: p.Name, Epoch: p.Epoch, Version: p.Version, Started: p.Epoch.Start(),
		Connections: p.Connections, Draining: p.Draining, Self: self, Seen: p.Seen.UTC(),
	}
}

// absent is a node that was asked and has not answered: what it would have said is not in the answer.
type absent struct {
	Name  string        `json:"name"`
	Epoch session.Epoch `json:"epoch"`
	Why   string        `json:"why"`
}
