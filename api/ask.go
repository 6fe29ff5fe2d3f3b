package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// What nodes ask each other.
const (
	opSessions   = "api_sessions"
	opSession    = "api_session"
	opEvents     = "api_events"
	opDisconnect = "api_disconnect"
	opGroups     = "api_groups"
	opGroup      = "api_group"
)

// askTimeout bounds a question to other nodes. It is longer than what a node waits for an actor whose handler is stuck.
const askTimeout = 4 * time.Second

// Answerers returns what this node answers when others ask it, by the name of the question: they go to [bus.Peers.Answer].
// Without a Backend there are none.
func (a *API) Answerers() map[string]bus.Answerer {
	if a.backend == nil {
		return nil
	}
	b := a.backend
	return map[string]bus.Answerer{
		opSessions:   answers(infallible(b.localSessions)),
		opSession:    answers(b.localSession),
		opEvents:     answers(b.localEvents),
		opDisconnect: answers(b.localDisconnect),
		opGroups:     answers(infallible(b.localGroups)),
		opGroup:      answers(infallible(b.localGroup)),
	}
}

func infallible[Q, A any](local func(context.Context, Q) A) func(context.Context, Q) (A, error) {
	return func(ctx context.Context, q Q) (A, error) { return local(ctx, q), nil }
}

// answers reads a question and writes the answer as JSON.
func answers[Q, A any](local func(context.Context, Q) (A, error)) bus.Answerer {
	return func(ctx context.Context, payload []byte) ([]byte, error) {
		var q Q
		if err := json.Unmarshal(payload, &q); err != nil {
			return nil, errors.New("the question is not understood") // its text stays inside
		}
		answer, err := local(ctx, q)
		if err != nil {
			return nil, err
		}
		return json.Marshal(answer)
	}
}

// askAll asks this node and all others at the same time, and returns what came, and who is missing.
func askAll[Q, A any](ctx context.Context, a *API, op string, q Q, local func(context.Context, Q) (A, error)) ([]A, []absent, error) {
	payload, err := json.Marshal(q)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var own A
	var failed error
	var both sync.WaitGroup
	both.Go(func() { own, failed = local(ctx, q) })
	replies, silent, err := a.backend.Cluster.Ask(ctx, op, payload)
	both.Wait()
	if failed != nil {
		return nil, nil, failed
	}
	all, missing := []A{own}, []absent{}
	for _, r := range replies {
		var answer A
		why := r.Err
		if why == nil {
			why = json.Unmarshal(r.Payload, &answer)
		}
		if why != nil {
			missing = append(missing, absent{r.Peer.Name, r.Peer.Epoch, whyMissing(why)})
			continue
		}
		all = append(all, answer)
	}
	if err != nil && len(silent) == 0 { // nobody could be asked, and it is not known who there is
		missing = append(missing, absent{Name: nobodyKnown, Why: whyMissing(err)})
	}
	if err == nil {
		err = bus.ErrNoPeer
	}
	for _, p := range silent {
		missing = append(missing, absent{p.Name, p.Epoch, whyMissing(err)})
	}
	return all, missing, nil
}

// nobodyKnown stands, with an epoch of zeros, for the others where this node does not know of any, and cannot ask.
const nobodyKnown = "(others, if any)"

// whyMissing says for people why a node's part is not in an answer.
func whyMissing(err error) string {
	switch {
	case errors.Is(err, bus.ErrNoPeer):
		return "it does not answer in time"
	case errors.Is(err, bus.ErrAway):
		return "NATS is away, so it cannot be asked"
	case errors.Is(err, bus.ErrClosed):
		return "the node that would ask is stopping: ask another one"
	case errors.Is(err, bus.ErrUnknownOp):
		return "it runs another version, which does not know the question"
	case errors.Is(err, bus.ErrTooLarge):
		return "its answer is larger than what NATS takes (max_payload)"
	case errors.Is(err, bus.ErrAnswer):
		return "it could not find the answer; its log may say more"
	default:
		return "its answer is not understood"
	}
}

// askOwner asks the node of that epoch. If no such node is there, or if it does not answer and this one knows something,
// this one answers, from what it has of others.
func askOwner[Q any, A answer](
	ctx context.Context, a *API, op string, epoch session.Epoch, q Q, local func(context.Context, Q) (A, error),
) (answer A, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if epoch == a.backend.Self().Epoch {
		return ownAnswer(ctx, q, local)
	}
	if !a.backend.there(epoch) {
		answer, err := ownAnswer(ctx, q, local)
		if err == nil && !answer.known() && !a.backend.Publisher.Connected() {
			err = unavailable("NATS is away, so it is not known whether another node has this session")
		}
		return answer, err
	}
	payload, err := json.Marshal(q)
	if err != nil {
		return answer, err
	}
	asked, stop := context.WithTimeout(ctx, askTimeout*3/4) // the rest is for this node's journal
	defer stop()
	b, err := a.backend.Cluster.AskNode(asked, epoch, op, payload)
	if err == nil {
		err = json.Unmarshal(b, &answer)
	}
	if err == nil {
		return answer, nil
	}
	if own, failed := ownAnswer(ctx, q, local); failed == nil && own.known() {
		return own, nil
	}
	return answer, unavailable("the node of this session cannot say: " + whyMissing(err))
}

// answer is what one node says of one session.
type answer interface{ known() bool }

// there reports whether a node of that epoch is one of the others.
func (b *Backend) there(epoch session.Epoch) bool {
	return slices.ContainsFunc(b.Cluster.List(), func(p bus.Peer) bool { return p.Epoch == epoch })
}

func ownAnswer[Q, A any](ctx context.Context, q Q, local func(context.Context, Q) (A, error)) (A, error) {
	answer, err := local(ctx, q)
	var p *problem
	switch {
	case err == nil, errors.As(err, &p):
	case errors.Is(err, context.DeadlineExceeded):
		err = unavailable("the journal does not answer in time")
	default:
		err = unavailable(fmt.Sprint(err))
	}
	return answer, err
}
