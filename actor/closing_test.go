package actor

import (
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// The peer's code is echoed once, without its words, and the connection ends with a FIN.
func TestPeerCloses(t *testing.T) { onAllWirings(t, testPeerCloses) }

func testPeerCloses(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	for _, tc := range []struct {
		name, sent, answer string
		want               Closure
	}{
		{"a code", code(1000, ""), code(1000, ""), Closure{1000, "", true}},
		{"a code and a reason", code(1001, "tab closed"), code(1001, ""), Closure{1001, "tab closed", true}},
		{"a code of the application", code(4999, ""), code(4999, ""), Closure{4999, "", true}},
		{"no code", "", "", Closure{CloseNoStatus, "", true}},
		{
			"a code that is not for the wire", code(1005, ""), code(1002, "a close frame with a status code that is not for the wire"),
			Closure{1002, "a close frame with a status code that is not for the wire", false},
		},
		{"half a code", "\x03", code(1002, "a close frame with half a status code"), Closure{1002, "a close frame with half a status code", false}},
		{
			"a reason that is not UTF-8", code(1000, "\xff"), code(1007, "a close frame whose reason is not UTF-8"),
			Closure{1007, "a close frame whose reason is not UTF-8", false},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := n.value("fairlead_closes_total", "")
			c := n.connect(Birth{Handler: Echo})
			c.send(closeBit, tc.sent)
			c.want(closeBit, tc.answer)
			// Nothing that comes behind a close frame is answered, or makes the end less orderly.
			c.write(frames(masked(text, "late"), masked(ping, ""), masked(closeBit, code(1000, "")), []byte("garbage")))
			c.wantEOF()
			if got := c.ended(); got != tc.want {
				t.Errorf("the handler was told %+v, want %+v", got, tc.want)
			}
			reason := tc.want.Reason
			if tc.want.ByPeer {
				reason = "closed by the peer"
			}
			n.wantClosed(c, tc.want.Code, reason)
			n.drained()
			if v := n.value("fairlead_closes_total", "") - before; v != 1 {
				t.Errorf("%v closes counted, want 1", v)
			}
		})
	}
	if v := n.value("fairlead_closes_total", "other"); v != 1 {
		t.Errorf("closes with another code = %v, want 1", v)
	}
	if v := n.value("fairlead_closes_total", "1005"); v != 1 {
		t.Errorf("closes with 1005 = %v, want 1", v)
	}
}

// After our close frame nothing is sent, data is ignored, and the peer's close frame ends the connection.
func TestServerCloses(t *testing.T) { onAllWirings(t, testServerCloses) }

func testServerCloses(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	var heard []string
	handler := script{message: func(a *Actor, m Message) { heard = append(heard, string(m.Payload)) }}
	c := n.connect(Birth{Handler: handler})
	if !c.actor.Close(CloseForbidden, "banned") || !c.actor.Close(CloseNormal, "again") {
		t.Fatal("Close says that the connection has ended")
	}
	c.want(closeBit, code(CloseForbidden, "banned"))
	eventually(t, "nothing can be sent", func() bool { return !c.actor.Send(Message{Payload: []byte("x")}) })
	c.write(frames(masked(text, "late"), masked(ping, "p"), masked(begin, "half")))
	c.send(closeBit, code(1000, "the peer's code does not matter"))
	c.wantEOF()
	if got, want := c.ended(), (Closure{CloseForbidden, "banned", false}); got != want || len(heard) != 0 {
		t.Errorf("the handler was told %+v, and heard %q", got, heard)
	}
	n.wantClosed(c, CloseForbidden, "banned")
	n.drained()
	if c.actor.Close(CloseNormal, "") || c.actor.Do(func(*Actor) {}) || c.actor.Send(Message{}) {
		t.Error("Close, Do or Send say that the connection has not ended")
	}
}

