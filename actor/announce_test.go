package actor

import (
	"slices"
	"testing"

	"github.com/fairlead-ws/fairlead/session"
)

// What is announced is what the fold of the journal has: folded in its place, it is the same session.
func TestAnnounce(t *testing.T) {
	n := newNode(t, Config{})
	app, news := mustGroup(t, "app_1"), mustGroup(t, "news")
	alice := &session.Identity{Subject: "1", Name: "alice", Source: "test"}
	first := n.connect(Birth{Identity: alice, Route: "/ws/{group}", Handler: Echo, Groups: []session.Group{app}})
	for range inspectRun {
		n.connect(Birth{})
	}
	n.connect(Birth{Route: "/news", Groups: []session.Group{news}})
	gone := n.connect(Birth{})
	gone.Close()
	gone.ended()
	first.on(func(a *Actor) {
		if err := a.Join(news, nil); err != nil {
			t.Error(err)
		}
		a.Leave(app)
	})
	records := slices.Collect(n.Announce())
	if len(records) != inspectRun+2 {
		t.Fatalf("%d sessions are announced, want %d", len(records), inspectRun+2)
	}
	slices.SortFunc(records, func(a, b session.Record) int { return int(a.Session.Number) - int(b.Session.Number) })
	s := session.State{}.Apply(records[0])
	if err := records[0].Check(); err != nil || s.Seq != 3 || s.Identity != alice || s.Route != "/ws/{group}" ||
		!slices.Equal(s.Groups, []session.Group{news}) || s.Opened.IsZero() {
		t.Errorf("the first session is announced as %+v (%v)", records[0], err)
	}
	if s := (session.State{}).Apply(records[len(records)-1]); s.Seq != 1 || s.Route != "/news" || !s.Member(news) {
		t.Errorf("the last session is announced as %+v", records[len(records)-1])
	}

	taken := 0
	for range n.Announce() {
		if taken++; taken == 3 {
			break
		}
	}
	if taken != 3 {
		t.Errorf("a range that stops has %d turns", taken)
	}
}
