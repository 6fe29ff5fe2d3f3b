package actor

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// onTransports runs f with each transport and the peer's end of its connection.
func onTransports(t *testing.T, f func(t *testing.T, tr transport, peer net.Conn)) {
	n := newNode(t, Config{})
	for _, name := range []string{"socket", "secure", "stream over TCP", "stream over TLS", "stream over a pipe"} {
		t.Run(name, func(t *testing.T) {
			var tr transport
			var peer net.Conn
			switch name {
			case "stream over a pipe":
				ours, theirs := net.Pipe()
				tr, peer = newTransport(ours), theirs
			case "socket":
				ours, theirs := n.pair()
				tr, peer = newTransport(ours), theirs
			case "secure":
				ours, theirs := n.pair()
				server, client := shakeHands(t, ours, theirs)
				tr, peer = newTransport(server), client
				if l, ok := tr.(layered); ok {
					l.begin()
				}
			case "stream over TLS":
				ours, theirs := n.pair()
				server, client := shakeHands(t, ours, theirs)
				tr, peer = &stream{conn: server, wake: make(chan struct{}, 1)}, client
			default:
				ours, theirs := n.pair()
				tr, peer = &stream{conn: ours, wake: make(chan struct{}, 1)}, theirs
			}
			defer peer.Close()
			defer tr.close(false)
			peer.SetDeadline(time.Now().Add(patience))
			f(t, tr, peer)
		})
	}
}

// Whoever is parked is woken by interrupt, also by one that came before; setReadDeadline undoes it, and no data is lost.
func TestInterrupt(t *testing.T) {
	onTransports(t, func(t *testing.T, tr transport, peer net.Conn) {
		for i := range 200 {
			if i%2 == 0 {
				tr.interrupt()
			} else {
				go tr.interrupt()
			}
			var err error
			if i%3 == 0 {
				err = tr.pause()
			} else {
				_, err = tr.read()
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("round %d: %v, want os.ErrDeadlineExceeded", i, err)
			}
			if _, err := tr.read(); !errors.Is(err, os.ErrDeadlineExceeded) { // it lasts
				t.Fatalf("round %d, again: %v, want os.ErrDeadlineExceeded", i, err)
			}
			tr.interrupt() // and is not counted
			tr.setReadDeadline(time.Time{})
			written := make(chan error, 1)
			go func() { _, err := peer.Write([]byte("hello")); written <- err }()
			buf, err := tr.read()
			if err != nil || string(buf.bytes()) != "hello" {
				t.Fatalf("round %d: %v", i, err)
			}
			readBuffers.Put(buf)
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		tr.setReadDeadline(start.Add(20 * time.Millisecond))
		if _, err := tr.read(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) < 20*time.Millisecond {
			t.Errorf("read with a deadline = %v after %v", err, time.Since(start))
		}
	})
}

// What does not fit into one buffer comes with the next; then comes the end.
func TestReadToTheEnd(t *testing.T) {
	onTransports(t, func(t *testing.T, tr transport, peer net.Conn) {
		sent := strings.Repeat("0123456789", 1234)
		go func() { _, _ = io.WriteString(peer, sent); peer.Close() }() // reading says what arrived
		var got []byte
		for {
			buf, err := tr.read()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("the end is %v, want io.EOF", err)
				}
				break
			}
			got = append(got, buf.bytes()...)
			readBuffers.Put(buf)
		}
		if string(got) != sent {
			t.Errorf("%d bytes came, want %d", len(got), len(sent))
		}
	})
}

// writeAll writes all, or waits until its deadline; write does not wait.
func TestWriteDeadline(t *testing.T) {
	onTransports(t, func(t *testing.T, tr transport, peer net.Conn) {
		head := []byte("head")
		n, err := tr.write(head)
		if err != nil {
			t.Fatal(err)
		}
		rest := append(head[n:], bytes.Repeat([]byte("x"), 100_000)...)
		got := make(chan []byte, 1)
		go func() {
			b := make([]byte, 100_004)
			_, _ = io.ReadFull(peer, b)
			got <- b
		}()
		if err := tr.writeAll(rest, time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if b := <-got; string(b[:5]) != "headx" || b[100_003] != 'x' {
			t.Errorf("the peer got %.10q", b)
		}
		start := time.Now()
		big := make([]byte, 32<<20)
		if n, err := tr.write(big); err != nil || n == len(big) {
			t.Errorf("write = %d, %v; the peer does not read", n, err)
		}
		if err := tr.writeAll(big, time.Now().Add(20*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > patience {
			t.Errorf("writeAll = %v after %v, want os.ErrDeadlineExceeded", err, time.Since(start))
		}
	})
}

// Writing to a peer that is gone is an error, and no signal; so is reading.
func TestPeerIsGone(t *testing.T) {
	onTransports(t, func(t *testing.T, tr transport, peer net.Conn) {
		if tcp, ok := netConn(peer).(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		netConn(peer).Close()
		if _, err := tr.read(); err == nil {
			t.Error("read from a peer that is gone gives no error")
		}
		eventually(t, "writing fails", func() bool { return tr.writeAll([]byte("x"), time.Now().Add(patience)) != nil })
		if _, direct := tr.(interface{ descriptor() int32 }); !direct {
			return // its write says nothing
		}
		if _, err := tr.write([]byte("x")); err == nil {
			t.Error("write to a peer that is gone gives no error")
		}
	})
}

// closeWrite ends our half alone where that can be; close ends all, with reset at once.
func TestCloseHalves(t *testing.T) {
	onTransports(t, func(t *testing.T, tr transport, peer net.Conn) {
		tr.closeWrite()
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the peer reads %v, want io.EOF", err)
		}
		if _, ok := netConn(peer).(*net.TCPConn); !ok {
			return
		}
		if _, err := peer.Write([]byte("still")); err != nil {
			t.Fatal(err)
		}
		buf, err := tr.read()
		if err != nil || string(buf.bytes()) != "still" {
			t.Fatalf("read = %v behind closeWrite", err)
		}
		readBuffers.Put(buf)
	})
	n := newNode(t, Config{})
	ours, theirs := n.pair()
	defer theirs.Close()
	tr := newTransport(ours)
	if _, err := tr.write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	tr.close(true)
	theirs.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(theirs); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads %v, want a reset", err)
	}
}

// A write of nothing through a pipe is a read of nothing: no end, no error, and nothing to handle.
func TestEmptyRead(t *testing.T) {
	n := newNode(t, Config{})
	c := n.connectPipe(Birth{Handler: Echo})
	for range 3 {
		c.write(nil)
		c.send(text, "x")
		c.want(text, "x")
	}
}