// A Handler closes its own connection; what it sent before goes out before.
func TestHandlerCloses(t *testing.T) { onAllWirings(t, testHandlerCloses) }

func testHandlerCloses(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	c := n.connect(Birth{Handler: script{message: func(a *Actor, m Message) {
		a.Send(m)
		a.Close(4000, string(m.Payload))
	}}})
	c.send(text, "bye")
	c.want(text, "bye")
	c.want(closeBit, code(4000, "bye"))
	c.send(closeBit, code(4000, ""))
	c.wantEOF()
	n.wantClosed(c, 4000, "bye")
}

// A peer that does not answer our close frame is cut off after CloseTimeout, however busy it is. The code stays ours.
func TestPeerDoesNotAnswer(t *testing.T) { onWirings(t, testPeerDoesNotAnswer) }

func testPeerDoesNotAnswer(t *testing.T, w wiring) {
	const timeout = 300 * time.Millisecond
	n := w.newNode(t, Config{CloseTimeout: timeout})
	for name, then := range map[string]func(c *client){
		"silent": func(*client) {},
		"busy": func(c *client) {
			for {
				if _, err := c.Write(masked(text, "still here")); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.connect(Birth{})
			start := time.Now()
			c.actor.Close(CloseServiceRestart, "restart")
			c.want(closeBit, code(CloseServiceRestart, "restart"))
			then(c) // returns when the connection is cut off
			c.ended()
			if took := time.Since(start); took < timeout {
				t.Errorf("it took %v only", took)
			}
			n.wantClosed(c, CloseServiceRestart, "restart")
			if b0, payload, err := c.next(); err == nil {
				t.Errorf("got %#x %q after the end", b0, payload)
			}
		})
	}
}

// A peer that breaks the protocol or just ends, where a close frame was due, is let go at once. The code stays ours.
func TestPeerAnswersBadly(t *testing.T) { onWirings(t, testPeerAnswersBadly) }

func testPeerAnswersBadly(t *testing.T, w wiring) {
	n := w.newNode(t, Config{CloseTimeout: time.Hour})
	for name, then := range map[string]func(c *client, conn *net.TCPConn){
		"a FIN":                 func(_ *client, conn *net.TCPConn) { conn.CloseWrite() },
		"a RST":                 func(_ *client, conn *net.TCPConn) { conn.SetLinger(0); conn.Close() },
		"a fault":               func(c *client, _ *net.TCPConn) { c.write([]byte{0xff, 0}); c.wantEOF() },
		"half a close frame":    func(c *client, conn *net.TCPConn) { c.write([]byte{closeBit}); conn.CloseWrite() },
		"an invalid close code": func(c *client, _ *net.TCPConn) { c.send(closeBit, code(1005, "")); c.wantEOF() },
	} {
		t.Run(name, func(t *testing.T) {
			c := n.connect(Birth{})
			c.actor.Close(CloseServiceRestart, "restart")
			c.want(closeBit, code(CloseServiceRestart, "restart"))
			then(c, c.tcp())
			c.ended()
			n.wantClosed(c, CloseServiceRestart, "restart")
		})
	}
}

