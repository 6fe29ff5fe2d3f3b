//go:build linux && (amd64 || arm64)

package actor

import (
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"
)

const (
	// notSentLowat is TCP_NOTSENT_LOWAT of linux/tcp.h.
	notSentLowat = 25
	// unsentBytes is how much the kernel may hold unsent for one connection: without it, a client that does not read
	// hoards up to 4 MiB of kernel memory before our own bound is even reached.
	unsentBytes = 16 << 10
	// maxRawWrite bounds one raw system call, which keeps the processor from the scheduler.
	maxRawWrite = 64 << 10
)

// Prepare sets what actors want of a TCP socket. On a listening one it is inherited by all connections, which then may
// say so by a method Prepared: that saves a system call for each.
func Prepare(fd int) {
	// A kernel without it (before 3.12) only hoards more.
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, notSentLowat, unsentBytes)
}

// tcpConn is what a socket needs of a connection: [net.TCPConn] has it, a TLS connection has not.
type tcpConn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
	SetLinger(seconds int) error
}

// socket is the transport of a plain TCP connection. It is parked in the runtime's poller without a buffer, and writes
// with raw system calls, which do not tell the scheduler: they cannot wait (MSG_DONTWAIT).
type socket struct {
	// Fixed after newSocket.
	tcp     tcpConn
	raw     syscall.RawConn
	fd      int // for write, under the actor's mu and before close
	tryRead func(fd uintptr) bool

	// Owned by the actor's goroutine.
	errno syscall.Errno // what readNow found; 0 with no buf: the end
	buf   *readBuffer
}

func newSocket(conn net.Conn) (transport, bool) {
	tcp, ok := conn.(tcpConn)
	if !ok {
		return nil, false
	}
	raw, fd, ok := prepared(tcp)
	if !ok {
		return nil, false
	}
	s := &socket{tcp: tcp, raw: raw, fd: fd}
	s.tryRead = s.readNow
	return s, true
}

// prepared returns the descriptor of conn, on which Prepare was called.
func prepared(conn tcpConn) (raw syscall.RawConn, fd int, ok bool) {
	raw, err := conn.SyscallConn()
	if err != nil || raw.Control(func(d uintptr) { fd = int(d) }) != nil {
		return nil, 0, false
	}
	if p, ok := conn.(interface{ Prepared() bool }); !ok || !p.Prepared() {
		Prepare(fd)
	}
	return raw, fd, true
}

func (s *socket) read() (*readBuffer, error) {
	if err := s.raw.Read(s.tryRead); err != nil {
		return nil, err
	}
	buf := s.buf
	s.buf = nil
	switch {
	case buf != nil:
		return buf, nil
	case s.errno == 0:
		return nil, io.EOF
	default:
		return nil, s.errno
	}
}

// readNow is the callback of RawConn.Read. It says false, to park again, only after EAGAIN: data and FIN can come as one
// edge, and who parks after a short read never hears of the FIN.
func (s *socket) readNow(fd uintptr) bool {
	buf := readBuffers.Get().(*readBuffer)
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&buf.b)), readBufferSize)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == 0 && n > 0:
			buf.n = int(n)
			s.buf = buf
			return true
		}
		readBuffers.Put(buf)
		s.errno = errno
		return errno != syscall.EAGAIN
	}
}

func (s *socket) pause() error { return s.raw.Read(never) }

func never(uintptr) bool { return false }

// descriptor is what write writes to.
func (s *socket) descriptor() int32 { return int32(s.fd) } //nolint:gosec // descriptors are small

func (s *socket) write(p []byte) (int, error) { return sendNow(s.fd, p) }

// sendNow sends what the kernel takes without waiting.
func sendNow(fd int, p []byte) (sent int, err error) {
	for sent < len(p) {
		part := p[sent:min(len(p), sent+maxRawWrite)]
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(part))),
			uintptr(len(part)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return sent, nil
		default:
			return sent, errno
		}
	}
	return sent, nil
}

func (s *socket) writeAll(p []byte, deadline time.Time) error {
	if err := s.tcp.SetWriteDeadline(deadline); err != nil {
		return err
	}
	return sendAll(s.raw, p)
}

// sendAll sends all of p, and waits until the write deadline at most.
func sendAll(raw syscall.RawConn, p []byte) error {
	var failed error
	err := raw.Write(func(fd uintptr) bool {
		n, err := sendNow(int(fd), p)
		p, failed = p[n:], err
		return err != nil || len(p) == 0
	})
	if err == nil {
		err = failed
	}
	return err
}

func (s *socket) interrupt() {
	_ = s.tcp.SetReadDeadline(past) // fails only once the connection is closed: nobody is parked then
}

func (s *socket) setReadDeadline(t time.Time) {
	_ = s.tcp.SetReadDeadline(t) // fails when reading does
}

func (s *socket) closeWrite() {
	_ = s.tcp.CloseWrite() // the peer is gone: reading says so
}

func (s *socket) close(reset bool) { closeConn(s.tcp, reset) }
