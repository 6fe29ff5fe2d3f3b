package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// on runs f on the actor's goroutine and waits for it.
func (c *client) on(f func(*Actor)) {
	c.t.Helper()
	done := make(chan struct{})
	if !c.actor.Do(func(a *Actor) { defer close(done); f(a) }) {
		c.t.Fatal("the connection has ended")
	}
	<-done
}

func TestJoinAndLeave(t *testing.T) {
	n := newNode(t, Config{})
	red, blue, green := mustGroup(t, "red"), mustGroup(t, "blue"), mustGroup(t, "green")
	c := n.connect(Birth{Groups: []session.Group{red}})
	publish := func(g session.Group, payload string) {
		t.Helper()
		if err := n.bus.Publish(bus.Message{Group: g, Payload: []byte(payload)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	joined := make(chan error, 1)
	c.on(func(a *Actor) {
		for _, g := range []session.Group{blue, green} {
			done := func(b *Actor, err error) {
				if b != a {
					t.Error("done was given another actor")
				}
				a.Send(Message{Payload: []byte("joined " + g.String())}) // on the actor's goroutine: before what comes then
				if g == green {
					joined <- err
				}
			}
			if err := a.Join(g, done); err != nil {
				t.Error(err)
			}
		}
		if err := a.Join(blue, nil); !errors.Is(err, ErrMember) {
			t.Errorf("a second Join = %v, want ErrMember", err)
		}
		if err := a.Join(red, nil); !errors.Is(err, ErrMember) {
			t.Errorf("Join of a group of the route = %v, want ErrMember", err)
		}
	})
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	c.want(text, "joined blue")
	c.want(text, "joined green")
	publish(green, "hello green")
	c.want(text, "hello green")

	c.on(func(a *Actor) { // the one in the middle: the others keep their places
		if !a.Leave(blue) || a.Leave(blue) || a.Leave(mustGroup(t, "never")) {
			t.Error("Leave does not say whether there was a membership")
		}
		if got := a.State().Groups; !slices.Equal(got, []session.Group{red, green}) {
			t.Errorf("the groups are %v", got)
		}
	})
	for _, g := range []session.Group{blue, green, red} {
		publish(g, "to "+g.String())
	}
	got := []string{}
	for range 2 {
		_, payload, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, payload)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"to green", "to red"}) { // two groups have no order
		t.Errorf("after Leave came %q", got)
	}
	c.on(func(a *Actor) {
		if !a.Leave(red) || !a.Leave(green) || len(a.State().Groups) != 0 || len(a.members) != 0 {
			t.Error("Leave left something")
		}
	})
	if v := n.value("fairlead_groups", ""); v != 0 {
		t.Errorf("%v groups are left", v)
	}
}

// A join that the journal does not take has not happened.
func TestJoinWithoutJournal(t *testing.T) {
	broken := &brokenJournal{}
	n := newNode(t, Config{Journal: broken})
	broken.Journal = n.journal
	red, blue := mustGroup(t, "red"), mustGroup(t, "blue")
	c := n.connect(Birth{Groups: []session.Group{red}})
	c.on(func(a *Actor) {
		broken.err = errors.New("no space left")
		if err := a.Join(blue, func(*Actor, error) { t.Error("done was called") }); !errors.Is(err, broken.err) {
			t.Errorf("Join = %v, want the journal's error", err)
		}
		if a.State().Member(blue) || a.Leave(blue) {
			t.Error("the session became a member")
		}
		if !a.Leave(red) { // a journal that is away keeps nobody in
			t.Error("Leave does nothing without a journal")
		}
		broken.err = nil
		if err := a.Join(blue, nil); err != nil {
			t.Errorf("Join = %v, once the journal is back", err)
		}
		if got := a.State().Groups; !slices.Equal(got, []session.Group{blue}) {
			t.Errorf("the groups are %v", got)
		}
	})
	eventually(t, "the join is effective", func() bool { return n.value("fairlead_groups", "") == 1 })
	if err := n.bus.Publish(bus.Message{Group: blue, Payload: []byte("blue")}, nil); err != nil {
		t.Fatal(err)
	}
	c.want(text, "blue")
	if v := n.value("fairlead_events_unrecorded_total", ""); v != 2 {
		t.Errorf("events_unrecorded = %v, want 2", v)
	}
}

// A bus that is closed gives done its error.
func TestJoinWithoutBus(t *testing.T) {
	n := newNode(t, Config{})
	c := n.connect(Birth{})
	if err := n.bus.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	c.on(func(a *Actor) {
		if err := a.Join(mustGroup(t, "g"), func(_ *Actor, err error) { told <- err }); err != nil {
			t.Errorf("Join = %v", err)
		}
		a.Publish(mustGroup(t, "g"), Message{Payload: []byte("x")})
	})
	if err := <-told; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("done was given %v, want bus.ErrClosed", err)
	}
	if v := n.value("fairlead_messages_unpublished_total", ""); v != 1 {
		t.Errorf("messages_unpublished = %v, want 1", v)
	}
	n.connect(Birth{Groups: []session.Group{mustGroup(t, "g")}}) // and Open does not hang
}

