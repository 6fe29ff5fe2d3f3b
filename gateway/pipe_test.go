package gateway

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
)

// pipeListener is a listener of a synctest bubble. It accepts what is given to it: connections and errors.
type pipeListener struct {
	queue  chan any // net.Conn or error
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{queue: make(chan any, 1000), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case v := <-l.queue:
		if err, ok := v.(error); ok {
			return nil, err
		}
		return v.(net.Conn), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// dial returns the client's end of a new connection.
func (l *pipeListener) dial(t testing.TB) net.Conn {
	client, conn := net.Pipe()
	t.Cleanup(func() { client.Close() })
	l.queue <- conn
	return client
}

// fail makes the next n Accepts fail.
func (l *pipeListener) fail(err error, n int) {
	for range n {
		l.queue <- &net.OpError{Op: "accept", Net: "tcp", Err: err}
	}
}

var errTooManyFiles = error(syscall.EMFILE)

// writeAll writes in its own goroutine, since a pipe blocks until it is read. It returns how that ended.
func writeAll(conn net.Conn, s string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, s)
		if errors.Is(err, io.ErrClosedPipe) {
			err = nil // the server had enough
		}
		done <- err
	}()
	return done
}

// send writes s, and fails the test if it cannot.
func send(t testing.TB, conn net.Conn, s string) {
	t.Helper()
	if err := <-writeAll(conn, s); err != nil {
		t.Errorf("send: %v", err)
	}
}

// drain reads until the end.
func drain(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
