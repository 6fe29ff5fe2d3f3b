package crowd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// Crowd is the clients of one process. Make one with [New]; only [Crowd.Serve] may be called, once.
type Crowd struct {
	// Fixed after New.
	epoll   int
	wake    int // eventfd: a command has come
	base    time.Time
	buffer  []byte
	events  []unix.EpollEvent
	latency *hdrhistogram.Histogram

	// Guarded by mu: the descriptor wake must not be written to once it is closed.
	mu   sync.Mutex
	over bool

	// Owned by Serve's goroutine.
	conns     []conn
	sweeping  bool
	nextSweep int64
	counts    Counts
	job       job
	text, out []byte // a message and frames under construction
}

// job is a command that takes some time. The loop calls step after each round of events until it is done, and at the latest
// at the time that step returned (on the crowd's clock).
type job interface {
	step(c *Crowd, now int64) (reply *Reply, next int64)
	settled(c *Crowd, at *conn, was state, err error) // a connection has become open or closed
	progress(c *Crowd) string
}

const (
	longestWait   = 100 * time.Millisecond
	progressEvery = 2 * time.Second
	wakeIndex     = -1
)

// New makes an empty crowd.
func New() (*Crowd, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	c := &Crowd{
		epoll: epoll, wake: wake, base: time.Now(),
		buffer: make([]byte, 256<<10), events: make([]unix.EpollEvent, 1024),
		latency: newHistogram(),
	}
	c.counts.Codes = map[int]int{}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeIndex}); err != nil {
		c.release()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return c, nil
}

func (c *Crowd) release() {
	for i := range c.conns {
		c.drop(&c.conns[i])
	}
	c.mu.Lock()
	c.over = true
	unix.Close(c.wake)
	c.mu.Unlock()
	unix.Close(c.epoll)
}

func (c *Crowd) now() int64 { return int64(time.Since(c.base)) }

// Serve obeys the commands that come on in and answers on out, until in ends. Then it closes everything and returns nil. It
// reads in on a goroutine that ends when in does. An error is returned when in has something that is no command, when out
// cannot be written, or when the kernel refuses the loop itself.
func (c *Crowd) Serve(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	commands, stop := make(chan Command), make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- c.receive(in, commands, stop) }()
	err := c.loop(commands, json.NewEncoder(out))
	close(stop)
	c.release()
	if err != nil {
		return err // receive ends with its input
	}
	return <-ended
}

// receive hands the commands over, and closes the channel at the end.
func (c *Crowd) receive(in io.Reader, commands chan<- Command, stop <-chan struct{}) error {
	defer c.ring()
	defer close(commands)
	for dec := json.NewDecoder(in); ; {
		var cmd Command
		if err := dec.Decode(&cmd); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("command: %w", err)
		}
		c.ring()
		select {
		case commands <- cmd:
		case <-stop:
			return nil
		}
	}
}

// ring makes poll return.
func (c *Crowd) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		_, _ = unix.Write(c.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

func (c *Crowd) loop(commands <-chan Command, out *json.Encoder) error {
	var next, told int64
	for {
		if err := c.poll(next); err != nil {
			return err
		}
		now := c.now()
		if c.job == nil {
			select {
			case cmd, ok := <-commands:
				if !ok {
					return nil
				}
				job, err := c.begin(cmd)
				if err != nil {
					if err := out.Encode(Reply{Error: err.Error()}); err != nil {
						return err
					}
					continue
				}
				c.job, told = job, now
			default:
				next = now + int64(longestWait)
				continue
			}
		}
		reply, at := c.job.step(c, now)
		next = at
		if reply == nil && now-told > int64(progressEvery) {
			told, reply = now, &Reply{Progress: c.job.progress(c)}
		}
		if reply == nil {
			continue
		}
		if reply.Progress == "" {
			c.job = nil
		}
		if err := out.Encode(reply); err != nil {
			return err
		}
	}
}

// begin makes the job for a command.
func (c *Crowd) begin(cmd Command) (job, error) {
	switch {
	case cmd.Open != nil:
		return c.beginOpen(*cmd.Open)
	case cmd.Publish != nil:
		return c.beginPublish(*cmd.Publish)
	case cmd.Await != nil:
		return &awaitJob{Await: *cmd.Await, since: c.now()}, nil
	case cmd.Close != nil:
		return c.beginClose(*cmd.Close)
	case cmd.Move != nil:
		return c.beginMove(*cmd.Move)
	case cmd.Count != nil:
		return &countJob{*cmd.Count}, nil
	}
	return nil, errors.New("a command with nothing in it")
}

// poll waits for events until the given time, or less, and handles them.
func (c *Crowd) poll(until int64) error {
	now := c.now()
	sweeping := c.sweeping && c.job != nil // between commands nobody counts: stay off the processor
	if sweeping && now >= c.nextSweep {
		c.sweep()
		now = c.now()
		c.nextSweep = now + int64(SweepEvery)
		until = now // the job wants to know
	}
	if sweeping {
		until = min(until, c.nextSweep)
	}
	wait := min(max(0, time.Duration(until-now)), longestWait)
	n, err := unix.EpollWait(c.epoll, c.events, int((wait+time.Millisecond-1)/time.Millisecond))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("epoll: %w", err)
	}
	for _, e := range c.events[:max(0, n)] {
		if e.Fd == wakeIndex {
			var b [8]byte
			_, _ = unix.Read(c.wake, b[:])
			continue
		}
		at := &c.conns[e.Fd]
		if e.Events&unix.EPOLLOUT != 0 && at.fd >= 0 {
			c.writable(at)
		}
		if e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && at.fd >= 0 {
			c.readable(at)
		}
	}
	return nil
}
