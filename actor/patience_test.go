package actor

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
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
			f, err := ws.ReadFrame(c.r)
			if err != nil {
				t.Fatalf("after %d messages and %d pings: %v", got, pings, err)
			}
			switch f.Header.OpCode {
			case ws.OpText:
				got++
				time.Sleep(time.Second)
			case ws.OpPing:
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
