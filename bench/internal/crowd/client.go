package crowd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Client steers a crowd. Its methods are for one goroutine.
type Client struct {
	// Progress, if set, gets a line now and then while a command runs.
	Progress func(string)

	pid     int
	in      io.WriteCloser
	encoder *json.Encoder
	decoder *json.Decoder
	wait    func() error
}

// Start starts a crowd as a child process, which must call [Crowd.Serve] on its standard input and output. The child is
// killed when ctx ends.
func Start(ctx context.Context, name string, args ...string) (*Client, error) {
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
		return nil, fmt.Errorf("crowd: %w", err)
	}
	return newClient(cmd.Process.Pid, in, out, cmd.Wait), nil
}

func newClient(pid int, in io.WriteCloser, out io.Reader, wait func() error) *Client {
	return &Client{pid: pid, in: in, encoder: json.NewEncoder(in), decoder: json.NewDecoder(out), wait: wait}
}

// PID returns the process of the crowd.
func (c *Client) PID() int { return c.pid }

// Open makes connections; a connection that fails is in the result, not in the error.
func (c *Client) Open(o Open) (Opened, error) {
	r, err := c.do(Command{Open: &o})
	if err != nil || r.Opened == nil {
		return Opened{}, fail("open", err)
	}
	return *r.Opened, nil
}

// Publish sends messages and waits for the deliveries.
func (c *Client) Publish(p Publish) (Published, error) {
	r, err := c.do(Command{Publish: &p})
	if err != nil || r.Published == nil {
		return Published{}, fail("publish", err)
	}
	return *r.Published, nil
}

// Move follows a server that stops to another one.
func (c *Client) Move(m Move) (Moved, error) {
	r, err := c.do(Command{Move: &m})
	if err != nil || r.Moved == nil {
		return Moved{}, fail("move", err)
	}
	return *r.Moved, nil
}

// Await waits for bytes to be thrown away.
func (c *Client) Await(a Await) (Counts, error) { return c.counts(Command{Await: &a}) }

// Close ends all connections.
func (c *Client) Close(cl Close) (Counts, error) { return c.counts(Command{Close: &cl}) }

// Count returns the counts.
func (c *Client) Count(n Count) (Counts, error) { return c.counts(Command{Count: &n}) }

func (c *Client) counts(cmd Command) (Counts, error) {
	r, err := c.do(cmd)
	if err != nil || r.Counts == nil {
		return Counts{}, fail("count", err)
	}
	return *r.Counts, nil
}

// fail is for a reply that is an error, or not the one that belongs to the command.
func fail(what string, err error) error {
	if err == nil {
		err = errors.New("another reply than to the command")
	}
	return fmt.Errorf("crowd: %s: %w", what, err)
}

func (c *Client) do(cmd Command) (Reply, error) {
	if err := c.encoder.Encode(cmd); err != nil {
		return Reply{}, err
	}
	for {
		var r Reply
		if err := c.decoder.Decode(&r); errors.Is(err, io.EOF) {
			return Reply{}, errors.New("the crowd has ended")
		} else if err != nil {
			return Reply{}, err
		}
		switch {
		case r.Error != "":
			return Reply{}, errors.New(r.Error)
		case r.Progress == "":
			return r, nil
		case c.Progress != nil:
			c.Progress(r.Progress)
		}
	}
}

// Quit ends the crowd, its connections are closed, and waits for its process.
func (c *Client) Quit() error {
	c.in.Close()
	return c.wait()
}
