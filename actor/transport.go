package actor

import (
	"net"
	"os"
	"sync"
	"time"
)

// transport is a connection as an actor uses it. read, pause, setReadDeadline and close are for the actor's goroutine
// alone; write is called under the actor's mu and never after close; writeAll is for one goroutine at a time.
type transport interface {
	// read parks until bytes have come, and returns them in a buffer from the pool, which the caller gives back. Errors:
	// io.EOF, os.ErrDeadlineExceeded (maybe wrapped) after interrupt, or what the network says.
	read() (*readBuffer, error)
	// pause parks without reading until the read deadline has passed. It always returns an error.
	pause() error
	// write sends what can be sent without waiting, and returns how much that was. Any error ends the connection.
	write(p []byte) (int, error)
	// writeAll sends all of p, and waits until the deadline at most.
	writeAll(p []byte, deadline time.Time) error
	// interrupt makes read and pause return os.ErrDeadlineExceeded, now or when they are called next. Any goroutine.
	interrupt()
	// setReadDeadline also undoes interrupt, with the zero time.
	setReadDeadline(t time.Time)
	// closeWrite tells the peer that nothing more comes. Any goroutine, under the actor's mu.
	closeWrite()
	// close ends the connection; with reset at once, so that nothing that is unsent stays in the kernel.
	close(reset bool)
}

// layered is a transport that reads through a TLS layer.
type layered interface {
	// begin takes the connection over from whoever shook hands on it. It is called once, before all else but interrupt.
	begin()
}

// past is a deadline that has passed: it wakes whoever is parked.
var past = time.Unix(1, 0)

// readBufferSize is what one read takes at most.
const readBufferSize = 4 << 10

// readBuffer is a buffer of the pool that all actors share: a parked actor has none.
type readBuffer struct {
	b [readBufferSize]byte
	n int
}

func (r *readBuffer) bytes() []byte { return r.b[:r.n] }

var readBuffers = sync.Pool{New: func() any { return new(readBuffer) }}

// newTransport returns the fastest transport for conn.
func newTransport(conn net.Conn) transport {
	if t, ok := newSecure(conn); ok {
		return t
	}
	if t, ok := newSocket(conn); ok {
		return t
	}
	return &stream{conn: conn, wake: make(chan struct{}, 1)}
}

// stream is a transport over any net.Conn. It holds a buffer while it is parked, and every write is one of the temporary
// writer's: use it where there is no descriptor to write to (net.Pipe, other platforms).
type stream struct {
	conn net.Conn
	wake chan struct{} // one token: interrupted
}

func (s *stream) read() (*readBuffer, error) {
	buf := readBuffers.Get().(*readBuffer)
	for {
		n, err := s.conn.Read(buf.b[:])
		switch {
		case n > 0:
			buf.n = n
			return buf, nil
		case err != nil:
			readBuffers.Put(buf)
			return nil, err
		}
	}
}

func (s *stream) pause() error {
	<-s.wake
	return os.ErrDeadlineExceeded
}

func (s *stream) write([]byte) (int, error) { return 0, nil }

func (s *stream) writeAll(p []byte, deadline time.Time) error {
	_ = s.conn.SetWriteDeadline(deadline) // fails when writing does
	_, err := s.conn.Write(p)
	return err
}

func (s *stream) interrupt() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
	_ = s.conn.SetReadDeadline(past) // fails only once the connection is closed: nobody is parked then
}

func (s *stream) setReadDeadline(t time.Time) {
	select {
	case <-s.wake:
	default:
	}
	_ = s.conn.SetReadDeadline(t) // fails when reading does
}

func (s *stream) closeWrite() {
	// Not by TLS, which would wait for a peer that does not read: what ends a WebSocket is its close frame.
	if c, ok := netConn(s.conn).(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // the peer is gone: reading says so
		return
	}
	_ = s.conn.Close() // all or nothing: reading says that it is closed
}

func (s *stream) close(reset bool) { closeConn(s.conn, reset) }

// netConn returns what is under the TLS layer of conn, or conn if it has none.
func netConn(conn net.Conn) net.Conn {
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return c.NetConn()
	}
	return conn
}

func closeConn(conn net.Conn, reset bool) {
	if reset {
		conn = netConn(conn)
		if c, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
			_ = c.SetLinger(0) // at worst the kernel keeps what is unsent until its own time-out
		}
	}
	_ = conn.Close() // nobody is left to tell
}
