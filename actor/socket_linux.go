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

// socket is the transport of a plain TCP connection. It is parked in the runtime's poller without a buffer, and writes
// with raw system calls, which do not tell the scheduler: they cannot wait (MSG_DONTWAIT).
type socket struct {
	// Fixed after newSocket.
	tcp     *net.TCPConn
	raw     syscall.RawConn
	fd      int // for write, under the actor's mu and before close
	tryRead func(fd uintptr) bool

	// Owned by the actor's goroutine.
	buf *readBuffer
	err error
}

func newSocket(conn net.Conn) (transport, bool) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, false
	}
	s := &socket{tcp: tcp, raw: raw}
	if raw.Control(func(fd uintptr) {
		s.fd = int(fd)
		// A kernel without it (before 3.12) only hoards more.
		_ = syscall.SetsockoptInt(s.fd, syscall.IPPROTO_TCP, notSentLowat, unsentBytes)
	}) != nil {
		return nil, false
	}
	s.tryRead = s.readNow
	return s, true
}

func (s *socket) read() (*readBuffer, error) {
	if err := s.raw.Read(s.tryRead); err != nil {
		return nil, err
	}
	buf, err := s.buf, s.err
	s.buf, s.err = nil, nil
	return buf, err
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
		switch errno {
		case syscall.EAGAIN:
			return false
		case 0:
			s.err = io.EOF
		default:
			s.err = errno
		}
		return true
	}
}

func (s *socket) pause() error { return s.raw.Read(never) }

func never(uintptr) bool { return false }

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
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
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
