package session

import (
	"iter"
	"slices"
	"time"
)

// Phase is where a session is in its life.
type Phase uint8

// The phases of a session.
const (
	PhaseNone   Phase = iota // no event yet
	PhaseOpen                // opened, not closed
	PhaseClosed              // closed; no event changes it any more
)

// String returns "none", "open" or "closed".
func (p Phase) String() string {
	switch p {
	case PhaseOpen:
		return "open"
	case PhaseClosed:
		return "closed"
	default:
		return "none"
	}
}

// State is a session as the fold of its events. The zero State is the session before its first event.
// A State is a value; its Groups are shared between copies and never changed in place.
type State struct {
	ID       ID
	Seq      uint64 // of the last event applied
	Phase    Phase
	Code     uint16 // the close code, once closed
	Identity *Identity
	Route    string
	Opened   time.Time
	Groups   []Group // in the order of joining; empty once closed
}

// Apply returns the state after r. It is pure, and total: a record that cannot follow (of another session, already
// applied, before the opening or after the close, of a kind for nodes) leaves the state as it is. A second opening is the
// announcement behind a [Gap]: it says which groups the session is in by then, and when its credential ends.
func (s State) Apply(r Record) State {
	if s.Phase == PhaseNone {
		if e, ok := r.Event.(Opened); ok {
			return State{
				ID: r.Session, Seq: r.Seq, Phase: PhaseOpen,
				Identity: e.Identity, Route: e.Route, Opened: r.Time, Groups: distinct(e.Groups),
			}
		}
		return s
	}
	if s.Phase == PhaseClosed || r.Session != s.ID || r.Seq <= s.Seq {
		return s
	}
	switch e := r.Event.(type) {
	case Opened: // announced again, behind a gap
		s.Groups = distinct(e.Groups)
		if e.Identity != nil {
			s.Identity = s.Identity.until(e.Identity.Expires)
		}
	case Joined:
		if !s.Member(e.Group) {
			s.Groups = append(s.Groups[:len(s.Groups):len(s.Groups)], e.Group)
		}
	case Left:
		if i := slices.Index(s.Groups, e.Group); i >= 0 {
			s.Groups = slices.Concat(s.Groups[:i], s.Groups[i+1:]) // nil where none is left
		}
	case Refreshed:
		s.Identity = s.Identity.until(e.Expires)
	case Closed:
		s.Phase, s.Code, s.Groups = PhaseClosed, e.Code, nil
	case Unknown: // its place is taken, its meaning is not known here
	default:
		return s
	}
	s.Seq = r.Seq
	return s
}

// distinct returns groups without its repetitions: groups itself, at no cost, where there are none.
func distinct(groups []Group) []Group {
	for i, g := range groups {
		if slices.Contains(groups[:i], g) {
			d := slices.Clone(groups[:i])
			for _, g := range groups[i+1:] {
				if !slices.Contains(d, g) {
					d = append(d, g)
				}
			}
			return d
		}
	}
	return groups[:len(groups):len(groups)]
}

// Member reports whether the session is a member of g.
func (s State) Member(g Group) bool { return slices.Contains(s.Groups, g) }

// Fold returns the state after all records, in order, from the zero State.
func Fold(records iter.Seq[Record]) State {
	var s State
	for r := range records {
		s = s.Apply(r)
	}
	return s
}
