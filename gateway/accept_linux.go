package gateway

import (
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
)

// tcpListener is a TCP listener that accepts with accept4(2) itself. What the net package adds for each connection is three
// system calls (options that the kernel inherits from the listening socket anyway, and our own address) and, as long as
// the connection lives, 160 bytes of addresses.
type tcpListener struct {
	// Fixed after newListener.
	file *os.File
	raw  syscall.RawConn
	addr net.Addr

	// Atomic.
	closed atomic.Bool
}

// newListener takes l over.
func newListener(l net.Listener) (net.Listener, error) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return l, nil
	}
	defer l.Close() // file is a copy
	file, err := tcp.File()
	if err != nil {
		return nil, err
	}
	t := &tcpListener{file: file, addr: l.Addr()}
	if t.raw, err = file.SyscallConn(); err == nil {
		// What is set on the listening socket, its connections have from birth (tcp(7)).
		err = control(t.raw, "setsockopt", func(fd int) error {
			actor.Prepare(fd)
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		})
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return t, nil
}

// Accept implements [net.Listener].
func (t *tcpListener) Accept() (net.Conn, error) {
	var (
		fd    int
		peer  syscall.Sockaddr
		errno error
	)
	err := t.raw.Read(func(listening uintptr) bool {
		for {
			fd, peer, errno = syscall.Accept4(int(listening), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			switch errno {
			case syscall.EINTR, syscall.ECONNABORTED: // that one is gone already: the next, please
				continue
			case syscall.EAGAIN:
				return false
			}
			return true
		}
	})
	switch {
	case err == nil && errno == nil:
		return &tcpConn{File: os.NewFile(uintptr(fd), ""), listener: t, remote: addrPort(peer)}, nil
	case t.closed.Load():
		err = net.ErrClosed
	case err == nil:
		err = os.NewSyscallError("accept4", errno)
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: t.addr, Err: err}
}

// Close implements [net.Listener].
func (t *tcpListener) Close() error {
	t.closed.Store(true)
	return t.file.Close()
}

// Addr implements [net.Listener].
func (t *tcpListener) Addr() net.Addr { return t.addr }

func addrPort(a syscall.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)) //nolint:gosec // a port has 16 bits
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)) //nolint:gosec // a port has 16 bits
	}
	return netip.AddrPort{}
}

// tcpConn is a TCP connection of a tcpListener. It is a [net.Conn] as [net.TCPConn] is one; the os package's poller is the
// net package's.
type tcpConn struct {
	*os.File
	listener *tcpListener
	remote   netip.AddrPort
}

// LocalAddr returns the listener's address, which has no host where it listens on all.
func (c *tcpConn) LocalAddr() net.Addr { return c.listener.addr }

// RemoteAddr returns the peer's address.
func (c *tcpConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// RemoteAddrPort is RemoteAddr without an allocation.
func (c *tcpConn) RemoteAddrPort() netip.AddrPort { return c.remote }

// Prepared says that [actor.Prepare] was called for the connection.
func (c *tcpConn) Prepared() bool { return true }

// CloseWrite ends our half of the connection.
func (c *tcpConn) CloseWrite() error { return c.shutdown(syscall.SHUT_WR) }

// CloseRead ends the peer's half of the connection.
func (c *tcpConn) CloseRead() error { return c.shutdown(syscall.SHUT_RD) }

func (c *tcpConn) shutdown(how int) error {
	return c.control("shutdown", func(fd int) error { return syscall.Shutdown(fd, how) })
}

// SetLinger sets SO_LINGER, see [net.TCPConn.SetLinger].
func (c *tcpConn) SetLinger(seconds int) error {
	l := syscall.Linger{}
	if seconds >= 0 {
		l = syscall.Linger{Onoff: 1, Linger: int32(min(seconds, int(time.Hour/time.Second)))} //nolint:gosec // bounded
	}
	return c.control("setsockopt", func(fd int) error {
		return syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &l)
	})
}

func (c *tcpConn) control(call string, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, call, f)
}

// control calls f with the descriptor of c. An error of f is named by the system call.
func control(c syscall.RawConn, call string, f func(fd int) error) error {
	var ferr error
	if err := c.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return os.NewSyscallError(call, ferr)
}
