package session

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// TestStateApply tells a session's life record by record: each case continues with the state of the one before it.
func TestStateApply(t *testing.T) {
	id := ID{testEpoch(t), 1}
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	who := &Identity{Subject: "42", Source: "jwt"}
	opened := Opened{Identity: who, Route: "/ws/{group}", Protocol: "raw", Groups: []Group{mustGroup(t, "a"), mustGroup(t, "b"), mustGroup(t, "a")}}
	record := func(seq uint64, e Event) Record { return Record{at, id, seq, e} }
	of := func(id ID, r Record) Record { r.Session = id; return r }

	var s State
	for _, tt := range []struct {
		name   string
		r      Record
		seq    uint64
		phase  Phase
		groups string
		code   uint16
	}{
		{"joined before the opening", record(1, Joined{mustGroup(t, "x")}), 0, PhaseNone, "", 0},
		{"closed before the opening", record(1, Closed{Code: 1000}), 0, PhaseNone, "", 0},
		{"a node's event", record(1, NodeStarted{Node: "n"}), 0, PhaseNone, "", 0},
		{"opened, one group twice", record(1, opened), 1, PhaseOpen, "a b", 0},
		{"announced, with nothing missing", record(1, Opened{Identity: Anonymous()}), 1, PhaseOpen, "a b", 0},
		{"joined", record(2, Joined{mustGroup(t, "c")}), 2, PhaseOpen, "a b c", 0},
		{"the same record again", record(2, Joined{mustGroup(t, "d")}), 2, PhaseOpen, "a b c", 0},
		{"an older record", record(1, Left{mustGroup(t, "a")}), 2, PhaseOpen, "a b c", 0},
		{"another session's", of(ID{id.Epoch, 2}, record(3, Left{mustGroup(t, "a")})), 2, PhaseOpen, "a b c", 0},
		{"another epoch's", of(ID{Epoch{1}, 1}, record(3, Closed{})), 2, PhaseOpen, "a b c", 0},
		{"joined a group it is in", record(3, Joined{mustGroup(t, "a")}), 3, PhaseOpen, "a b c", 0},
		{"left the middle one", record(4, Left{mustGroup(t, "b")}), 4, PhaseOpen, "a c", 0},
		{"left a group it is not in", record(5, Left{mustGroup(t, "b")}), 5, PhaseOpen, "a c", 0},
		{"a gap, an unknown kind", record(9, Unknown{"teleported", json.RawMessage("{}")}), 9, PhaseOpen, "a c", 0},
		{"a node's event in between", record(10, Refused{Status: 401}), 9, PhaseOpen, "a c", 0},
		{"a node that drains", record(10, NodeDraining{Connections: 1}), 9, PhaseOpen, "a c", 0},
		{"a node that is sealed", record(10, NodeSealed{Reason: "stopped"}), 9, PhaseOpen, "a c", 0},
		{"a gap of the journal", record(10, Gap{Lost: 1}), 9, PhaseOpen, "a c", 0},
		{"joined again", record(10, Joined{mustGroup(t, "b")}), 10, PhaseOpen, "a c b", 0},
		{"announced, behind a gap", record(20, Opened{Identity: Anonymous(), Groups: []Group{mustGroup(t, "x"), mustGroup(t, "x")}}), 20, PhaseOpen, "x", 0},
		{"what is older than the announcement", record(19, Joined{mustGroup(t, "y")}), 20, PhaseOpen, "x", 0},
		{"announced again", record(21, Opened{Identity: Anonymous(), Groups: []Group{mustGroup(t, "a"), mustGroup(t, "c"), mustGroup(t, "b")}}), 21, PhaseOpen, "a c b", 0},
		{"left the first one", record(31, Left{mustGroup(t, "a")}), 31, PhaseOpen, "c b", 0},
		{"closed", record(32, Closed{Code: 4401}), 32, PhaseClosed, "", 4401},
		{"joined after the close", record(33, Joined{mustGroup(t, "a")}), 32, PhaseClosed, "", 4401},
		{"closed twice", record(33, Closed{Code: 1000}), 32, PhaseClosed, "", 4401},
		{"opened after the close", record(33, opened), 32, PhaseClosed, "", 4401},
	} {
		s = s.Apply(tt.r)
		if s.Seq != tt.seq || s.Phase != tt.phase || names(s.Groups) != tt.groups || s.Code != tt.code {
			t.Fatalf("%s: sequence %d, %v, groups %q, code %d; want %d, %v, %q, %d",
				tt.name, s.Seq, s.Phase, names(s.Groups), s.Code, tt.seq, tt.phase, tt.groups, tt.code)
		}
		if s.Phase == PhaseNone {
			if !reflect.DeepEqual(s, State{}) {
				t.Fatalf("%s: %+v, want the zero State", tt.name, s)
			}
		} else if s.ID != id || s.Identity != who || s.Route != opened.Route || s.Opened != at {
			t.Fatalf("%s: %+v, want what the opening says", tt.name, s)
		}
	}
}

