package crowd

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

type state uint8

const (
	unborn     state = iota
	connecting       // until the socket is writable
	asking           // the request is out, the answer not yet in
	refused          // answered no: waits for the server to close
	open
	leaving // a close frame is out: waits for the server to close
	closed
)

// conn is one connection. It has no buffer of its own unless bytes wait in it.
type conn struct {
	index, number int
	fd            int // -1: none
	state         state
	reading       Reading
	leave         Leaving
	interest      uint32            // registered with epoll; 0: not at all
	begun         int64             // when it was dialled
	request       []byte            // until it is sent
	rest          []byte            // bytes of an unfinished answer or frame
	out           []byte            // bytes that the socket did not take
	sent          uint32            // messages that it has published
	last          map[uint16]uint32 // the number of the last message of each sender, for Parse
}

var (
	errEnded    = errors.New("closed by the server")
	errNotEnded = errors.New("a refusal that does not close")
)

// register tells epoll what the connection waits for.
func (c *Crowd) register(at *conn) {
	var want uint32
	switch at.state {
	case connecting:
		want = unix.EPOLLOUT
	case asking, refused, leaving:
		want = unix.EPOLLIN
	case open:
		if at.reading == Parse || at.reading == Discard {
			want = unix.EPOLLIN
		}
	case unborn, closed:
	}
	if len(at.out) > 0 {
		want |= unix.EPOLLOUT
	}
	if want == at.interest {
		return
	}
	op := unix.EPOLL_CTL_MOD
	switch {
	case at.interest == 0:
		op = unix.EPOLL_CTL_ADD
	case want == 0:
		op = unix.EPOLL_CTL_DEL // else epoll would go on telling of the end
	}
	at.interest = want
	if err := unix.EpollCtl(c.epoll, op, at.fd, &unix.EpollEvent{Events: want, Fd: int32(at.index)}); err != nil {
		c.fail(at, fmt.Errorf("epoll: %w", err))
	}
}

// drop closes the descriptor and nothing else.
func (c *Crowd) drop(at *conn) {
	if at.fd >= 0 {
		unix.Close(at.fd)
	}
	at.fd, at.interest, at.state = -1, 0, closed
	at.request, at.rest, at.out, at.last = nil, nil, nil, nil
}

// fail ends a connection, expected (err is nil) or not, and tells the job.
func (c *Crowd) fail(at *conn, err error) {
	was := at.state
	if was == closed {
		return
	}
	c.drop(at)
	if was == open {
		c.counts.Open--
		c.counts.Lost++
		if c.counts.Error == "" && err != nil {
			c.counts.Error = fmt.Sprintf("connection %d: %v", at.number, err)
		}
	}
	if c.job != nil {
		c.job.settled(c, at, was, err)
	}
}

func (c *Crowd) writable(at *conn) {
	if at.state == connecting {
		if e, err := unix.GetsockoptInt(at.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || e != 0 {
			c.fail(at, fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(e))))
			return
		}
		if at.request == nil { // raw
			c.opened(at, nil)
			return
		}
		at.state, at.out, at.request = asking, at.request, nil
	}
	c.flush(at)
}

// send writes bytes, or keeps what the socket does not take.
func (c *Crowd) send(at *conn, b []byte) {
	if len(at.out) > 0 {
		at.out = append(at.out, b...)
		return
	}
	n, err := unix.Write(at.fd, b)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		c.fail(at, fmt.Errorf("write: %w", err))
		return
	}
	if n = max(n, 0); n < len(b) {
		at.out = append([]byte(nil), b[n:]...)
		c.register(at)
	}
}

func (c *Crowd) flush(at *conn) {
	b := at.out
	at.out = nil
	if len(b) > 0 {
		c.send(at, b)
	}
	if at.state != closed {
		c.register(at)
	}
}

// opened is called once a connection is open; behind has what came behind the head of the answer.
func (c *Crowd) opened(at *conn, behind []byte) {
	at.state = open
	c.counts.Open++
	if at.leave == Stay {
		c.job.settled(c, at, asking, nil)
		c.register(at)
		if len(behind) > 0 && at.state == open {
			c.take(at, behind)
		}
		return
	}
	c.leave(at, at.leave)
}

// leave ends an open connection from this side.
func (c *Crowd) leave(at *conn, how Leaving) {
	if how == Mixed {
		how = [...]Leaving{Frame, Fin, Reset}[at.number%3]
	}
	c.counts.Open--
	switch how {
	case Frame:
		at.state = leaving
		c.register(at)
		c.send(at, wire.AppendFrame(nil, wire.Close, []byte{0x03, 0xE8}))
		return
	case Reset:
		if err := unix.SetsockoptLinger(at.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			c.counts.Error = fmt.Sprintf("connection %d: SO_LINGER: %v", at.number, err) // it leaves by a FIN then
		}
	}
	c.drop(at)
	c.job.settled(c, at, leaving, nil)
}

// readable is called when there are bytes, an end or an error.
func (c *Crowd) readable(at *conn) {
	if at.state == open && at.reading == Discard {
		c.discard(at)
		return
	}
	if at.state == connecting { // an error: writable has the words for it
		c.writable(at)
		return
	}
	n, err := unix.Read(at.fd, c.buffer)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
	case err != nil:
		c.end(at, fmt.Errorf("read: %w", err))
	case n == 0:
		c.end(at, errEnded)
	default:
		c.take(at, c.buffer[:n])
	}
}

// end handles the end of what the server sends: after a refusal or a close frame it is what we wait for.
func (c *Crowd) end(at *conn, err error) {
	if (at.state == refused || at.state == leaving) && errors.Is(err, errEnded) {
		err = nil
	}
	if at.state == asking && errors.Is(err, errEnded) {
		err = fmt.Errorf("no answer: %w", io.ErrUnexpectedEOF)
	}
	c.fail(at, err)
}

// take handles bytes that were read, behind those that are kept.
func (c *Crowd) take(at *conn, b []byte) {
	if len(at.rest) > 0 {
		b = append(at.rest, b...)
		at.rest = nil
	}
	switch at.state {
	case asking:
		c.answered(at, b)
	case open:
		switch at.reading {
		case Parse:
			c.frames(at, b)
		case Discard, Sweep:
			c.counts.Discarded += int64(len(b))
		case Stall:
		}
	case refused, leaving: // the body, or the last frames
	case unborn, connecting, closed:
	}
}

func (c *Crowd) answered(at *conn, b []byte) {
	r, err := wire.ParseResponse(b, wire.Key(at.number))
	if err != nil {
		c.fail(at, err)
		return
	}
	if r.Head == 0 {
		at.rest = append([]byte(nil), b...)
		return
	}
	if job, ok := c.job.(*openJob); ok {
		job.Status[r.Status]++
	}
	if r.Status != 101 {
		at.state = refused
		return
	}
	c.opened(at, b[r.Head:])
}

// discard throws away what the kernel has for the connection, without copying it (tcp(7), MSG_TRUNC). It returns the bytes.
func (c *Crowd) discard(at *conn) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(at.fd), uintptr(unsafe.Pointer(&c.buffer[0])),
		uintptr(len(c.buffer)), unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	switch {
	case errno == unix.EAGAIN:
	case errno != 0:
		c.fail(at, fmt.Errorf("recv: %w", errno))
	case n == 0:
		c.fail(at, errEnded)
	default:
		c.counts.Discarded += int64(n)
	}
}

func (c *Crowd) sweep() {
	for i := range c.conns {
		if at := &c.conns[i]; at.state == open && at.reading == Sweep {
			c.discard(at)
		}
	}
}
