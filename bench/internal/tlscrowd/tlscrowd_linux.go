package tlscrowd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Clients are what a process of clients is to make.
type Clients struct {
	Address string // of a port that speaks TLS; its certificate is not looked at
	Path    string // {i} is the client's number
	Secret  string // HS256 key
	Number  int
	Window  int // handshakes at once
}

// Step is what the clients have seen so far.
type Step struct {
	Open  int    // connections open now
	Pings int64  // answered
	Error string // the first failure, of an opening or a connection
}

// Crowd steers a process of clients. Its methods are for one goroutine.
type Crowd struct {
	in      io.WriteCloser
	decoder *json.Decoder
	wait    func() error
}

// Start starts a process, which must call [Serve] on its standard input and output. It is killed when ctx ends.
func Start(ctx context.Context, c Clients, name string, args ...string) (*Crowd, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("clients over TLS: %w", err)
	}
	t := &Crowd{in: in, decoder: json.NewDecoder(out), wait: cmd.Wait}
	if err := json.NewEncoder(in).Encode(c); err != nil {
		return nil, errors.Join(err, t.Quit())
	}
	return t, nil
}

// Open waits until all clients are open, or have failed.
func (t *Crowd) Open() (Step, error) { return t.step() }

// Look returns what the clients have seen.
func (t *Crowd) Look() (Step, error) {
	if _, err := io.WriteString(t.in, "{}\n"); err != nil {
		return Step{}, fmt.Errorf("clients over TLS: %w", err)
	}
	return t.step()
}

func (t *Crowd) step() (s Step, err error) {
	if err := t.decoder.Decode(&s); err != nil {
		return Step{}, fmt.Errorf("clients over TLS: %w", err)
	}
	return s, nil
}

// Quit ends the clients and waits for their process.
func (t *Crowd) Quit() error {
	t.in.Close()
	return t.wait()
}

// clients are those of one process.
type clients struct {
	Clients
	running sync.WaitGroup
	open    atomic.Int64
	pings   atomic.Int64

	// Guarded by mu.
	mu    sync.Mutex
	conns []net.Conn
	err   error
}

// Serve is the process: it opens the clients, answers, and then once more for each line, until in ends.
func Serve(in io.Reader, out io.Writer) error {
	c := &clients{}
	steps := json.NewDecoder(in)
	if err := steps.Decode(&c.Clients); err != nil {
		return err
	}
	limit, err := proc.RaiseFileLimit()
	if err != nil {
		return err
	}
	if c.Number+64 > limit {
		return fmt.Errorf("%d connections: this process may have %d open files", c.Number, limit)
	}
	defer c.close()
	c.openAll()
	for answer := json.NewEncoder(out); ; {
		if err := answer.Encode(c.step()); err != nil {
			return err
		}
		if err := steps.Decode(&struct{}{}); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (c *clients) step() Step {
	s := Step{Open: int(c.open.Load()), Pings: c.pings.Load()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		s.Error = c.err.Error()
	}
	return s
}

func (c *clients) close() {
	c.mu.Lock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.mu.Unlock()
	c.running.Wait()
}

// patience is how long a client waits for its handshake.
const patience = 20 * time.Second

func (c *clients) openAll() {
	slots := make(chan struct{}, max(1, c.Window))
	var opening sync.WaitGroup
	for i := range c.Number {
		slots <- struct{}{}
		opening.Go(func() {
			defer func() { <-slots }()
			if err := c.openOne(i); err != nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.err == nil {
					c.err = fmt.Errorf("connection %d: %w", i, err)
				}
			}
		})
	}
	opening.Wait()
}

func (c *clients) openOne(i int) error {
	token, err := crowd.Token(c.Secret, i, time.Now())
	if err != nil {
		return err
	}
	tcp, err := net.DialTimeout("tcp", c.Address, patience)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.conns = append(c.conns, tcp)
	c.mu.Unlock()
	conn := tls.Client(tcp, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // what is measured is the server
	if err := tcp.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	request := wire.AppendRequest(nil, wire.Request{
		Host: c.Address, Path: strings.ReplaceAll(c.Path, "{i}", strconv.Itoa(i)), Via: wire.ViaHeader, Token: token, Key: wire.Key(i),
	})
	if _, err := conn.Write(request); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 512)
	var head []byte
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		head = append(head, line...)
		answer, err := wire.ParseResponse(head, wire.Key(i))
		if err != nil {
			return err
		}
		if answer.Head == 0 {
			continue
		}
		if answer.Status != 101 {
			return fmt.Errorf("status %d", answer.Status)
		}
		break
	}
	if err := tcp.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.open.Add(1)
	c.running.Go(func() {
		defer c.open.Add(-1)
		c.idle(conn, r)
	})
	return nil
}

// idle answers pings until the connection ends.
func (c *clients) idle(conn net.Conn, r *bufio.Reader) {
	for {
		b, err := r.Peek(2)
		if err != nil {
			return
		}
		h, ok, err := wire.ParseHeader(b)
		if !ok && err == nil {
			if b, err = r.Peek(10); err == nil {
				h, _, err = wire.ParseHeader(b)
			}
		}
		if err != nil {
			return
		}
		frame := make([]byte, h.Size+h.Length)
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		if h.Opcode == wire.Ping {
			if _, err := conn.Write(wire.AppendFrame(nil, wire.Pong, frame[h.Size:])); err != nil {
				return
			}
			c.pings.Add(1)
		}
	}
}
