package actor

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// script is a Handler made of functions; one that is nil does nothing.
type script struct {
	open    func(*Actor)
	message func(*Actor, Message)
	close   func(*Actor, Closure)
}

func (s script) Open(a *Actor) {
	if s.open != nil {
		s.open(a)
	}
}

func (s script) Message(a *Actor, m Message) {
	if s.message != nil {
		s.message(a, m)
	}
}

func (s script) Close(a *Actor, c Closure) {
	if s.close != nil {
		s.close(a, c)
	}
}

// caught is a Handler that keeps the actor for the test, and how it ended.
type caught struct {
	Handler
	actor  *Actor
	closed chan Closure
}

func (h *caught) Open(a *Actor) {
	h.actor = a
	h.Handler.Open(a)
}

func (h *caught) Close(a *Actor, c Closure) {
	h.Handler.Close(a, c)
	h.closed <- c // two ends would block the second one for ever
}

// client is the other end of a connection. Its methods that fail the test are for the test's goroutine.
type client struct {
	net.Conn
	t       testing.TB
	r       *bufio.Reader
	wait    time.Duration // for each frame
	deflate bool          // permessage-deflate was agreed on
	actor   *Actor
	closed  <-chan Closure // what the Handler was told at the end
}

// mask is what clients mask with.
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// masked returns a frame of a client with that first byte.
func masked(b0 byte, payload string) []byte {
	f := appendFrame(nil, 0, []byte(payload))
	head := len(f) - len(payload)
	f[0] = b0
	f[1] |= maskBit
	f = slices.Insert(f, head, mask[:]...)
	ws.Cipher(f[head+4:], mask, 0)
	return f
}

const (
	text      = finBit | byte(ws.OpText)
	bin       = finBit | byte(ws.OpBinary)
	contin    = finBit | byte(ws.OpContinuation)
	ping      = finBit | byte(ws.OpPing)
	pong      = finBit | byte(ws.OpPong)
	closeBit  = finBit | byte(ws.OpClose)
	begin     = byte(ws.OpText)         // of a fragmented text
	beginBin  = byte(ws.OpBinary)       // of a fragmented binary message
	contBegin = byte(ws.OpContinuation) // neither the first nor the last fragment
)

// code returns the payload of a close frame.
func code(c CloseCode, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(c))) + reason
}

func (c *client) write(b []byte) {
	c.t.Helper()
	c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) send(b0 byte, payload string) {
	c.t.Helper()
	if c.deflate && (b0 == text || b0 == bin) {
		b0, payload = b0|rsv1, pack(payload)
	}
	c.write(masked(b0, payload))
}

// next reads a frame. The server's frames are final and not masked.
func (c *client) next() (b0 byte, payload string, err error) {
	c.SetReadDeadline(time.Now().Add(c.wait))
	h, err := ws.ReadHeader(c.r)
	if err != nil {
		return 0, "", err
	}
	packed := c.deflate && isData(h.OpCode) && h.Rsv == rsv1>>4
	if !h.Fin || h.Rsv != 0 && !packed || h.Masked {
		return 0, "", fmt.Errorf("a server must not send the header %+v", h)
	}
	p := make([]byte, h.Length)
	_, err = io.ReadFull(c.r, p)
	if packed && err == nil {
		p, err = unpack(p)
	}
	return finBit | byte(h.OpCode), string(p), err
}

// pack compresses a message as RFC 7692 section 7.2.1 says, by another library than the server's.
func pack(payload string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err == nil {
		_, err = io.WriteString(w, payload)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		panic(err) // a buffer in memory
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// unpack undoes pack.
func unpack(p []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
}

func (c *client) want(b0 byte, payload string) {
	c.t.Helper()
	got, p, err := c.next()
	if err != nil || got != b0 || p != payload {
		c.t.Fatalf("got %#x %.200q, %v; want %#x %.200q", got, p, err, b0, payload)
	}
}

// wantClose wants a close frame with the code and then the orderly end of the connection, and nothing between the two.
func (c *client) wantClose(want CloseCode) (reason string) {
	c.t.Helper()
	got, p, err := c.next()
	if err != nil || got != closeBit || len(p) < 2 || CloseCode(binary.BigEndian.Uint16([]byte(p))) != want {
		c.t.Fatalf("got %#x %.200q, %v; want a close frame with %d", got, p, err, want)
	}
	c.wantEOF()
	return p[2:]
}

// wantEOF wants the orderly end of the connection, and ends it for its part.
func (c *client) wantEOF() {
	c.t.Helper()
	defer c.Close()
	if b0, p, err := c.next(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("got %#x %.200q, %v; want the orderly end of the connection", b0, p, err)
	}
}

// ended waits for the end of the actor, and returns what the Handler was told.
func (c *client) ended() Closure {
	c.t.Helper()
	select {
	case end := <-c.closed:
		return end
	case <-time.After(patience):
		stacks := make([]byte, 1<<20)
		c.t.Fatalf("the actor does not end\n%s", stacks[:runtime.Stack(stacks, true)])
		panic("unreachable")
	}
}

// shut reports whether the actor sends nothing any more.
func (c *client) shut() bool {
	c.actor.mu.Lock()
	defer c.actor.mu.Unlock()
	return c.actor.shut
}

// queued returns what the outbox costs.
func (c *client) queued() int {
	c.actor.mu.Lock()
	defer c.actor.mu.Unlock()
	if c.actor.out == nil {
		return 0
	}
	return c.actor.out.bytes
}
