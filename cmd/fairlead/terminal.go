package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	maxReceived  = 64 << 20         // bytes of one message that comes
	maxShown     = 64               // bytes of a binary message that are shown
	writeTimeout = 10 * time.Second // for one frame
	closeTimeout = 3 * time.Second  // for the other side's half of the close
)

// terminal is a WebSocket with a person at this end.
type terminal struct {
	// Fixed after dial.
	conn  net.Conn
	out   io.Writer
	notes io.Writer

	// Owned by receive.
	in      *bufio.Reader
	message []byte    // what came of a fragmented message
	op      ws.OpCode // its kind

	// Guarded by mu, which is held while writing to conn.
	mu     sync.Mutex
	closed bool // our close frame was sent
}

// readLines reads lines until the input ends, and closes the channel then. A goroutine that waits for a person cannot be
// interrupted, so it lives until the input ends or somebody takes its line, at the latest with the process.
func readLines(r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewReader(r); ; {
			line, err := in.ReadString('\n')
			if line = strings.TrimRight(line, "\r\n"); line != "" || err == nil {
				lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// talk sends lines and prints messages until the connection, ctx or the lines end; the latter has linger's time to be
// answered, or all of it with stay. It returns after the connection has ended.
func (t *terminal) talk(ctx context.Context, lines <-chan string, linger time.Duration, stay bool) error {
	ended := make(chan error, 1)
	go func() { ended <- t.receive() }()
	var enough <-chan time.Time
	for {
		select {
		case line, ok := <-lines:
			switch {
			case ok:
				if err := t.send(ws.OpText, []byte(line)); err != nil {
					t.conn.Close()
					return errors.Join(fmt.Errorf("cannot send: %w", err), <-ended)
				}
				continue
			case !stay:
				enough = time.After(linger)
			}
			lines = nil
		case err := <-ended:
			return err
		case <-enough:
			return t.close(ended)
		case <-ctx.Done():
			return t.close(ended)
		}
	}
}

// close makes the closing handshake from our side.
func (t *terminal) close(ended <-chan error) error {
	if err := t.send(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")); err != nil {
		t.conn.Close()
	}
	if err := t.conn.SetReadDeadline(time.Now().Add(closeTimeout)); err != nil {
		t.conn.Close()
	}
	if err := <-ended; err != nil && !errors.Is(err, net.ErrClosed) {
		fmt.Fprintln(t.notes, "closed; the server did not answer the close")
		return nil
	}
	return nil
}

// send writes one frame with one write. After a close frame it writes nothing more, as RFC 6455 section 5.5.1 says.
func (t *terminal) send(op ws.OpCode, payload []byte) error {
	var b bytes.Buffer
	if err := ws.WriteFrame(&b, ws.MaskFrame(ws.NewFrame(op, true, payload))); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = op == ws.OpClose
	if err := t.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := t.conn.Write(b.Bytes())
	return err
}

// receive prints messages and answers control frames until the connection ends. It returns nil after a close that is no
// failure: with 1000 or 1001, or after our own.
func (t *terminal) receive() error {
	for {
		h, payload, err := t.frame()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the connection was lost: it ended without a close frame")
			}
			return err
		}
		switch h.OpCode {
		case ws.OpPing:
			if err := t.send(ws.OpPong, payload); err != nil {
				return err
			}
		case ws.OpPong:
		case ws.OpClose:
			return t.ended(payload)
		default:
			if h.OpCode != ws.OpContinuation {
				t.op = h.OpCode
			}
			t.message = append(t.message, payload...)
			if h.Fin {
				t.print()
			}
		}
	}
}

// frame reads one frame and checks that the protocol allows it.
func (t *terminal) frame() (ws.Header, []byte, error) {
	h, err := ws.ReadHeader(t.in)
	if err != nil {
		return h, nil, err
	}
	state := ws.StateClientSide
	if t.op != 0 {
		state |= ws.StateFragmented
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return h, nil, fmt.Errorf("the server broke the protocol: %w", err)
	}
	if h.Length > maxReceived-int64(len(t.message)) {
		return h, nil, fmt.Errorf("a message is larger than %d bytes", maxReceived)
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(t.in, payload)
	return h, payload, err
}

// print shows the message that is complete.
func (t *terminal) print() {
	if t.op == ws.OpText {
		fmt.Fprintln(t.out, printable(string(t.message)))
	} else {
		shown := fmt.Sprintf("% x", t.message[:min(len(t.message), maxShown)])
		if len(t.message) > maxShown {
			shown += " …"
		}
		fmt.Fprintf(t.out, "(binary, %d bytes) %s\n", len(t.message), shown)
	}
	t.message, t.op = t.message[:0], 0
}

// ended answers the close frame and says what it means.
func (t *terminal) ended(body []byte) error {
	t.mu.Lock()
	ours := t.closed
	t.mu.Unlock()
	code := ws.StatusNoStatusRcvd
	reason := ""
	if len(body) >= 2 {
		code, reason = ws.StatusCode(binary.BigEndian.Uint16(body)), string(body[2:])
		body = body[:2]
	}
	err := t.send(ws.OpClose, body)
	text := fmt.Sprintf("closed with %d", code)
	if reason != "" {
		text += ": " + inLine(reason)
	}
	switch {
	case ours || code == ws.StatusNormalClosure || code == ws.StatusGoingAway || code == ws.StatusNoStatusRcvd:
		fmt.Fprintln(t.notes, text)
		return nil
	case err != nil:
		text += " (and the answer could not be sent)"
	}
	return &exitError{exitClosed, errors.New(text)}
}

// inLine shows what strconv.Quote would not print as it is as \n, \u202e and the like, so that nobody's name can begin a line,
// fill a column or turn around what stands beside it. Quotation marks and backslashes stay.
func inLine(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if strconv.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			b.WriteString(s[:n])
		} else {
			quoted := strconv.Quote(s[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// printable shows control characters as \x1b and the like, so that nobody's message can steer the terminal. It leaves a text
// its lines; see inLine for a value that has a place in one.
func printable(s string) string {
	control := func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 }
	if strings.IndexFunc(s, control) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if control(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
