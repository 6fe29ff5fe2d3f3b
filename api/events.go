package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/fairlead-ws/fairlead/session"
)

type eventsQuestion struct {
	ID    session.ID `json:"id"`
	After uint64     `json:"after"` // the sequence of the last event that is known
	Limit int        `json:"limit"`
}

type eventsAnswer struct {
	// Events are records, in the journal's form.
	Events []json.RawMessage `json:"events"`
	First  uint64            `json:"first"` // the sequence of the oldest event that is kept, 0: none is
	Last   uint64            `json:"last"`  // that of the last of Events
	More   bool              `json:"more"`
}

func (a eventsAnswer) known() bool { return a.First > 0 }

// eventList is the answer to the client.
type eventList struct {
	Session session.ID        `json:"session"`
	Events  []json.RawMessage `json:"events"`
	Next    string            `json:"next,omitempty"`
	// Truncated: the journal no longer has the first events.
	Truncated bool `json:"truncated"`
}

// localEvents answers the question from this node's journal.
func (b *Backend) localEvents(ctx context.Context, q eventsQuestion) (eventsAnswer, error) {
	limit := min(max(q.Limit, 1), maxLimit)
	answer := eventsAnswer{Events: []json.RawMessage{}, Last: q.After}
	size := 0
	for record, err := range b.Journal.Session(ctx, q.ID) {
		if err != nil {
			return eventsAnswer{}, fmt.Errorf("the journal: %w", err)
		}
		if answer.First == 0 {
			answer.First = record.Seq
		}
		if record.Seq <= q.After {
			continue
		}
		text, err := json.Marshal(record)
		if err != nil {
			return eventsAnswer{}, err
		}
		if n := len(answer.Events); n == limit || n > 0 && size+len(text) > maxPageBytes {
			answer.More = true
			break
		}
		size += len(text)
		answer.Events, answer.Last = append(answer.Events, text), record.Seq
	}
	return answer, nil
}

// getEvents answers GET /api/v1/sessions/{id}/events.
func (a *API) getEvents(_ http.ResponseWriter, r *http.Request) (any, error) {
	params, err := parameters(r, "limit", "after")
	if err != nil {
		return nil, err
	}
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	q := eventsQuestion{ID: id}
	if after := params.Get("after"); after != "" {
		if q.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return nil, badRequest("parameter", "after is no sequence; it is the next of the answer before")
		}
	}
	if q.Limit, err = limitOf(params); err != nil {
		return nil, err
	}
	answer, err := askOwner(r.Context(), a, opEvents, id.Epoch, q, a.backend.localEvents)
	switch {
	case err != nil:
		return nil, err
	case answer.First == 0:
		return nil, notFound("there are no events of this session: it never was, or they are no longer kept")
	}
	list := eventList{Session: id, Events: answer.Events, Truncated: answer.First > 1}
	if answer.More {
		list.Next = strconv.FormatUint(answer.Last, 10)
	}
	return list, nil
}
