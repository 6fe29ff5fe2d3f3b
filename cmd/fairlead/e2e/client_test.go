//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// refusedError is a handshake that was answered with another status than 101.
type refusedError struct {
	status int
	header http.Header
	body   string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("refused with %d: %.200q", e.status, e.body)
}

// handshake connects to a node's public address and asks for a WebSocket at target (path and query), with further header
// lines ("Name: value"). On success the caller owns the connection; the reader holds what came behind the response.
func handshake(ctx context.Context, d net.Dialer, addr, target string, header ...string) (net.Conn, *bufio.Reader, error) {
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", target, addr)
	b.WriteString("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		conn.Close()
		return nil, nil, err
	}
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("response: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		resp.Body.Close()
		conn.Close()
		return nil, nil, &refusedError{resp.StatusCode, resp.Header, string(body)}
	}
	if accept := resp.Header.Get("Sec-Websocket-Accept"); accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455, 1.3
		conn.Close()
		return nil, nil, fmt.Errorf("Sec-WebSocket-Accept %q", accept)
	}
	conn.SetDeadline(time.Time{})
	return conn, br, nil
}

// frame is data as a client sends it: one masked frame.
func frame(op ws.OpCode, data string) []byte {
	return ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewFrame(op, true, []byte(data))))
}

// readFrame reads one frame as a server sends it: whole, not masked, and not larger than any test sends.
func readFrame(br *bufio.Reader) (ws.Header, []byte, error) {
	h, err := ws.ReadHeader(br)
	if err != nil {
		return h, nil, err
	}
	if err := ws.CheckHeader(h, ws.StateClientSide); err != nil {
		return h, nil, err
	}
	if !h.Fin || h.Length > 1<<20 {
		return h, nil, fmt.Errorf("an odd frame: %+v", h)
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(br, payload)
	return h, payload, err
}

// client is one WebSocket whose frames are read as they come. It answers pings and closes.
type client struct {
	conn net.Conn
	done chan struct{} // closed when the connection has ended

	// Guarded by mu.
	mu       sync.Mutex
	messages []string
	binary   int // of the messages
	code     ws.StatusCode
	reason   string
	ended    time.Time
	err      error // why the connection ended; io.EOF is the clean way
}

// dial opens a WebSocket that is closed when the test ends; a refusal fails the test.
func dial(t *testing.T, addr, target string, header ...string) *client {
	t.Helper()
	c, err := tryDial(t, addr, target, header...)
	if err != nil {
		t.Fatalf("connect to %s: %v", strings.SplitN(target, "?", 2)[0], err)
	}
	return c
}

func tryDial(t *testing.T, addr, target string, header ...string) (*client, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, br, err := handshake(ctx, net.Dialer{}, addr, target, header...)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, done: make(chan struct{})}
	go c.read(br)
	t.Cleanup(func() {
		conn.Close()
		<-c.done
	})
	return c, nil
}

func (c *client) read(br *bufio.Reader) {
	defer close(c.done)
	err := c.readFrames(br)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.ended = err, time.Now()
}

func (c *client) readFrames(br *bufio.Reader) error {
	for {
		h, payload, err := readFrame(br)
		if err != nil {
			return err
		}
		switch h.OpCode {
		case ws.OpText, ws.OpBinary:
			c.mu.Lock()
			c.messages = append(c.messages, string(payload))
			if h.OpCode == ws.OpBinary {
				c.binary++
			}
			c.mu.Unlock()
		case ws.OpPing:
			if _, err := c.conn.Write(frame(ws.OpPong, string(payload))); err != nil {
				return err
			}
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(payload)
			c.mu.Lock()
			c.code, c.reason = code, reason
			c.mu.Unlock()
			if _, err := c.conn.Write(frame(ws.OpClose, string(payload))); err != nil {
				return err
			}
		}
	}
}

// send sends one text message.
func (c *client) send(t *testing.T, text string) {
	t.Helper()
	if _, err := c.conn.Write(frame(ws.OpText, text)); err != nil {
		t.Errorf("send: %v", err)
	}
}

// received returns the messages so far.
func (c *client) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.messages)
}

// has reports whether the message has come.
func (c *client) has(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.messages, text)
}

// open returns an error if the connection has ended.
func (c *client) open() error {
	select {
	case <-c.done:
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("the connection has ended: close code %d %q, %w", c.code, c.reason, c.err)
	default:
		return nil
	}
}

// wait waits for the connection's end and returns the close code and when it ended.
func (c *client) wait(t *testing.T, within time.Duration) (ws.StatusCode, time.Time) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(within):
		t.Fatalf("the connection is open after %v", within)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.ended
}

// wantStatus fails the test unless the handshake was refused with the status.
func wantStatus(t *testing.T, err error, status int) {
	t.Helper()
	var refused *refusedError
	switch {
	case !errors.As(err, &refused):
		t.Errorf("got %v, want a refusal with %d", err, status)
	case refused.status != status:
		t.Errorf("%v; want %d", err, status)
	case status == http.StatusUnauthorized && refused.header.Get("WWW-Authenticate") == "":
		t.Errorf("401 without WWW-Authenticate: %v", refused.header)
	}
}

// meet sends probes from every client until all have heard one of each: from then on they share a group on all nodes.
// It returns when the last probe of each has come, so that what is sent next stands behind all probes.
func meet(t *testing.T, within time.Duration, clients ...*client) {
	t.Helper()
	round := 0
	eventually(t, within, func() error {
		round++
		for i, c := range clients {
			c.send(t, fmt.Sprintf("probe %d of %d", round, i))
		}
		for i := range clients {
			for j, c := range clients {
				if err := c.open(); err != nil {
					return err
				}
				if !slices.ContainsFunc(c.received(), func(m string) bool { return strings.HasSuffix(m, fmt.Sprintf(" of %d", i)) }) {
					return fmt.Errorf("client %d has heard nothing of client %d", j, i)
				}
			}
		}
		return nil
	})
	eventually(t, 5*time.Second, func() error {
		for i := range clients {
			for j, c := range clients {
				if last := fmt.Sprintf("probe %d of %d", round, i); !c.has(last) {
					return fmt.Errorf("client %d waits for %q", j, last)
				}
			}
		}
		return nil
	})
}

// forget drops what the clients have received so far.
func forget(clients ...*client) {
	for _, c := range clients {
		c.mu.Lock()
		c.messages, c.binary = nil, 0
		c.mu.Unlock()
	}
}
