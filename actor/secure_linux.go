//go:build linux && (amd64 || arm64)

package actor

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// secure is the transport of a TLS connection. It is parked in the runtime's poller without a buffer, in a callback that
// only asks whether there is something to read: the TLS layer needs a deeper stack than an idle actor shall have. Then it
// reads through the TLS layer until that would block. It never writes without waiting: every write is one of the temporary
// writer's, which encrypts outside of the actor's mu.
type secure struct {
	// Fixed after newSecure.
	conn    *TLSConn
	tcp     tcpConn
	raw     syscall.RawConn
	fd      int
	tryRead func(fd uintptr) bool

	// Owned by the actor's goroutine (before the start: the handshake's).
	more  bool        // the TLS layer may have more, without asking the socket
	ready bool        // there is a result already
	buf   *readBuffer // the result of readNow: bytes, or
	err   error       // the end

	// Atomic.
	broken atomic.Bool // reading failed
}

func newSecure(conn net.Conn) (transport, bool) {
	t, ok := conn.(*TLSConn)
	if !ok {
		return nil, false
	}
	tcp, ok := t.wire.Conn.(tcpConn)
	if !ok {
		return nil, false
	}
	raw, fd, ok := prepared(tcp)
	if !ok {
		return nil, false
	}
	s := &secure{conn: t, tcp: tcp, raw: raw, fd: fd}
	s.tryRead = s.readNow
	return s, true
}

// begin takes the connection over from whoever shook hands on it. What came with the end of the handshake is read here,
// where the stack has grown already.
func (s *secure) begin() {
	s.conn.wire.fd, s.conn.wire.detached = s.fd, true
	s.more = true
	s.ready = s.readNow(uintptr(s.fd))
}

func (s *secure) read() (*readBuffer, error) {
	if !s.ready {
		if err := s.raw.Read(s.tryRead); err != nil {
			return nil, err
		}
	}
	s.ready = false
	if buf := s.buf; buf != nil {
		s.buf = nil
		return buf, nil
	}
	s.broken.Store(!errors.Is(s.err, io.EOF))
	return nil, s.err
}

// readNow is the callback of RawConn.Read. As with a plain socket, it says false only after EAGAIN.
func (s *secure) readNow(fd uintptr) bool {
	for {
		if !s.more {
			switch errno := peek(fd); errno {
			case 0:
				s.more, s.conn.wire.drained = true, false
			case syscall.EAGAIN:
				return false
			default:
				s.err = errno
				return true
			}
		}
		buf := readBuffers.Get().(*readBuffer)
		n, err := s.conn.Read(buf.b[:])
		if n > 0 {
			buf.n = n
			s.buf = buf
			return true
		}
		readBuffers.Put(buf)
		if !errors.Is(err, errWouldBlock) {
			s.err = err
			return true
		}
		s.more = false
		s.conn.shrink()
	}
}

// peek reports whether reading fd would give anything, be it the end: 0, or EAGAIN, or an error of the socket, which is
// reported once only.
func peek(fd uintptr) syscall.Errno {
	var b [1]byte
	for {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1,
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// receiveNow reads what the kernel has, without waiting: errWouldBlock where that is nothing.
func receiveNow(fd int, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return 0, errWouldBlock
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

func (s *secure) pause() error { return s.raw.Read(never) }

func (s *secure) write([]byte) (int, error) { return 0, nil }

func (s *secure) writeAll(p []byte, deadline time.Time) error {
	if err := s.tcp.SetWriteDeadline(deadline); err != nil {
		return err
	}
	room := records.Get().(*[]byte)
	defer func() {
		s.conn.wire.drop() // else others would find in it what they did not write
		records.Put(room)
	}()
	for len(p) > 0 {
		s.conn.wire.lend(*room)
		n, err := s.conn.Write(p[:min(len(p), recordBytes)])
		if err != nil {
			return err
		}
		p = p[n:]
		if err := s.flush(); err != nil {
			return err
		}
	}
	return nil
}

// flush sends what is encrypted.
func (s *secure) flush() error {
	b := s.conn.wire.take()
	defer s.conn.wire.sent()
	return sendAll(s.raw, b)
}

func (s *secure) interrupt() {
	_ = s.tcp.SetReadDeadline(past) // fails only once the connection is closed: nobody is parked then
}

func (s *secure) setReadDeadline(t time.Time) {
	_ = s.tcp.SetReadDeadline(t) // fails when reading does
}

func (s *secure) closeWrite() {
	s.goodbye()
	_ = s.tcp.CloseWrite() // the peer is gone: reading says so
}

func (s *secure) close(reset bool) {
	if !reset {
		s.goodbye()
	}
	closeConn(s.tcp, reset)
}

// goodbye sends close_notify (RFC 8446 section 6.1), or the alert that says what broke the connection, if it can be sent
// without waiting: what ends a WebSocket is its close frame.
func (s *secure) goodbye() {
	if !s.broken.Load() {
		_ = s.conn.Conn.CloseWrite() // it only adds to what is to be sent, once
	}
	w := &s.conn.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sending { // a writer has been given up in the middle of a record
		return
	}
	n, err := sendNow(s.fd, w.out)
	if err == nil && n < len(w.out) {
		// The kernel has all that it was to have unsent, but these few bytes are the last.
		_ = syscall.SetsockoptInt(s.fd, syscall.IPPROTO_TCP, notSentLowat, -1)
		_, _ = sendNow(s.fd, w.out[n:]) // else it ends without
	}
	w.dropLocked()
}
