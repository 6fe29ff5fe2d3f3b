package actor

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"unsafe"
)

// TLSConn is the server's end of a TLS connection. Until [System.Open] has taken it over it is a [net.Conn] like any other:
// the first Read, Write or Handshake makes the TLS handshake, within the deadlines that are set. Behind that an actor has a
// transport of its own for it, on which no write and no alert of the TLS layer ever waits for the peer.
//
// A [tls.Conn] that was made in another way is served too, by the portable transport.
type TLSConn struct {
	*tls.Conn
	wire wire
}

// NewTLSConn returns a TLSConn over conn, which it takes over. c is not changed, and may be shared.
func NewTLSConn(conn net.Conn, c *tls.Config) *TLSConn {
	t := &TLSConn{wire: wire{Conn: conn}}
	t.Conn = tls.Server(&t.wire, c)
	return t
}

// RemoteAddrPort returns the peer's address, or the zero AddrPort where that is no TCP address.
func (t *TLSConn) RemoteAddrPort() netip.AddrPort {
	if c, ok := t.wire.Conn.(interface{ RemoteAddrPort() netip.AddrPort }); ok {
		return c.RemoteAddrPort()
	}
	a, ok := t.wire.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// CloseWrite tells the peer that nothing more comes, by TLS and by TCP.
func (t *TLSConn) CloseWrite() error {
	return errors.Join(t.Conn.CloseWrite(), t.wire.CloseWrite())
}

// CloseRead ends the peer's half of the TCP connection.
func (t *TLSConn) CloseRead() error {
	if c, ok := t.wire.Conn.(interface{ CloseRead() error }); ok {
		return c.CloseRead()
	}
	return nil
}

// SetLinger sets SO_LINGER, see [net.TCPConn.SetLinger].
func (t *TLSConn) SetLinger(seconds int) error { return t.wire.SetLinger(seconds) }

// keptTLS is the largest empty buffer that a TLS layer keeps while its connection is idle.
const keptTLS = 1 << 10

// tlsBuffers are where a [tls.Conn] has the buffers that it reads into: the records, and the messages of handshakes. Both
// grow to the largest that ever came and are kept for as long as the connection lives, empty: 4 KiB since the handshake, and
// 33 KiB once the peer has sent one large record. There is no other way to let go of them. It is fixed; where crypto/tls is
// made otherwise it is empty, and they are kept.
var tlsBuffers = func() (offsets []uintptr) {
	for _, name := range []string{"rawInput", "hand"} {
		if f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name); ok && f.Type == reflect.TypeFor[bytes.Buffer]() {
			offsets = append(offsets, f.Offset)
		}
	}
	return offsets
}()

// shrink lets go of the buffers of the TLS layer that are large and empty. It is for the goroutine that reads, once reading
// would block: then nothing else refers to them.
func (t *TLSConn) shrink() {
	for _, offset := range tlsBuffers {
		b := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t.Conn), offset))
		if b.Len() == 0 && b.Cap() > keptTLS {
			*b = bytes.Buffer{}
		}
	}
}

// errWouldBlock says that the socket has nothing to read now. The TLS layer hands an error that calls itself temporary on,
// and can go on afterwards where it was.
var errWouldBlock error = wouldBlockError{}

type wouldBlockError struct{}

func (wouldBlockError) Error() string   { return "nothing to read" }
func (wouldBlockError) Timeout() bool   { return true }
func (wouldBlockError) Temporary() bool { return true }

// errHeldBack ends a connection whose peer makes the TLS layer say more than is kept for it.
var errHeldBack = errors.New("too much is held back for the peer")

const (
	// maxHeldBack bounds what the TLS layer says of itself between two writes, such as answers to key updates. They need not
	// go out before the next data (RFC 8446 section 4.6.3).
	maxHeldBack = 1 << 10
	// recordBytes is the most that a record of TLS holds (RFC 8446 section 5.1), and recordsRoom holds it encrypted, in
	// whatever number of smaller records.
	recordBytes = 16 << 10
	recordsRoom = recordBytes + 2<<10
)

// records are the buffers that writers encrypt into.
var records = sync.Pool{New: func() any {
	b := make([]byte, 0, recordsRoom)
	return &b
}}

// wire is what is under the TLS layer: the TCP connection while the TLS handshake goes on, and then two queues that never
// wait, which a [secure] transport fills and empties.
type wire struct {
	net.Conn

	// Fixed after detach.
	fd       int
	detached bool

	// Owned by the actor's goroutine.
	drained bool // the last read took all there was

	// Guarded by mu.
	mu      sync.Mutex
	out     []byte // encrypted, and not sent
	lent    bool   // out is a writer's buffer, with room
	sending bool   // a writer sends what it took out of out
}

// Read reads for the TLS layer.
func (w *wire) Read(p []byte) (int, error) {
	if !w.detached {
		return w.Conn.Read(p)
	}
	if w.drained {
		return 0, errWouldBlock
	}
	n, err := receiveNow(w.fd, p)
	w.drained = n < len(p)
	return n, err
}

// Write writes for the TLS layer.
func (w *wire) Write(p []byte) (int, error) {
	if !w.detached {
		return w.Conn.Write(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.lent && len(w.out)+len(p) > maxHeldBack {
		return 0, errHeldBack
	}
	w.out = append(w.out, p...)
	return len(p), nil
}

// lend gives out the buffer b to grow in.
func (w *wire) lend(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out, w.lent = append(b[:0], w.out...), true
}

// take returns what is encrypted, to be sent; sent must follow.
func (w *wire) take() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.out
	w.out, w.lent, w.sending = nil, false, true
	return b
}

// drop forgets what is encrypted.
func (w *wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lent {
		w.dropLocked()
	}
}

func (w *wire) dropLocked() { w.out, w.lent = nil, false }

func (w *wire) sent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sending = false
}

// CloseWrite ends our half of the TCP connection.
func (w *wire) CloseWrite() error {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return w.Close()
}

// SetLinger sets SO_LINGER, see [net.TCPConn.SetLinger].
func (w *wire) SetLinger(seconds int) error {
	if c, ok := w.Conn.(interface{ SetLinger(seconds int) error }); ok {
		return c.SetLinger(seconds)
	}
	return nil
}
