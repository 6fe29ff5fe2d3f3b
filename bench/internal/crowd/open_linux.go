package crowd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// spareFiles are those that a crowd needs besides its connections.
const spareFiles = 64

// firstSource is the first address that connections come from when they are spread: 127.0.0.2.
const firstSource = 0x7F000002

type openJob struct {
	Open
	Opened
	peer     unix.SockaddrInet4
	from, to int // indices of its connections
	next     int // the next one to dial
	live     int // dialled and not settled
	began    int64
	moved    int64 // when one settled last
	latency  *hdrhistogram.Histogram
}

func (c *Crowd) beginOpen(o Open) (job, error) {
	peer, err := sockaddr(o.Address)
	if err != nil {
		return nil, err
	}
	limit, err := proc.RaiseFileLimit()
	if err != nil {
		return nil, err
	}
	want := c.counts.Open + o.Connections
	if o.Leaving != Stay { // they are there for a moment
		want = c.counts.Open + min(o.Connections, o.Window)
	}
	if want > limit-spareFiles {
		return nil, fmt.Errorf("%d connections: this process may have %d open files", want, limit)
	}
	if o.Window < 1 || o.Connections < 0 || o.Timeout <= 0 {
		return nil, errors.New("open: want a window, a timeout and no negative number")
	}
	if c.counts.Open == 0 {
		c.conns = c.conns[:0]
	}
	j := &openJob{
		Open: o, from: len(c.conns), to: len(c.conns) + o.Connections, latency: newHistogram(),
		peer: peer,
	}
	j.next, j.Status = j.from, map[int]int{}
	secret, now := o.Secret, time.Now()
	if o.Forge {
		secret = "not the key that signs: " + secret
	}
	for i := range o.Connections {
		at := conn{index: j.from + i, number: o.First + i, fd: -1, reading: o.Reading, leave: o.Leaving}
		if !o.Raw {
			if at.request, err = request(&o, at.number, secret, now); err != nil {
				return nil, err
			}
		}
		c.conns = append(c.conns, at)
	}
	c.sweeping = c.sweeping || o.Reading == Sweep
	j.began = c.now()
	j.moved = j.began
	return j, nil
}

func sockaddr(address string) (unix.SockaddrInet4, error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !addr.Addr().Is4() {
		return unix.SockaddrInet4{}, fmt.Errorf("address %q: want an IPv4 address and a port", address)
	}
	return unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}, nil
}

// request makes the handshake of connection number n.
func request(o *Open, n int, secret string, now time.Time) ([]byte, error) {
	r := wire.Request{
		Host: o.Address, Path: strings.ReplaceAll(o.Path, "{i}", strconv.Itoa(n)), Via: o.Via, Key: wire.Key(n), Deflate: o.Deflate,
	}
	switch {
	case o.Via == wire.ViaNone:
	case len(o.Tokens) > 0:
		r.Token = o.Tokens[(n-o.First)%len(o.Tokens)]
	default:
		var err error
		if r.Token, err = Token(secret, n, now); err != nil {
			return nil, err
		}
	}
	return wire.AppendRequest(make([]byte, 0, 640), r), nil
}

func (j *openJob) step(c *Crowd, now int64) (*Reply, int64) {
	for j.next < j.to && j.live < j.Window && j.due(j.next) <= now {
		at := &c.conns[j.next]
		j.next++
		j.live++
		if err := c.dial(at, &j.Open, &j.peer); err != nil {
			c.fail(at, err)
		}
	}
	if idle := now - j.moved; j.live > 0 && idle > int64(j.Timeout) {
		for i := j.from; i < j.next; i++ {
			switch at := &c.conns[i]; at.state {
			case open, closed:
			case refused:
				c.fail(at, errNotEnded)
			default:
				c.fail(at, fmt.Errorf("no progress in %v", j.Timeout))
			}
		}
		j.next = j.to
	}
	if j.next < j.to || j.live > 0 {
		if j.live == 0 {
			j.moved = now // the schedule is no lack of progress
		}
		if j.live < j.Window && j.next < j.to {
			return nil, min(now+int64(longestWait), j.due(j.next))
		}
		return nil, now + int64(longestWait)
	}
	j.Elapsed = time.Duration(j.moved - j.began)
	j.Latency = quantiles(j.latency)
	return &Reply{Opened: &j.Opened}, now
}

// due is when the connection of that index is to be begun.
func (j *openJob) due(index int) int64 {
	if j.Rate <= 0 {
		return j.began
	}
	return j.began + int64(float64(index-j.from)/j.Rate*float64(time.Second))
}

// dial begins to connect.
func (c *Crowd) dial(at *conn, o *Open, peer *unix.SockaddrInet4) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	at.fd, at.state, at.begun = fd, connecting, c.now()
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil && o.ReceiveBuffer > 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer)
	}
	if err == nil && o.Sources > 0 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err == nil {
			var from unix.SockaddrInet4
			binary.BigEndian.PutUint32(from.Addr[:], uint32(firstSource+at.number%o.Sources))
			err = unix.Bind(fd, &from)
		}
	}
	if err == nil {
		if err = unix.Connect(fd, peer); errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.register(at)
	return nil
}

func (j *openJob) settled(c *Crowd, at *conn, was state, err error) {
	if at.index < j.from || was == open {
		return // counted before
	}
	j.live--
	j.moved = c.now()
	switch {
	case err != nil:
		j.Failed++
		if j.Error == "" {
			j.Error = fmt.Sprintf("connection %d: %v", at.number, err)
		}
		return
	case was == refused:
		j.Refused++
	default:
		j.Opened.Open++
	}
	record(j.latency, j.moved-at.begun)
}

func (j *openJob) progress(*Crowd) string {
	return fmt.Sprintf("%d of %d connections", j.Opened.Open+j.Refused+j.Failed, j.Connections)
}