// Publish needs no membership, takes the payload as it is then, and is for all nodes' members of the group alone.
func TestPublish(t *testing.T) {
	n := newNode(t, Config{})
	g := mustGroup(t, "g")
	member := n.connect(Birth{Groups: []session.Group{g}})
	c := n.connect(Birth{Handler: script{message: func(a *Actor, m Message) {
		a.Publish(g, m)
		clear(m.Payload)
	}}})
	c.send(text, "one")
	c.send(bin, "\xff")
	member.want(text, "one")
	member.want(bin, "\xff")
}

// A message that is too big for the bus closes the connection of whoever sent it with 1009, and is counted.
func TestPublishTooLarge(t *testing.T) {
	small, err := bus.NewLocal(bus.LocalConfig{MaxPayload: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { small.Close(context.Background()) })
	n := newNode(t, Config{Bus: small})
	c := n.connect(Birth{Handler: Broadcast, Groups: []session.Group{mustGroup(t, "a"), mustGroup(t, "b")}})
	c.send(text, strings.Repeat("x", 101))
	if _, payload, err := c.next(); err != nil || payload != code(1009, "the message is too big for the bus") {
		t.Fatalf("got %q, %v", payload, err)
	}
	c.send(closeBit, "")
	c.wantEOF()
	n.wantClosed(c, CloseMessageTooBig, "the message is too big for the bus")
	if v := n.value("fairlead_messages_unpublished_total", ""); v != 2 {
		t.Errorf("messages_unpublished = %v, want 2", v)
	}
}

// Once the connection is closing a Handler can neither join nor publish, but leave.
func TestHandlerWhileClosing(t *testing.T) {
	n := newNode(t, Config{})
	red, blue := mustGroup(t, "red"), mustGroup(t, "blue")
	member := n.connect(Birth{Groups: []session.Group{red, blue}})
	c := n.connect(Birth{Groups: []session.Group{red}})
	c.actor.Close(CloseNormal, "")
	c.want(closeBit, code(CloseNormal, ""))
	c.on(func(a *Actor) {
		if err := a.Join(blue, nil); !errors.Is(err, ErrClosing) {
			t.Errorf("Join = %v, want ErrClosing", err)
		}
		a.Publish(red, Message{Payload: []byte("never")})
		if !a.Leave(red) {
			t.Error("Leave does nothing while closing")
		}
	})
	c.send(closeBit, "")
	c.wantEOF()
	n.wantClosed(c, CloseNormal, "")
	if err := n.bus.Publish(bus.Message{Group: red, Payload: []byte("after")}, nil); err != nil {
		t.Fatal(err)
	}
	member.want(text, "after")
	if v := n.value("fairlead_messages_unpublished_total", ""); v != 1 {
		t.Errorf("messages_unpublished = %v, want 1", v)
	}
}

// In Handler.Close everything is over: what it asks for is refused, whatever ended the connection, and leaves nothing behind.
func TestHandlerAtTheEnd(t *testing.T) {
	n := newNode(t, Config{})
	red, blue := mustGroup(t, "red"), mustGroup(t, "blue")
	member := n.connect(Birth{Groups: []session.Group{red, blue}})
	handler := script{close: func(a *Actor, _ Closure) {
		if a.Send(Message{Payload: []byte("never")}) {
			t.Error("Send says that it sends")
		}
		if err := a.Join(blue, nil); !errors.Is(err, ErrClosing) {
			t.Errorf("Join = %v, want ErrClosing", err)
		}
		if a.Leave(red) {
			t.Error("Leave says that there was a membership")
		}
		a.Publish(red, Message{Payload: []byte("never")})
		if a.Close(CloseNormal, "") || a.Do(func(*Actor) {}) {
			t.Error("Close or Do say that the connection has not ended")
		}
	}}
	for name, end := range map[string]func(c *client){
		"a close frame": func(c *client) { c.send(closeBit, code(1000, "")); c.wantClose(1000) },
		"a FIN":         func(c *client) { c.Conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c := n.connect(Birth{Handler: handler, Groups: []session.Group{red}})
			end(c)
			n.closing(c)
		})
	}
	if err := n.bus.Publish(bus.Message{Group: red, Payload: []byte("after")}, nil); err != nil {
		t.Fatal(err)
	}
	member.want(text, "after")
	if panics, lost := n.value("fairlead_handler_panics_total", ""), n.value("fairlead_messages_unpublished_total", ""); panics != 0 || lost != 2 {
		t.Errorf("panics = %v and messages_unpublished = %v, want 0 and 2", panics, lost)
	}
}

