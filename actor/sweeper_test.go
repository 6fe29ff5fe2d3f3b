package actor

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// A peer that is silent for PingInterval is pinged; its answer begins the next interval.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{PingInterval: 10 * time.Second, PongTimeout: 5 * time.Second})
		c := n.connectPipe(Birth{})
		heard := time.Now()
		for i := range 20 {
			c.want(ping, "")
			if silent := time.Since(heard); silent < 9750*time.Millisecond || silent > 10500*time.Millisecond {
				t.Errorf("ping %d comes after %v of silence", i, silent)
			}
			time.Sleep(rand.N(4 * time.Second)) //nolint:gosec // not a secret
			c.send(pong, "")
			heard = time.Now()
		}
		c.send(closeBit, code(1000, ""))
		c.want(closeBit, code(1000, ""))
		c.Conn.Close()
		if end := n.closing(c); end.BytesSent != 40 || end.MessagesSent != 0 || end.MessagesReceived != 0 {
			t.Errorf("closed = %+v; 20 pings are 40 bytes and no messages", end)
		}
	})
}

// Whatever a peer sends says that it is there: no ping is needed.
func TestTrafficPostponesPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{PingInterval: 10 * time.Second, PongTimeout: 5 * time.Second})
		c := n.connectPipe(Birth{})
		c.wait = time.Millisecond
		for i, said := range bytes.Repeat(masked(text, "as slowly as can be"), 3) {
			time.Sleep(9 * time.Second)
			c.write([]byte{said})
			if b0, _, err := c.next(); err == nil {
				t.Fatalf("byte %d: got %#x", i, b0)
			}
		}
	})
}

// A peer that does not answer a ping in PongTimeout is gone; anything is an answer.
func TestPongTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{PingInterval: 10 * time.Second, PongTimeout: 5 * time.Second})
		c := n.connectPipe(Birth{})
		for range 3 {
			c.want(ping, "")
			time.Sleep(4500 * time.Millisecond)
			c.write([]byte{text}[:1]) // the begin of a frame
			c.want(ping, "")
			time.Sleep(4500 * time.Millisecond)
			c.write(masked(text, "late, but here")[1:])
		}
		c.want(ping, "")
		pinged := time.Now()
		c.wantEOF()
		if took := time.Since(pinged); took < 5*time.Second || took > 5500*time.Millisecond {
			t.Errorf("it was cut off %v after the ping", took)
		}
		if got, want := c.ended(), (Closure{CloseAbnormal, "the peer does not answer pings", false}); got != want {
			t.Errorf("the handler was told %+v, want %+v", got, want)
		}
		n.wantClosed(c, CloseAbnormal, "the peer does not answer pings")
		if v := n.value("fairlead_pong_timeouts_total", ""); v != 1 {
			t.Errorf("pong_timeouts = %v, want 1", v)
		}
	})
}

// The first pings of connections that came together do not come together.
func TestFirstPingsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{PingInterval: 20 * time.Second})
		looks := make(map[int64]int)
		for range 200 {
			n.connectPipe(Birth{})
		}
		n.System.mu.Lock()
		for _, due := range n.due {
			looks[(due-time.Now().UnixMilli())/1000]++
		}
		n.System.mu.Unlock()
		if len(looks) < 10 || looks[0] > 0 {
			t.Errorf("the first looks come after so many seconds: %v", looks)
		}
	})
}

// A connection is closed with 4401 within a second of the end of its credential, and never before it.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{})
		var wg sync.WaitGroup
		expire := func(after time.Duration) {
			expires := time.Now().Add(after)
			c := n.connectPipe(Birth{Identity: &session.Identity{Subject: "1", Source: "test", Expires: expires}})
			if now := time.Now(); expires.Before(now) {
				expires = now // it is closed as soon as it can be
			}
			wg.Go(func() {
				for {
					b0, payload, err := c.next()
					late := time.Since(expires)
					switch {
					case err != nil:
						t.Errorf("expiry after %v: %v", after, err)
						return
					case b0 == ping:
						_, _ = c.Write(masked(pong, ""))
					case payload != code(4401, "the credential has expired"):
						t.Errorf("got %#x %q", b0, payload)
					case late < 0 || late > time.Second:
						t.Errorf("expiry after %v: closed %v behind", after, late)
						fallthrough
					default:
						_, _ = c.Write(masked(closeBit, code(4401, "")))
						if _, _, err := c.next(); !errors.Is(err, io.EOF) {
							t.Errorf("the end is %v", err)
						}
						c.Conn.Close()
						return
					}
				}
			})
		}
		expire(-time.Hour)
		expire(0)
		for _, after := range []time.Duration{1, 499_999, 500_000, 999_999} { // of a millisecond, around the sweeper's ticks
			expire(3*sweepTick + after)
			expire(3*sweepTick - after)
		}
		for range 300 {
			expire(rand.N(5 * time.Minute)) //nolint:gosec // not a secret
		}
		time.Sleep(100 * time.Millisecond)
		for range 100 {
			expire(rand.N(3 * time.Second)) //nolint:gosec // not a secret
		}
		wg.Wait()
		n.drained()
		if v := n.value("fairlead_closes_total", "4401"); v != 410 {
			t.Errorf("closes with 4401 = %v, want 410", v)
		}
	})
}

// goroutine returns the number of the goroutine that runs it.
func goroutine() string {
	b := make([]byte, 64)
	return string(bytes.Fields(b[:runtime.Stack(b, false)])[1])
}

// An actor that has run and is quiet goes on as a fresh goroutine, unless it is in the middle of something.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{PingInterval: 10 * time.Second})
		var on string
		c := n.connectPipe(Birth{Handler: script{message: func(a *Actor, m Message) {
			on = goroutine()
			a.Send(m)
		}}})
		quiet := func() {
			t.Helper()
			for range 3 {
				c.want(ping, "")
				c.send(pong, "")
			}
			synctest.Wait()
		}
		say := func(payload string) string {
			t.Helper()
			c.send(text, payload)
			c.want(text, payload)
			if !c.actor.grown.Load() {
				t.Error("it has handled a message, and is not marked as grown")
			}
			return on
		}
		first := say("one")
		if say("two") != first {
			t.Error("it goes on as another goroutine between messages")
		}
		quiet()
		if c.actor.grown.Load() {
			t.Error("it is quiet, and still marked as grown")
		}
		second := say("three")
		if second == first {
			t.Error("it goes on as the same goroutine")
		}
		quiet()
		c.send(begin, "half ")
		say2 := func() { c.send(contin, "and half"); c.want(text, "half and half") }
		c.on(func(*Actor) {}) // it has run, with a message half read
		quiet()
		if !c.actor.grown.Load() {
			t.Error("it was renewed in the middle of a message")
		}
		say2()
		quiet()
		if c.actor.grown.Load() || say("four") == on && on == second {
			t.Error("it is not renewed once the message is whole")
		}
		c.send(closeBit, "")
		c.want(closeBit, "")
	})
}