// A credential that was verified again ends when it says now, and nothing else of the identity changes; nor does the
// identity that others share.
func TestStateRefreshed(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	who := &Identity{Subject: "42", Source: "jwt", Name: "zoë", Expires: at}
	s := State{}.Apply(Record{Seq: 1, Event: Opened{Identity: who}})
	for i, tt := range []struct {
		name    string
		e       Event
		expires time.Time
	}{
		{"later", Refreshed{Expires: at.Add(time.Hour)}, at.Add(time.Hour)},
		{"in another zone", Refreshed{Expires: at.Add(time.Hour).In(time.FixedZone("", 5400))}, at.Add(time.Hour)},
		{"sooner", Refreshed{Expires: at.Add(-time.Hour)}, at.Add(-time.Hour)},
		{"never", Refreshed{}, time.Time{}},
		{"announced, behind a gap", Opened{Identity: &Identity{Subject: "7", Expires: at}}, at},
	} {
		s = s.Apply(Record{Seq: uint64(2 + i), Event: tt.e})
		if !s.Identity.Expires.Equal(tt.expires) || s.Identity.Subject != "42" || s.Identity.Name != "zoë" {
			t.Errorf("%s: the identity is %+v", tt.name, s.Identity)
		}
	}
	if !who.Expires.Equal(at) {
		t.Error("the identity of the opening was changed")
	}
}

func TestStateIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(State{}); size > 112 { // a size class; each idle connection holds one State
		t.Errorf("a State has %d bytes, want at most 112", size)
	}
	g := mustGroup(t, "a")
	s := State{}.Apply(Record{Seq: 1, Event: Opened{Identity: Anonymous(), Groups: []Group{g}}})
	if s = s.Apply(Record{Seq: 2, Event: Left{g}}); s.Groups != nil {
		t.Errorf("Groups = %#v after the last was left, want nil", s.Groups)
	}
	opened := Record{Seq: 1, Event: Opened{Identity: Anonymous(), Groups: []Group{g}}}
	if n := testing.AllocsPerRun(100, func() { State{}.Apply(opened) }); n != 0 {
		t.Errorf("applying an opening makes %v allocations, want 0", n)
	}
}

func TestPhaseString(t *testing.T) {
	for phase, want := range map[Phase]string{PhaseNone: "none", PhaseOpen: "open", PhaseClosed: "closed", 9: "none"} {
		if got := phase.String(); got != want {
			t.Errorf("Phase(%d) = %q, want %q", phase, got, want)
		}
	}
}

func names(groups []Group) string {
	var s []string
	for _, g := range groups {
		s = append(s, g.String())
	}
	return strings.Join(s, " ")
}

// drawRecord makes records of few sessions, sequences and groups, so that they meet.
func drawRecord(t *rapid.T) Record {
	groups := rapid.SampledFrom([]Group{{"a"}, {"b"}, {"c"}, {"d"}})
	var e Event
	switch rapid.IntRange(0, 10).Draw(t, "kind") {
	case 10:
		e = Refreshed{Expires: time.Unix(rapid.Int64Range(0, 3).Draw(t, "expires"), 0).UTC()}
	case 0:
		e = Closed{Code: uint16(rapid.IntRange(1000, 1015).Draw(t, "code"))}
	case 1:
		e = Unknown{Name: "teleported", Data: json.RawMessage("{}")}
	case 2:
		e = Refused{Status: 401, Count: 1}
	case 3, 4:
		e = Opened{Identity: Anonymous(), Groups: rapid.SliceOfN(groups, 0, 5).Draw(t, "groups")}
	case 5, 6:
		e = Left{groups.Draw(t, "group")}
	default:
		e = Joined{groups.Draw(t, "group")}
	}
	return Record{
		Time:    time.Unix(rapid.Int64Range(0, 9).Draw(t, "time"), 0).UTC(),
		Session: ID{Number: rapid.Uint64Range(1, 2).Draw(t, "session")},
		Seq:     rapid.Uint64Range(1, 12).Draw(t, "seq"),
		Event:   e,
	}
}

func TestApplyProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(drawRecord), 0, 30).Draw(t, "records")
		whole := Fold(slices.Values(records))

		// A fold can stop anywhere and go on later.
		cut := rapid.IntRange(0, len(records)).Draw(t, "cut")
		s := Fold(slices.Values(records[:cut]))
		for _, r := range records[cut:] {
			s = s.Apply(r)
		}
		if !reflect.DeepEqual(s, whole) {
			t.Fatalf("the fold cut at %d is %+v, the whole one %+v", cut, s, whole)
		}

		s = State{}
		for _, r := range records {
			kept := slices.Clone(s.Groups[:cap(s.Groups)])
			before := s
			once, again := s.Apply(r), s.Apply(r)
			switch {
			case !reflect.DeepEqual(once, again):
				t.Fatalf("Apply(%+v) is %+v and then %+v: it is not pure", r, once, again)
			case !reflect.DeepEqual(once.Apply(r), once):
				t.Fatalf("applying %+v twice to %+v differs from once", r, s)
			case !reflect.DeepEqual(s, before) || !slices.Equal(s.Groups[:cap(s.Groups)], kept):
				t.Fatalf("Apply(%+v) changed the groups of the state that it was given: %v, were %v", r, s.Groups[:cap(s.Groups)], kept)
			case once.Seq < s.Seq || once.Phase < s.Phase:
				t.Fatalf("Apply(%+v) goes back from %+v to %+v", r, s, once)
			}
			for i, g := range once.Groups {
				if slices.Contains(once.Groups[:i], g) {
					t.Fatalf("after %+v the groups are %v: a session is a member once", r, once.Groups)
				}
			}
			// Two futures of one state do not write into each other.
			left, right := once.Apply(Record{Session: once.ID, Seq: 90, Event: Joined{Group{"x"}}}), once.Apply(Record{Session: once.ID, Seq: 90, Event: Joined{Group{"y"}}})
			if left.Member(Group{"y"}) || right.Member(Group{"x"}) || left.Phase == PhaseOpen && !left.Member(Group{"x"}) {
				t.Fatalf("joining x gives %v, joining y gives %v", left.Groups, right.Groups)
			}
			s = once
		}
	})
}
