package actor

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// A client that reads slowly, and answers each ping that it sees, is not silent: pings do not stand behind data, and what
// its side takes is a sign of life.
func TestSlowReaderIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{PingInterval: time.Second, PongTimeout: 2 * time.Second})
		c := n.connectPipe(Birth{})
		const messages = 30
		payload := bytes.Repeat([]byte("x"), 8<<10)
		for range messages {
			if !c.actor.Send(Message{Payload: payload}) {
				t.Fatal("Send was refused")
			}
		}
		got, pings := 0, 0
		for got < messages {
			b0, _, err := c.next()
			if err != nil {
				t.Fatalf("after %d messages and %d pings: %v", got, pings, err)
			}
			switch b0 {
			case text:
				got++
				time.Sleep(time.Second)
			case ping:
				pings++
				if _, err := c.Write(masked(pong, "")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := n.value("fairlead_pong_timeouts_total", ""); got != 0 {
			t.Errorf("%v connections were called silent", got)
		}
	})
}

// The sweeper's clock is not the wall clock, but credentials go by the wall clock: when that is set, all are looked at.
func TestCollectAfterAStep(t *testing.T) {
	s := &System{actors: []*Actor{{number: 1}, {number: 2}, {number: 3}}, due: []int64{10, 1000, never64}}
	if due := s.collect(nil, 20, false); len(due) != 1 || due[0].number != 1 {
		t.Errorf("%d actors are due, want the first alone", len(due))
	}
	if due := s.collect(nil, 20, true); len(due) != 2 {
		t.Errorf("%d actors are looked at after a step, want those two that have a time", len(due))
	}
}

// A Handler that does not return keeps the close of an expired connection waiting, but not its silence.
func TestExpiredHearsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{PingInterval: time.Hour})
		entered, leave := make(chan struct{}), make(chan struct{})
		c := n.connectPipe(Birth{
			Identity: &session.Identity{Subject: "1", Source: "test", Expires: time.Now().Add(time.Minute)},
			Handler: script{message: func(*Actor, Message) {
				close(entered)
				<-leave
			}},
		})
		c.send(text, "x")
		<-entered
		if !c.actor.Send(Message{Payload: []byte("in time")}) {
			t.Error("Send was refused before the credential expired")
		}
		c.want(text, "in time")
		time.Sleep(61 * time.Second)
		if c.actor.Send(Message{Payload: []byte("too late")}) {
			t.Error("Send was taken after the credential had expired")
		}
		close(leave)
		c.want(closeBit, code(CloseUnauthenticated, "the credential has expired"))
		c.send(closeBit, code(CloseUnauthenticated, ""))
		c.wantEOF()
	})
}

// What the bus does not take is kept up to the bound of the outbox; then the connection is closed.
func TestBacklogIsBounded(t *testing.T) {
	b := &busyBus{}
	n := newNode(t, Config{Bus: b, OutboxBytes: 10_000})
	b.Bus = n.bus
	c := n.connect(Birth{})
	b.set(true)
	g := mustGroup(t, "g")
	for range 100 {
		c.actor.Do(func(a *Actor) { a.Publish(g, Message{Payload: make([]byte, 1000)}) })
	}
	all := make(chan struct{}) // closed when the actor has come to all of them: those behind its end are nobody's
	c.actor.Do(func(*Actor) { close(all) })
	<-all
	c.want(closeBit, code(CloseTryAgainLater, "the bus does not take what this connection publishes"))
	c.send(closeBit, code(CloseTryAgainLater, ""))
	c.wantEOF()
	n.closing(c)
	if got := n.value("fairlead_messages_unpublished_total", ""); got != 100 {
		t.Errorf("%v messages are counted as unpublished, want 100", got)
	}
	b.set(false)
}