// What Open sends comes behind the response, in order, and before what answers messages.
func TestOpenSends(t *testing.T) {
	n := newNode(t, Config{})
	var pages []string
	for i := range 40 {
		pages = append(pages, strings.Repeat(fmt.Sprintf("page %2d ", i), 2000))
	}
	c := n.connect(Birth{Pending: masked(text, "first"), Handler: script{
		open: func(a *Actor) {
			for _, p := range pages {
				a.Send(Message{Payload: []byte(p)})
			}
			a.Close(CloseNormal, "that was all")
		},
		message: func(a *Actor, m Message) { a.Send(m) },
	}})
	for _, p := range pages {
		c.want(text, p)
	}
	b0, payload, err := c.next()
	if b0 == text && payload == "first" { // it may have come before the command to close, or after
		b0, payload, err = c.next()
	}
	if err != nil || b0 != closeBit || payload != code(CloseNormal, "that was all") {
		t.Fatalf("got %#x %q, %v", b0, payload, err)
	}
}

// Do and Send are for any goroutine; ID, Identity and Close too. Each function runs once, on the actor's goroutine.
func TestAnyGoroutine(t *testing.T) {
	n := newNode(t, Config{})
	alice := &session.Identity{Subject: "1", Source: "test"}
	c := n.connect(Birth{Identity: alice, Handler: Echo})
	var groups []session.Group
	for i := range 8 {
		groups = append(groups, mustGroup(t, fmt.Sprint("g", i)))
	}
	var ran int // no lock: the race detector says that the functions run on one goroutine
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				if !c.actor.Do(func(a *Actor) {
					ran++
					if err := a.Join(groups[i], nil); err != nil || !a.Leave(groups[i]) {
						t.Errorf("Join = %v, or Leave finds no membership", err)
					}
				}) {
					t.Error("Do says that the connection has ended")
				}
				if !c.actor.Send(Message{Payload: []byte("s")}) || c.actor.Identity() != alice || c.actor.ID().Number != 1 {
					t.Error("Send, Identity or ID do not work")
				}
			}
		})
	}
	for range 800 {
		c.want(text, "s")
	}
	wg.Wait()
	c.on(func(*Actor) {
		if ran != 800 {
			t.Errorf("%d functions ran, want 800", ran)
		}
	})
}
