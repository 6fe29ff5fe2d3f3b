//go:build linux && (amd64 || arm64)

package actor

import (
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeAndFIN writes b and ends our half of the connection; with cork, the FIN is in the last segment of the data.
func (c *client) writeAndFIN(b []byte, cork bool) {
	c.t.Helper()
	tcp := c.tcp()
	if cork {
		raw, err := tcp.SyscallConn()
		if err != nil {
			c.t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) })
		if err != nil {
			c.t.Fatal(err)
		}
	}
	c.write(b)
	if err := tcp.CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// heard is a Handler that keeps what it was told, and answers with it.
type heard struct {
	Handler
	messages []string // until Close
}

func (h *heard) Message(a *Actor, m Message) {
	h.messages = append(h.messages, string(m.Payload))
	h.Handler.Message(a, m)
}

// Data and the FIN may come as one edge of the poller: the data is heard, and the end is seen. No ghost is left. Over TCP
// the answers are out before the end is seen; over TLS a goroutine of their own writes them, and the end may be sooner.
func TestDataAndFINTogether(t *testing.T) { onWirings(t, testDataAndFINTogether) }

func testDataAndFINTogether(t *testing.T, w wiring) {
	n := w.newNode(t, Config{CloseTimeout: time.Hour, PingInterval: time.Hour})
	// Sizes of the whole that make the last read short, full, or empty.
	exact := strings.Repeat("x", readBufferSize-8)
	for i, rounds := 0, w.races(); i < rounds; i++ {
		h := &heard{Handler: Echo}
		var want []string
		c := n.connect(Birth{Handler: h})
		if i%3 == 0 { // it has parked before, for sure
			c.send(text, "first")
			c.want(text, "first")
			want = append(want, "first")
		}
		answered := func(payload string) {
			want = append(want, payload)
			if w == overTCP {
				c.want(text, payload)
			}
		}
		ends := func(frames ...string) {
			if w != overTCP {
				c.SetReadDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, c.r); err != nil {
					t.Fatalf("round %d: %v, want the orderly end of the connection", i, err)
				}
				c.Close()
				return
			}
			for _, f := range frames {
				c.want(closeBit, f)
			}
			c.wantEOF()
		}
		cork := i%2 == 0
		switch i % 7 {
		case 0:
			c.writeAndFIN(masked(text, "hello"), cork)
			answered("hello")
			ends()
		case 1:
			c.writeAndFIN(slices.Concat(masked(text, "hello"), masked(closeBit, code(1000, ""))), cork)
			answered("hello")
			ends(code(1000, ""))
		case 2:
			c.writeAndFIN(masked(text, exact), cork)
			answered(exact)
			ends()
		case 3:
			c.writeAndFIN(masked(text, exact[1:]), cork)
			answered(exact[1:])
			ends()
		case 4:
			c.writeAndFIN(slices.Concat(masked(text, exact+exact), masked(text, "tail")[:9]), cork)
			answered(exact + exact)
			ends()
		case 5:
			c.writeAndFIN([]byte{0xff, 0}, cork)
			ends(code(CloseProtocolError, "a reserved bit is set and no extension was agreed on"))
		case 6:
			c.writeAndFIN(masked(closeBit, ""), cork)
			ends("")
		}
		if end := c.ended(); end.Code == CloseAbnormal != (i%7 == 0 || i%7 == 2 || i%7 == 3 || i%7 == 4) {
			t.Fatalf("round %d: the handler was told %+v", i, end)
		}
		if !slices.Equal(h.messages, want) {
			t.Fatalf("round %d: %d messages were heard, want %d", i, len(h.messages), len(want))
		}
		eventually(t, "no ghost", func() bool { return n.Len() == 0 })
	}
}
