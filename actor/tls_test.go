package actor

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// corked is a connection whose writes, but for the first ones, wait for each other.
type corked struct {
	net.Conn
	pass    int
	waiting []byte
}

func (c *corked) Write(p []byte) (int, error) {
	if c.pass > 0 {
		c.pass--
		return c.Conn.Write(p)
	}
	c.waiting = append(c.waiting, p...)
	return len(p), nil
}

// What comes in one segment with the end of the TLS handshake is heard: the TLS layer has it, and the socket has nothing.
func TestDataWithTheTLSHandshake(t *testing.T) {
	n := newNode(t, Config{})
	ours, theirs := n.pair()
	cork := &corked{Conn: theirs, pass: 1} // the hello
	server, client := NewTLSConn(ours, serverTLS()), tls.Client(cork, clientTLS())
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"one", "two"} {
		if _, err := client.Write(masked(text, m)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := theirs.Write(cork.waiting); err != nil {
		t.Fatal(err)
	}
	cork.pass = 1 << 30
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	c := n.connectBy(server, client, Birth{Handler: Echo})
	c.want(text, "one")
	c.want(text, "two")
	c.send(closeBit, "")
	c.want(closeBit, "")
	c.wantEOF()
}

// Clients may speak TLS 1.2.
func TestTLS12(t *testing.T) {
	n := newNode(t, Config{})
	ours, theirs := n.pair()
	config := clientTLS()
	config.MaxVersion = tls.VersionTLS12
	server, client := NewTLSConn(ours, serverTLS()), tls.Client(theirs, config)
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	c := n.connectBy(server, client, Birth{Handler: Echo})
	c.send(text, "hello")
	c.want(text, "hello")
}

// drip is a connection whose writes go out byte by byte, as segments of their own.
type drip struct{ net.Conn }

func (d drip) Write(p []byte) (n int, err error) {
	for ; n < len(p) && err == nil; n++ {
		_, err = d.Conn.Write(p[n : n+1])
	}
	return n, err
}

// Records that come in pieces are put together, and commands reach an actor that has half a record.
func TestPartialRecords(t *testing.T) {
	n := overTLS.newNode(t, Config{})
	ours, theirs := n.pair()
	server, client := shakeHands(t, ours, drip{theirs})
	c := n.connectBy(server, client, Birth{Handler: Echo})
	for _, m := range []string{"", "hello", strings.Repeat("x", 3000)} {
		c.send(text, m)
		c.want(text, m)
	}
	if _, err := theirs.Write([]byte{23, 3, 3, 0, 32, 0}); err != nil { // the begin of a record
		t.Fatal(err)
	}
	c.actor.Close(CloseForbidden, "")
	c.want(closeBit, code(CloseForbidden, ""))
}

// wiretap keeps what is read from a connection.
type wiretap struct {
	net.Conn
	mu   sync.Mutex
	read bytes.Buffer
}

func (w *wiretap) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read.Write(p[:n])
	return n, err
}

// lastRecord returns the type of the last record of TLS that was read.
func (w *wiretap) lastRecord(t *testing.T) (kind byte) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for b := w.read.Bytes(); len(b) > 0; {
		if len(b) < 5 || len(b) < 5+int(b[3])<<8+int(b[4]) {
			t.Fatalf("the last record is cut off: %d bytes", len(b))
		}
		kind, b = b[0], b[5+int(b[3])<<8+int(b[4]):]
	}
	return kind
}

const recordAlert = 21 // RFC 5246 section 6.2.1

// An orderly end is one of TLS too, also behind a client that was slow.
func TestCloseNotify(t *testing.T) {
	n := newNode(t, Config{OutboxBytes: 16 << 20})
	for name, slow := range map[string]bool{"quick": false, "slow": true} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := n.pair()
			tap := &wiretap{Conn: theirs}
			server, client := NewTLSConn(ours, serverTLS()), tls.Client(tap, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
			shaken := make(chan error, 1)
			go func() { shaken <- client.Handshake() }()
			if err := errors.Join(server.Handshake(), <-shaken); err != nil {
				t.Fatal(err)
			}
			c := n.connectBy(server, client, Birth{Handler: Echo})
			if slow {
				queue(t, c)
			}
			c.send(closeBit, code(1000, ""))
			for b0 := byte(0); b0 != closeBit; {
				var err error
				if b0, _, err = c.next(); err != nil {
					t.Fatal(err)
				}
			}
			c.wantEOF()
			if kind := tap.lastRecord(t); kind != recordAlert {
				t.Errorf("the last record is of type %d, want an alert", kind)
			}
		})
	}
}

// Bytes that are no record end the connection, and the peer is told.
func TestBrokenRecord(t *testing.T) {
	n := overTLS.newNode(t, Config{})
	c := n.connect(Birth{Handler: Echo})
	eventually(t, "the writer of the response has ended", func() bool {
		c.actor.mu.Lock()
		defer c.actor.mu.Unlock()
		return c.actor.out == nil
	})
	if _, err := c.tcp().Write(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...)); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
		t.Errorf("the client reads %v, want the alert", err)
	}
	n.wantClosed(c, CloseAbnormal, "the connection was lost")
}

// What the TLS layer says of itself waits for the next write, and is bounded.
func TestWireIsBounded(t *testing.T) {
	w := &wire{detached: true}
	for range maxHeldBack {
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, errHeldBack) {
		t.Errorf("Write = %v, want errHeldBack", err)
	}
	room := make([]byte, 0, recordsRoom)
	w.lend(room)
	if n, err := w.Write(make([]byte, recordBytes)); n != recordBytes || err != nil {
		t.Errorf("a writer's Write = %d, %v", n, err)
	}
	if b := w.take(); len(b) != maxHeldBack+recordBytes || b[0] != 'x' || b[maxHeldBack] != 0 {
		t.Errorf("there are %d bytes to be sent", len(b))
	}
	w.drop()
	w.lend(room)
	if _, err := io.WriteString(w, "given up"); err != nil {
		t.Fatal(err)
	}
	w.drop()
	if b := w.take(); len(b) != 0 {
		t.Errorf("%q is left of a write that was given up", b)
	}
}
