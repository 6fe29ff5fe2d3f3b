//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The limits of these tests, and the messages that they send.
const (
	stalledOutbox  = 256 << 10
	stalledTimeout = 2 * time.Second
	stalledConfig  = "\n[limits]\noutbox_bytes = 262144\nwrite_timeout = \"2s\"\n" + jwtRoutes
	bigMessage     = 16 << 10
)

// stall connects a client with a small receive buffer that never reads a byte behind the handshake.
func stall(t *testing.T, n *node, group string) net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		}); cerr != nil {
			return cerr
		}
		return err
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := handshake(ctx, d, n.public, "/ws/"+group+"?token="+token(t, "stalled"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// serverSockets looks for the server's ends of clients' connections in the kernel's table, in whatever state they are. It
// returns how many there are, and the most bytes that wait in one's send queue.
func serverSockets(t *testing.T, clients ...net.Conn) (there, queued int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	address := func(a net.Addr) string { // as the table writes it: the address in the machine's order
		ap := netip.MustParseAddrPort(a.String())
		ip := ap.Addr().As4()
		return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip[:]), ap.Port())
	}
	for _, c := range clients {
		_, rest, ok := bytes.Cut(table, []byte(" "+address(c.RemoteAddr())+" "+address(c.LocalAddr())+" "))
		if !ok {
			continue
		}
		there++
		var state, send, receive int
		if _, err := fmt.Fscanf(bytes.NewReader(rest), "%x %x:%x", &state, &send, &receive); err != nil {
			t.Fatalf("/proc/net/tcp: %.60q: %v", rest, err)
		}
		queued = max(queued, send)
	}
	return there, queued
}

// talk sends one big message, numbered, and fails the test unless the listener has it within a second.
func talk(t *testing.T, from, to *client, number int) {
	t.Helper()
	head := fmt.Sprintf("%d ", number)
	from.send(t, head+strings.Repeat("x", bigMessage-len(head)))
	eventually(t, time.Second, func() error {
		if got := to.received(); len(got) > 0 && strings.HasPrefix(got[len(got)-1], head) {
			return nil
		}
		return fmt.Errorf("a member that reads waits for message %d", number)
	})
	forget(from, to)
}

// TestStalledReadersAreCutWhenFull: clients that stop reading are cut once their outbox is full. The others do not
// notice, and the node holds no more than the bound for each.
func TestStalledReadersAreCutWhenFull(t *testing.T) {
	const count = 20
	n := startNode(t, strings.Replace(stalledConfig, `"2s"`, `"1m"`, 1))
	from, to := dial(t, n.public, "/ws/app_1?token="+token(t, "1")), dial(t, n.public, "/ws/app_1?token="+token(t, "2"))
	var stalled []net.Conn
	for range count {
		stalled = append(stalled, stall(t, n, "app_1"))
	}
	meet(t, 5*time.Second, from, to)
	before := n.resident(t)

	// Far more than the outbox and what the kernel takes: 256 KiB and about 64 KiB.
	const enough = 4 * stalledOutbox / bigMessage
	left := func() int {
		there, queued := serverSockets(t, stalled...)
		if queued > stalledOutbox {
			t.Fatalf("the kernel holds %d bytes for one client", queued)
		}
		return there
	}
	sent := 0
	for ; sent < enough && left() == count; sent++ {
		talk(t, from, to, sent)
	}
	if sent*bigMessage < stalledOutbox {
		t.Errorf("cut after %d bytes, the outbox has room for %d", sent*bigMessage, stalledOutbox)
	}
	if grown := n.resident(t) - before; grown > count*stalledOutbox+16<<20 {
		t.Errorf("the node grew by %d KiB for %d stalled clients with %d KiB each", grown>>10, count, stalledOutbox>>10)
	}
	for ; sent < enough; sent++ { // all are over their bound by now
		talk(t, from, to, sent)
	}
	eventually(t, time.Second, func() error {
		if there := left(); there > 0 {
			return fmt.Errorf("%d of %d sockets are still there", there, count)
		}
		return nil
	})
	for _, c := range []*client{from, to} {
		if err := c.open(); err != nil {
			t.Error(err)
		}
	}
	if got := n.metric(t, "fairlead_slow_closes_total"); got != count {
		t.Errorf("fairlead_slow_closes_total is %v, want %d", got, count)
	}
	eventually(t, time.Second, func() error {
		if got := n.metric(t, "fairlead_connections"); got != 2 {
			return fmt.Errorf("fairlead_connections is %v, want 2", got)
		}
		return nil
	})
}

// TestStalledReaderIsCutInTime: a client that stops reading is cut when a write to it has waited for write_timeout, even
// if its outbox has room, and its socket is gone within a second more.
func TestStalledReaderIsCutInTime(t *testing.T) {
	n := startNode(t, stalledConfig)
	from, to := dial(t, n.public, "/ws/app_1?token="+token(t, "1")), dial(t, n.public, "/ws/app_1?token="+token(t, "2"))
	stalled := stall(t, n, "app_1")
	meet(t, 5*time.Second, from, to)

	begin := time.Now()
	for i := range 12 { // 192 KiB: more than the kernel takes, less than the outbox
		talk(t, from, to, i)
	}
	blocked := time.Now()
	var seen, look time.Time // when the last look began that still found the socket, and the last of all
	eventually(t, stalledTimeout+10*time.Second, func() error {
		look = time.Now()
		if there, _ := serverSockets(t, stalled); there > 0 {
			seen = look
			return fmt.Errorf("the socket is still there")
		}
		return nil
	})
	if early := time.Since(begin); early < stalledTimeout {
		t.Errorf("cut %v after the first message, write_timeout is %v", early, stalledTimeout)
	}
	if late := seen.Sub(blocked); late > stalledTimeout+time.Second {
		t.Errorf("the socket was there %v after the last message, want at most write_timeout and a second: %v", late, stalledTimeout+time.Second)
	}
	t.Logf("the socket was gone between %v and %v after the last message", seen.Sub(blocked), look.Sub(blocked))
	talk(t, from, to, 99)
	if got := n.metric(t, "fairlead_slow_closes_total"); got != 1 {
		t.Errorf("fairlead_slow_closes_total is %v, want 1", got)
	}
}