// noise returns a text of that many bytes which hardly any compressor makes smaller; another for each seed.
func noise(seed, size int) string {
	random := rand.New(rand.NewPCG(uint64(seed), 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(' ' + random.IntN(0x7f-' '))
	}
	return string(b)
}

// queue makes the client's outbox hold data: the client does not read, and more is sent than the sockets take.
func queue(t *testing.T, c *client) (sent []string) {
	t.Helper()
	payload := noise(len(sent), 64<<10)
	last, still := 0, 0
	eventually(t, "the sockets take nothing more", func() bool {
		for last = c.queued(); last < 512<<10; last = c.queued() {
			if !c.actor.Send(Message{Payload: []byte(payload)}) {
				t.Fatal("the outbox is full too soon")
			}
			sent = append(sent, payload)
			still = 0
		}
		still++
		return still > 20 && c.queued() == last
	})
	return sent
}

// Two close frames that cross are both answered by the other: nothing that is queued before ours is lost.
func TestCloseFramesCross(t *testing.T) { onAllWirings(t, testCloseFramesCross) }

func testCloseFramesCross(t *testing.T, w wiring) {
	n := w.newNode(t, Config{OutboxBytes: 16 << 20})
	c := n.connect(Birth{})
	sent := queue(t, c)
	c.actor.Close(CloseNormal, "ours")
	eventually(t, "our close frame is queued", c.shut)
	c.send(closeBit, code(CloseGoingAway, "theirs"))
	for _, payload := range sent {
		c.want(text, payload)
	}
	if reason := c.wantClose(CloseNormal); reason != "ours" {
		t.Errorf("the reason is %q", reason)
	}
	n.wantClosed(c, CloseNormal, "ours")
}

// Codes from 4400 on go out before data that waits, others behind it. What is on the wire in part is finished first.
func TestUrgentClose(t *testing.T) { onAllWirings(t, testUrgentClose) }

func testUrgentClose(t *testing.T, w wiring) {
	n := w.newNode(t, Config{OutboxBytes: 16 << 20})
	for _, tc := range []struct {
		code   CloseCode
		urgent bool
	}{{CloseNormal, false}, {4399, false}, {CloseBadCommand, true}, {CloseForbidden, true}} {
		c := n.connect(Birth{})
		sent := queue(t, c)
		for range 8 {
			c.actor.Send(Message{Payload: []byte(noise(0, 100<<10))})
		}
		c.actor.Close(tc.code, "")
		eventually(t, "the close frame is queued", c.shut)
		frames := 0
		for {
			b0, payload, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if b0 == closeBit {
				if payload != code(tc.code, "") {
					t.Errorf("the close frame has %q", payload)
				}
				break
			}
			frames++
		}
		if got, all := frames, len(sent)+8; tc.urgent == (got == all) {
			t.Errorf("%d: %d of %d frames came before the close frame", tc.code, got, all)
		}
		c.send(closeBit, "")
		c.wantEOF()
		n.wantClosed(c, tc.code, "")
	}
}

// Each fault has its code, on the wire and in the journal, and ends the connection with a FIN even when more comes.
func TestFaults(t *testing.T) { onWirings(t, testFaults) }

func testFaults(t *testing.T, w wiring) {
	n := w.newNode(t, Config{MessageBytes: testLimit})
	for _, tc := range readerCases {
		if tc.code == 0 {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			c := n.connect(Birth{Handler: script{}})
			c.write(frames(tc.in, masked(text, "more"), make([]byte, 10_000)))
			for range tc.want { // pings are answered, messages are not
				if strings.HasPrefix(tc.want[0], "ping:") {
					c.want(pong, tc.want[0][len("ping:"):])
				}
			}
			reason := c.wantClose(tc.code)
			n.wantClosed(c, tc.code, reason)
		})
	}
}

// A peer that goes on after its fault is not read for ever.
func TestLingerIsBounded(t *testing.T) { onWirings(t, testLingerIsBounded) }

func testLingerIsBounded(t *testing.T, w wiring) {
	n := w.newNode(t, Config{CloseTimeout: time.Hour})
	c := n.connect(Birth{})
	c.send(0xff, "")
	c.want(closeBit, code(1002, "a reserved bit is set and no extension was agreed on"))
	sent := 0
	for chunk := make([]byte, 16<<10); ; sent += len(chunk) {
		c.SetWriteDeadline(time.Now().Add(patience))
		if _, err := c.Write(chunk); err != nil {
			break
		}
		if sent > 1<<30 {
			t.Fatal("it reads for ever")
		}
	}
	if sent < lingerBytes {
		t.Errorf("cut off after %d bytes, want at least %d", sent, lingerBytes)
	}
	n.wantClosed(c, 1002, "a reserved bit is set and no extension was agreed on")
}

