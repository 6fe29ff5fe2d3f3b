//go:build linux && (amd64 || arm64)

package actor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// stalled opens a connection whose client has little room and does not read.
func (n *node) stalled(b Birth) *client {
	n.t.Helper()
	ours, theirs := n.pair()
	if err := theirs.SetReadBuffer(4 << 10); err != nil {
		n.t.Fatal(err)
	}
	return n.connectBy(ours, theirs, b)
}

// sockets returns how many of the clients' connections the kernel still has the server's end of.
func sockets(t testing.TB, clients ...*client) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	address := func(a net.Addr) string { return fmt.Sprintf("0100007F:%04X", a.(*net.TCPAddr).Port) }
	for _, c := range clients {
		if bytes.Contains(table, []byte(address(c.RemoteAddr())+" "+address(c.LocalAddr())+" ")) {
			n++
		}
	}
	return n
}

// wantReset reads to the end, which is a reset, and wants the kernel to have forgotten the server's end. It returns when
// the reset was there: reading the kernel's table takes long where there are many sockets.
func (c *client) wantReset() (at time.Time) {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c.r); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("the client reads on until %v, want a reset", err)
	}
	at = time.Now()
	if sockets(c.t, c) != 0 {
		c.t.Error("the kernel still has the socket")
	}
	return at
}

// A client that does not read is cut off when its outbox is full: with 1013, at once, and its socket goes. Nobody waits for
// it: the others have got everything when it is cut off, and go on.
func TestSlowReaderOutboxFull(t *testing.T) { onAllWirings(t, testSlowReaderOutboxFull) }

