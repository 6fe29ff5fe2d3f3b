//go:build linux && (amd64 || arm64)

package actor

import (
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeAndFIN writes b and ends our half of the connection; with cork, the FIN is in the last segment of the data.
func (c *client) writeAndFIN(b []byte, cork bool) {
	c.t.Helper()
	tcp := c.Conn.(*net.TCPConn)
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

// Data and the FIN may come as one edge of the poller: the data is answered, and the end is seen. No ghost is left.
func TestDataAndFINTogether(t *testing.T) {
	n := newNode(t, Config{CloseTimeout: time.Hour, PingInterval: time.Hour})
	// Sizes of the whole that make the last read short, full, or empty.
	exact := strings.Repeat("x", readBufferSize-8)
	for i, rounds := 0, races(); i < rounds; i++ {
		c := n.connect(Birth{Handler: Echo})
		if i%3 == 0 { // it has parked before, for sure
			c.send(text, "first")
			c.want(text, "first")
		}
		cork := i%2 == 0
		switch i % 7 {
		case 0:
			c.writeAndFIN(masked(text, "hello"), cork)
			c.want(text, "hello")
			c.wantEOF()
		case 1:
			c.writeAndFIN(slices.Concat(masked(text, "hello"), masked(closeBit, code(1000, ""))), cork)
			c.want(text, "hello")
			c.want(closeBit, code(1000, ""))
			c.wantEOF()
		case 2:
			c.writeAndFIN(masked(text, exact), cork)
			c.want(text, exact)
			c.wantEOF()
		case 3:
			c.writeAndFIN(masked(text, exact[1:]), cork)
			c.want(text, exact[1:])
			c.wantEOF()
		case 4:
			c.writeAndFIN(slices.Concat(masked(text, exact+exact), masked(text, "tail")[:9]), cork)
			c.want(text, exact+exact)
			c.wantEOF()
		case 5:
			c.writeAndFIN([]byte{0xff, 0}, cork)
			c.wantClose(CloseProtocolError)
		case 6:
			c.writeAndFIN(masked(closeBit, ""), cork)
			c.want(closeBit, "")
			c.wantEOF()
		}
		if end := c.ended(); end.Code == CloseAbnormal != (i%7 == 0 || i%7 == 2 || i%7 == 3 || i%7 == 4) {
			t.Fatalf("round %d: the handler was told %+v", i, end)
		}
		eventually(t, "no ghost", func() bool { return n.Len() == 0 })
	}
}
