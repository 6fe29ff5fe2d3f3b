package actor

import (
	"context"
	"iter"

	"github.com/fairlead-ws/fairlead/session"
)

// Announce returns an opening for each session that is open, as a journal writes it behind a gap: with the identity, the
// route, the groups that the session is in by now, the time of its opening and the sequence of its last event. It asks the
// actors on their goroutines, a few hundred at a time, and waits for each run as long as Sessions does. Sessions whose
// Handler does not return in that time are left out. Not in a Handler.
func (s *System) Announce() iter.Seq[session.Record] {
	return func(yield func(session.Record) bool) {
		for left := s.candidates(Filter{}, 0); len(left) > 0; {
			run := left[:min(len(left), inspectRun)]
			left = left[len(run):]
			for _, r := range announced(run) {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// announced returns the openings of those of the actors whose sessions are open.
func announced(run []*Actor) []session.Record {
	ctx, cancel := context.WithTimeout(context.Background(), inspectTime)
	defer cancel()
	records := make([]session.Record, 0, len(run))
	ask(ctx, run, (*Actor).opened, func(_ int, r session.Record) {
		if r.Event != nil {
			records = append(records, r)
		}
	})
	return records
}

// opened returns the opening of the session as it is now; without an event if it is not open. Only the actor's goroutine.
func (a *Actor) opened() session.Record {
	if a.state.Phase != session.PhaseOpen {
		return session.Record{}
	}
	return session.Record{
		Time: a.state.Opened, Session: a.ID(), Seq: a.state.Seq,
		Event: session.Opened{Identity: a.state.Identity, Route: a.state.Route, Protocol: "raw", Groups: a.state.Groups},
	}
}