func testSlowReaderOutboxFull(t *testing.T, w wiring) {
	n := w.newNode(t, Config{OutboxBytes: 256 << 10})
	g := mustGroup(t, "g")
	slow := n.stalled(Birth{Groups: []session.Group{g}})
	others := []*client{n.connect(Birth{Groups: []session.Group{g}}), n.connect(Birth{Groups: []session.Group{g}})}
	payload := func(i int) string { return fmt.Sprint(i) + noise(i, 10_000) }
	sent := 0
	for ; len(slow.closed) == 0; sent++ {
		if sent > 1000 {
			t.Fatal("it is never cut off")
		}
		if err := n.bus.Publish(bus.Message{Group: g, Payload: []byte(payload(sent))}, nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range others {
			c.want(text, payload(sent))
		}
	}
	start := time.Now()
	if took := slow.wantReset().Sub(start); took > time.Second {
		t.Errorf("its socket was there for %v more", took)
	}
	if sent > 100 {
		t.Errorf("it was cut off after %d MB, with an outbox of 256 KB", sent/100)
	}
	if got, want := slow.ended(), (Closure{CloseTryAgainLater, "the client reads too slowly: its outbox is full", false}); got != want {
		t.Errorf("the handler was told %+v, want %+v", got, want)
	}
	n.wantClosed(slow, CloseTryAgainLater, "the client reads too slowly: its outbox is full")
	if full, timeout := n.value("fairlead_slow_closes_total", "outbox_full"), n.value("fairlead_slow_closes_total", "write_timeout"); full != 1 || timeout != 0 {
		t.Errorf("slow_closes = %v and %v, want 1 and 0", full, timeout)
	}
	others[0].send(ping, "still here")
	others[0].want(pong, "still here")
}

// A client that does not read is cut off when one write has waited for WriteTimeout.
func TestSlowReaderWriteTimeout(t *testing.T) { onAllWirings(t, testSlowReaderWriteTimeout) }

func testSlowReaderWriteTimeout(t *testing.T, w wiring) {
	const timeout = 200 * time.Millisecond
	n := w.newNode(t, Config{OutboxBytes: 64 << 20, WriteTimeout: timeout})
	slow := n.stalled(Birth{})
	start := time.Now()
	for payload, sent := []byte(noise(0, 64<<10)), 0; sent < 32<<20; sent += len(payload) { // more than the sockets take
		if !slow.actor.Send(Message{Payload: payload}) {
			break // it is cut off already: the machine is busy
		}
	}
	slow.ended()
	if took := time.Since(start); took < timeout { // how much longer is up to the machine
		t.Errorf("it was cut off after %v, want %v", took, timeout)
	}
	slow.wantReset()
	n.wantClosed(slow, CloseTryAgainLater, "the client reads too slowly: a write timed out")
	if full, timeout := n.value("fairlead_slow_closes_total", "outbox_full"), n.value("fairlead_slow_closes_total", "write_timeout"); full != 0 || timeout != 1 {
		t.Errorf("slow_closes = %v and %v, want 0 and 1", full, timeout)
	}
}

// While a client is slow but not too slow, others get all at once, and it gets all in the end: whole frames, in order,
// however its reads and our partial writes fall, with pongs in between.
func TestSlowReaderGetsAll(t *testing.T) { onAllWirings(t, testSlowReaderGetsAll) }

func testSlowReaderGetsAll(t *testing.T, w wiring) {
	n := w.newNode(t, Config{OutboxBytes: 64 << 20, WriteTimeout: time.Hour, PingInterval: time.Hour})
	g := mustGroup(t, "g")
	slow := n.connect(Birth{Groups: []session.Group{g}}) // a small window would let the two kernels wait for each other
	quick := n.connect(Birth{Groups: []session.Group{g}})
	random := rand.New(rand.NewPCG(7, 7))
	var want [][]byte
	for i, total := 0, 0; total < 12<<20; i++ {
		p := []byte(noise(i, 7+7*random.IntN(1<<random.IntN(15))))
		want = append(want, p)
		total += len(p)
		eventually(t, "the shard of the slow one has room", func() bool {
			err := n.bus.Publish(bus.Message{Group: g, Payload: p}, nil)
			if err != nil && !errors.Is(err, bus.ErrBusy) {
				t.Fatal(err)
			}
			return err == nil
		})
		quick.want(text, string(p))
		if i%8 == 0 {
			slow.send(ping, fmt.Sprint("ping ", i))
		}
	}
	if n.value("fairlead_outbox_bytes", "") < 4<<20 {
		t.Errorf("outbox_bytes = %v: the slow client is not slow", n.value("fairlead_outbox_bytes", ""))
	}
	slow.r.Reset(&sips{slow.Conn, random})
	pongs := 0
	for i := 0; i < len(want); {
		b0, p, err := slow.next()
		switch {
		case err != nil:
			t.Fatal(err)
		case b0 == pong && strings.HasPrefix(p, "ping "):
			pongs++
		case b0 != text || p != string(want[i]):
			t.Fatalf("message %d is %#x %.50q with %d bytes, want %d bytes", i, b0, p, len(p), len(want[i]))
		default:
			i++
		}
	}
	if pongs == 0 {
		t.Error("no ping was answered")
	}
	eventually(t, "the outbox is empty", func() bool { return n.value("fairlead_outbox_bytes", "") == 0 })
	slow.send(closeBit, code(1000, ""))
	slow.wantClose(1000)
}

// sips reads little at a time.
type sips struct {
	io.Reader
	random *rand.Rand
}

func (s *sips) Read(p []byte) (int, error) {
	return s.Reader.Read(p[:min(len(p), 1+s.random.IntN(4000))])
}

// What stalled clients cost is bounded, in this process and in the kernel, and comes back.
func TestSlowReaderMemory(t *testing.T) { onAllWirings(t, testSlowReaderMemory) }

func testSlowReaderMemory(t *testing.T, w wiring) {
	const clients, outbox = 40, 128 << 10
	block := []byte(noise(0, 4<<10))
	n := w.newNode(t, Config{OutboxBytes: outbox, WriteTimeout: time.Hour})
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // what pools held
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	stalled := make([]*client, clients)
	var accepted int
	for i := range stalled {
		c := n.stalled(Birth{})
		stalled[i] = c
		sent := 0
		for c.queued() < outbox-16<<10 {
			if !c.actor.Send(Message{Payload: block}) {
				t.Fatal("it is cut off before its outbox is full")
			}
			if sent += 4 << 10; sent > 16<<20 {
				t.Fatal("the kernel takes all")
			}
		}
		accepted += sent - c.queued()
	}
	if held := int(heap() - before); held > clients*(outbox+64<<10) {
		t.Errorf("%d stalled clients hold %d KiB each, with an outbox of %d KiB", clients, held/clients>>10, outbox>>10)
	}
	if sockets(t, stalled...) != clients {
		t.Error("the kernel's table does not show the sockets")
	}
	if accepted/clients > 256<<10 {
		t.Errorf("the kernel took %d KiB of each", accepted/clients>>10)
	}
	for _, c := range stalled { // now each is cut off
		for c.actor.Send(Message{Payload: block}) {
		}
	}
	n.drained()
	if v := n.value("fairlead_slow_closes_total", "outbox_full"); v != clients {
		t.Errorf("slow_closes = %v, want %d", v, clients)
	}
	if left := sockets(t, stalled...); left != 0 {
		t.Errorf("the kernel has %d sockets of clients that were cut off", left)
	}
	if after := heap(); after > before+2<<20 {
		t.Errorf("%d KiB are left", (after-before)>>10)
	}
}