// A panic of a Handler closes its own connection with 1011, is counted, and disturbs nobody else.
func TestPanics(t *testing.T) { onAllWirings(t, testPanics) }

func testPanics(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	g := mustGroup(t, "g")
	other := n.connect(Birth{Handler: Broadcast, Groups: []session.Group{g}})
	boom := func() { panic("boom") }
	for i, tc := range []struct {
		name    string
		handler script
		start   func(c *client)
	}{
		{"Open", script{open: func(a *Actor) { a.Send(Message{Payload: []byte("never")}); boom() }}, func(*client) {}},
		{"Message", script{message: func(*Actor, Message) { boom() }}, func(c *client) { c.send(text, "x") }},
		{"Message, and more is sent", script{message: func(*Actor, Message) { boom() }}, func(c *client) {
			c.write(frames(masked(text, "x"), masked(text, strings.Repeat("y", 60_000)), masked(ping, "")))
		}},
		{"Do", script{}, func(c *client) { c.actor.Do(func(*Actor) { boom() }) }},
		{"Do with nil", script{}, func(c *client) { c.actor.Do(nil) }},
		{"Message that has joined", script{message: func(a *Actor, _ Message) {
			if err := a.Join(mustGroup(t, "other"), nil); err != nil {
				t.Error(err)
			}
			boom()
		}}, func(c *client) { c.write(frames(masked(begin, "x"), masked(contin, "y"))) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := n.connect(Birth{Handler: tc.handler, Groups: []session.Group{g}})
			tc.start(c)
			if reason := c.wantClose(CloseInternalError); reason != "internal error" {
				t.Errorf("the client is told %q", reason)
			}
			n.wantClosed(c, CloseInternalError, "a handler panicked")
			if v := n.value("fairlead_handler_panics_total", ""); v != float64(i+1) {
				t.Errorf("panics = %v, want %d", v, i+1)
			}
			eventually(t, "it is gone", func() bool { return n.Len() == 1 })
			other.send(text, tc.name)
			other.want(text, tc.name)
		})
	}
	if v := n.value("fairlead_closes_total", "1011"); v != 6 {
		t.Errorf("closes with 1011 = %v, want 6", v)
	}
}

// A panic in Handler.Close changes nothing about the end.
func TestPanicInClose(t *testing.T) { onWirings(t, testPanicInClose) }

func testPanicInClose(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	c := n.connect(Birth{Handler: script{close: func(*Actor, Closure) { panic("boom") }}})
	c.send(closeBit, code(1000, ""))
	c.wantClose(1000)
	n.wantClosed(c, 1000, "closed by the peer")
	if v := n.value("fairlead_handler_panics_total", ""); v != 1 {
		t.Errorf("panics = %v, want 1", v)
	}
	n.drained()
}

// A panic while our close frame waits for its answer ends the closing; one while the client does not read still says 1011.
func TestPanicWhileClosing(t *testing.T) { onWirings(t, testPanicWhileClosing) }

func testPanicWhileClosing(t *testing.T, w wiring) {
	n := w.newNode(t, Config{OutboxBytes: 16 << 20, CloseTimeout: time.Hour})
	c := n.connect(Birth{})
	c.actor.Close(CloseNormal, "bye")
	c.want(closeBit, code(CloseNormal, "bye"))
	c.actor.Do(func(*Actor) { panic("boom") })
	c.wantEOF()
	n.wantClosed(c, CloseInternalError, "a handler panicked")

	c = n.connect(Birth{})
	queue(t, c)
	c.actor.Do(func(*Actor) { panic("boom") })
	for {
		b0, payload, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if b0 == closeBit {
			if payload != code(CloseInternalError, "internal error") {
				t.Errorf("the close frame has %q", payload)
			}
			break
		}
	}
	c.wantEOF()
	n.wantClosed(c, CloseInternalError, "a handler panicked")
}
