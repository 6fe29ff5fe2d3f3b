package api

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// cutOff is the cluster of a node that was started while NATS was away, or that ends: it knows nobody, and can ask nobody.
type cutOff struct {
	alone
	err error
}

func (c cutOff) Ask(context.Context, string, []byte) ([]bus.Reply, []bus.Peer, error) {
	return nil, nil, c.err
}

// A node that cannot ask the others, and does not know who they are, does not say that its answer is all.
func TestAskingNobodyIsNotAll(t *testing.T) {
	for err, says := range map[error]string{bus.ErrAway: "NATS is away", bus.ErrClosed: "stopping"} {
		n := newTestNode(t, "n", 1, cutOff{err: err}, nil)
		n.away = true
		m := n.connect("1", "/ws", actor.Ignore, "app_1")
		for _, path := range []string{"/api/v1/sessions", "/api/v1/groups", "/api/v1/groups/app_1"} {
			var got struct{ Missing []absent }
			n.ask("GET", path, "").as(200, &got)
			if len(got.Missing) != 1 || !got.Missing[0].Epoch.IsZero() || !strings.Contains(got.Missing[0].Why, says) {
				t.Errorf("%s after %v: %+v", path, err, got.Missing)
			}
		}
		var got disconnectResult
		n.ask("POST", "/api/v1/users/1/disconnect", "").as(200, &got)
		if got.Disconnected != 1 || len(got.Missing) != 1 || !strings.Contains(got.Missing[0].Why, says) {
			t.Errorf("after %v: %+v", err, got)
		}
		m.wantClose(4403, disconnectReason)
		// Whether another node has a session is not known either.
		elsewhere := session.ID{Epoch: session.Epoch{9, 9}, Number: 1}.String()
		n.ask("POST", "/api/v1/sessions/"+elsewhere+"/disconnect", "").refused(503, "unavailable", "NATS is away")
		n.ask("GET", "/api/v1/sessions/"+elsewhere, "").refused(503, "unavailable", "NATS is away")
	}
}

// hung is a journal whose log takes questions and does not answer.
type hung struct{}

func (hung) Session(context.Context, session.ID) iter.Seq2[session.Record, error] {
	return func(yield func(session.Record, error) bool) { yield(session.Record{}, context.DeadlineExceeded) }
}

// A journal that hangs is named, and not a context that nobody has heard of.
func TestJournalHangs(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, func(c *Config) { c.Backend.Journal = hung{} })
	path := "/api/v1/sessions/" + session.ID{Epoch: n.epoch, Number: 1}.String()
	n.ask("GET", path+"/events", "").refused(503, "unavailable", "the journal does not answer in time")
	n.ask("GET", path, "").refused(503, "unavailable", "the journal does not answer in time")
}
