package actor

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

func numbers(infos []Info) (list []uint64) {
	for _, i := range infos {
		list = append(list, i.ID.Number)
	}
	return list
}

func TestSessions(t *testing.T) {
	n := newNode(t, Config{})
	app, news := mustGroup(t, "app_1"), mustGroup(t, "news")
	alice, bob := &session.Identity{Subject: "1", Name: "alice", Source: "test"}, &session.Identity{Subject: "2", Source: "test"}
	c := n.connect(Birth{Identity: alice, Route: "/ws/{group}", Handler: Echo, Groups: []session.Group{app}})
	n.connect(Birth{Identity: bob, Route: "/ws/{group}", Groups: []session.Group{app, news}})
	n.connect(Birth{Identity: alice, Route: "/news", Groups: []session.Group{news}})
	n.connect(Birth{})
	c.send(text, "hello")
	c.want(text, "hello")

	for name, tt := range map[string]struct {
		f     Filter
		after uint64
		limit int
		want  []uint64
	}{
		"all":               {Filter{}, 0, 10, []uint64{1, 2, 3, 4}},
		"a page":            {Filter{}, 0, 3, []uint64{1, 2, 3}},
		"the next":          {Filter{}, 3, 3, []uint64{4}},
		"behind all":        {Filter{}, 4, 3, nil},
		"none asked":        {Filter{}, 0, 0, nil},
		"fewer than none":   {Filter{}, 0, -1, nil},
		"subject":           {Filter{Subject: "1"}, 0, 10, []uint64{1, 3}},
		"subject, page":     {Filter{Subject: "1"}, 1, 10, []uint64{3}},
		"group":             {Filter{Group: news}, 0, 10, []uint64{2, 3}},
		"group, first":      {Filter{Group: news}, 0, 1, []uint64{2}},
		"route":             {Filter{Route: "/ws/{group}"}, 0, 10, []uint64{1, 2}},
		"all of them":       {Filter{Number: 3, Subject: "1", Route: "/news", Group: news}, 0, 10, []uint64{3}},
		"number, not whose": {Filter{Number: 2, Subject: "1"}, 0, 10, nil},
		"unknown":           {Filter{Subject: "3"}, 0, 10, nil},
	} {
		got, silent := n.Sessions(t.Context(), tt.f, tt.after, tt.limit)
		if !slices.Equal(numbers(got), tt.want) || silent != 0 {
			t.Errorf("%s: %v and %d silent, want %v", name, numbers(got), silent, tt.want)
		}
	}

	got, ok := n.Session(t.Context(), 1)
	if !ok || got.Identity != alice || got.Route != "/ws/{group}" || !slices.Equal(got.Groups, []session.Group{app}) ||
		got.Opened.IsZero() || time.Since(got.Heard) > time.Minute || got.Silent || got.Closing || got.Paused || got.Queued != 0 ||
		got.MessagesReceived != 1 || got.BytesReceived != 5 || got.MessagesSent != 1 || got.BytesSent != 7 {
		t.Errorf("Session(1) = %+v, %v", got, ok)
	}
	for _, number := range []uint64{0, 5} {
		if got, ok := n.Session(t.Context(), number); ok {
			t.Errorf("Session(%d) = %+v", number, got)
		}
	}
}

// A filter by state goes through all actors, some at a time, until there are enough.
func TestSessionsGoesOn(t *testing.T) {
	n := newNode(t, Config{})
	last := mustGroup(t, "last")
	for range inspectRun + 5 {
		n.connect(Birth{})
	}
	n.connect(Birth{Groups: []session.Group{last}})
	got, silent := n.Sessions(t.Context(), Filter{Group: last}, 0, 1)
	if want := []uint64{inspectRun + 6}; !slices.Equal(numbers(got), want) || silent != 0 {
		t.Errorf("%v and %d silent, want %v", numbers(got), silent, want)
	}
}

// wantKicked wants a close frame with the code and the reason, and plays its part in the rest.
func (c *client) wantKicked(with CloseCode, reason string) {
	c.t.Helper()
	c.want(closeBit, code(with, reason))
	c.send(closeBit, code(with, ""))
	c.wantEOF()
}

// stuck is a Handler that does not return from a message until it is released.
func stuck(t *testing.T) (h Handler, entered, release chan struct{}) {
	t.Helper()
	entered, release = make(chan struct{}), make(chan struct{})
	return script{message: func(*Actor, Message) {
		close(entered)
		<-release
	}}, entered, release
}

func TestSessionsDoesNotWaitForAHandler(t *testing.T) {
	n := newNode(t, Config{})
	h, entered, release := stuck(t)
	defer close(release)
	group := mustGroup(t, "g")
	c := n.connect(Birth{Handler: h, Groups: []session.Group{group}})
	n.connect(Birth{Groups: []session.Group{group}})
	c.send(text, "x")
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	got, silent := n.Sessions(ctx, Filter{}, 0, 10)
	if len(got) != 2 || silent != 1 || !got[0].Silent || got[0].ID.Number != 1 || got[0].Identity == nil || got[1].Silent {
		t.Errorf("%+v and %d silent, want the first of two silent", got, silent)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	got, silent = n.Sessions(ctx, Filter{Group: group}, 0, 10)
	if !slices.Equal(numbers(got), []uint64{2}) || silent != 1 {
		t.Errorf("in the group: %v and %d silent, want the second, and one silent", numbers(got), silent)
	}
}

// What an actor is asked that ends is not waited for.
func TestSessionsWhileActorsEnd(t *testing.T) {
	n := newNode(t, Config{})
	h, entered, release := stuck(t)
	c := n.connect(Birth{Handler: h})
	c.send(text, "x")
	<-entered
	type result struct {
		found  []Info
		silent int
	}
	results := make(chan result)
	go func() {
		found, silent := n.Sessions(t.Context(), Filter{}, 0, 10)
		results <- result{found, silent}
	}()
	a := c.actor
	eventually(t, "the actor is asked", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.mail) == 1
	})
	a.mu.Lock()
	a.mail = append([]command{cut{CloseTryAgainLater, "test", slowNone}}, a.mail...) // it ends before it looks at the question
	a.mu.Unlock()
	close(release)
	if got := <-results; len(got.found) != 0 || got.silent != 0 {
		t.Errorf("%+v", got)
	}
}

// slowJournal holds up openings, as a journal does that waits for its log.
type slowJournal struct {
	Journal
	entered, release chan struct{}
}

func (j slowJournal) Append(ctx context.Context, r ...session.Record) error {
	if _, opened := r[0].Event.(session.Opened); opened {
		j.entered <- struct{}{}
		<-j.release
	}
	return j.Journal.Append(ctx, r...)
}

func TestInspectDuringAnOpening(t *testing.T) {
	j := slowJournal{entered: make(chan struct{}), release: make(chan struct{})}
	n := newNode(t, Config{Journal: &j})
	j.Journal = n.journal
	connected := make(chan *client)
	go func() { connected <- n.connect(Birth{Identity: &session.Identity{Subject: "1", Source: "test"}}) }()
	<-j.entered
	if got, silent := n.Sessions(t.Context(), Filter{}, 0, 10); len(got) != 0 || silent != 0 {
		t.Errorf("a session that is opening is listed: %+v, %d silent", got, silent)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if closed, silent := n.Disconnect(ctx, Filter{Subject: "1"}, CloseForbidden, "test"); closed != 0 || silent != 1 {
		t.Errorf("Disconnect = %d, %d", closed, silent)
	}
	close(j.release)
	(<-connected).wantKicked(CloseForbidden, "test") // it does not slip through
}

func TestDisconnect(t *testing.T) {
	n := newNode(t, Config{})
	alice, group := &session.Identity{Subject: "1", Source: "test"}, mustGroup(t, "g")
	first := n.connect(Birth{Identity: alice, Groups: []session.Group{group}, Handler: Broadcast})
	second := n.connect(Birth{Identity: alice})
	third := n.connect(Birth{Groups: []session.Group{group}})
	fourth := n.connect(Birth{})

	if closed, silent := n.Disconnect(t.Context(), Filter{Subject: "1"}, CloseForbidden, "kicked"); closed != 2 || silent != 0 {
		t.Errorf("Disconnect of a user = %d, %d; want both", closed, silent)
	}
	if closed, silent := n.Disconnect(t.Context(), Filter{Subject: "1"}, CloseForbidden, "kicked"); closed != 0 || silent != 0 {
		t.Errorf("once more: %d, %d", closed, silent)
	}
	first.send(text, "too late") // what it says is not heard by anyone
	first.wantKicked(CloseForbidden, "kicked")
	second.wantKicked(CloseForbidden, "kicked")
	n.wantClosed(second, CloseForbidden, "kicked")
	if got := n.value("fairlead_messages_unpublished_total", ""); got != 0 {
		t.Errorf("%v messages were published after the close", got)
	}
	if closed, _ := n.Disconnect(t.Context(), Filter{Group: group}, ClosePolicyViolation, ""); closed != 1 {
		t.Errorf("Disconnect of a group = %d, want 1: one of two has gone", closed)
	}
	third.wantKicked(ClosePolicyViolation, "")
	if closed, _ := n.Disconnect(t.Context(), Filter{Number: 4}, CloseNormal, ""); closed != 1 {
		t.Errorf("Disconnect of a session = %d", closed)
	}
	fourth.wantKicked(CloseNormal, "")
}

// Whoever does not answer is closed as soon as it can be, also when its mailbox is full.
func TestDisconnectOfAStuckHandler(t *testing.T) {
	for _, full := range []bool{false, true} {
		n := newNode(t, Config{})
		h, entered, release := stuck(t)
		c := n.connect(Birth{Handler: h})
		c.send(text, "x")
		<-entered
		for full && c.actor.Do(func(*Actor) {}) {
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		closed, silent := n.Disconnect(ctx, Filter{Number: 1}, CloseForbidden, "kicked")
		cancel()
		if closed != 0 || silent != 1 {
			t.Errorf("full %v: Disconnect = %d, %d; want 0, 1", full, closed, silent)
		}
		close(release)
		if end := c.ended; full {
			if got := end(); got.Code != CloseForbidden {
				t.Errorf("it ended with %+v", got)
			}
		} else {
			c.wantKicked(CloseForbidden, "kicked")
		}
	}
}

// Sessions can be asked for by many while connections come and go.
func TestInspectRace(t *testing.T) {
	n := newNode(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			n.Sessions(ctx, Filter{Route: "/"}, 0, 100)
			n.Disconnect(ctx, Filter{Subject: "2"}, CloseForbidden, "")
		}
	}()
	for i := range 50 {
		c := n.connect(Birth{Handler: Echo, Route: "/", Identity: &session.Identity{Subject: string(rune('1' + i%2)), Source: "test"}})
		if i%2 == 1 {
			c.wantKicked(CloseForbidden, "")
			continue
		}
		c.send(text, "x")
		c.want(text, "x")
		c.Close()
	}
	cancel()
	<-done
	n.drained()
	if err := ctx.Err(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
