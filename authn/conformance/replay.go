package conformance

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// patience is how long a node may take for an answer.
const patience = 5 * time.Second

// peer is the client's side of a connection.
type peer struct {
	conn net.Conn
	in   *bufio.Reader
	head *http.Response
}

// connect sends the request, byte for byte, and reads the head of the answer.
func connect(addr string, request []byte) (*peer, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p := &peer{conn: conn, in: bufio.NewReader(conn)}
	if _, err := conn.Write(request); err != nil { // a refusal may come while this is still being sent
		var op *net.OpError
		if !errors.As(err, &op) {
			return nil, errors.Join(err, conn.Close())
		}
	}
	if p.head, err = http.ReadResponse(p.in, nil); err != nil { //nolint:bodyclose // it is the connection, which close ends
		return nil, errors.Join(err, conn.Close())
	}
	return p, nil
}

func (p *peer) close() { p.conn.Close() }

// status returns what came before any frame: "101", "401", …
func (p *peer) status() string { return fmt.Sprint(p.head.StatusCode) }

// write sends one frame, masked as clients do.
func (p *peer) write(f ws.Frame) error { return ws.WriteFrame(p.conn, ws.MaskFrame(f)) }

func (p *peer) text(s string) error { return p.write(ws.NewTextFrame([]byte(s))) }

// read returns the next frame that is no ping.
func (p *peer) read() (ws.Frame, error) {
	for {
		f, err := p.readFrame()
		if err != nil || f.Header.OpCode != ws.OpPing {
			return f, err
		}
		if err := p.write(ws.NewPongFrame(f.Payload)); err != nil {
			return f, err
		}
	}
}

// maxPayload is above the longest text of any case.
const maxPayload = 64 << 20

func (p *peer) readFrame() (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(p.in); err != nil {
		return f, err
	}
	if f.Header.Length > maxPayload {
		return f, fmt.Errorf("a frame of %d bytes", f.Header.Length)
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(p.in, f.Payload)
	return f, err
}

// frames reads n frames and returns them as "text:one, pong:p".
func (p *peer) frames(n int) (string, error) {
	var all []string
	for range n {
		f, err := p.read()
		if err != nil {
			return "", err
		}
		if f.Header.OpCode == ws.OpClose {
			return closed(f), nil
		}
		all = append(all, opcodes[fmt.Sprint(int(f.Header.OpCode))]+":"+string(f.Payload))
	}
	return strings.Join(all, ", "), nil
}

// ending reads to the close frame and returns "close=CODE", or "EOF".
func (p *peer) ending() (string, error) {
	for {
		f, err := p.read()
		var ne net.Error
		switch {
		case errors.As(err, &ne) && ne.Timeout():
			return "", err
		case err != nil:
			return "EOF", nil //nolint:nilerr // an end without a close frame
		case f.Header.OpCode == ws.OpClose:
			return closed(f), nil
		}
	}
}

func closed(f ws.Frame) string {
	if len(f.Payload) < 2 {
		return "close=none"
	}
	code, _ := ws.ParseCloseFrameData(f.Payload)
	return fmt.Sprintf("close=%d", code)
}

// Replay sends the request of the case to the node at addr and returns the answer in the words of the package. The
// endpoint in the path says what makes an answer: who its first frame names, whether the group hears, and so on.
func Replay(addr string, c *Case) (string, error) {
	p, err := connect(addr, c.Request)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "EOF", nil
	}
	if err != nil {
		return "", err
	}
	defer p.close()
	r := parse(c.Request)
	switch {
	case p.head.StatusCode == http.StatusUnauthorized && p.head.Header.Get("WWW-Authenticate") == "":
		return "", errors.New("401 without WWW-Authenticate")
	case p.head.StatusCode == http.StatusUpgradeRequired && p.head.Header.Get("Upgrade") == "" && p.head.Header.Get("Sec-WebSocket-Version") == "":
		return "", errors.New("426 without a word of what would be right")
	case p.head.StatusCode != http.StatusSwitchingProtocols:
		return p.status(), nil
	case r.route == "ws":
		return p.joined()
	case r.leaf == "who", r.leaf == "socket", r.leaf == "late":
		return p.who()
	case r.leaf == "proto":
		return "101 selected=" + p.head.Header.Get("Sec-WebSocket-Protocol"), nil
	}
	return p.status(), nil
}

// joined says something, which the whole group hears, the one who says it too.
func (p *peer) joined() (string, error) {
	if err := p.text("hi"); err != nil {
		return "", err
	}
	said, err := p.frames(1)
	if err == nil && said == "text:hi" {
		return "101 joined", nil
	}
	return "101 " + said, err
}

// who reads the greeting, or the close that comes in its place.
func (p *peer) who() (string, error) {
	f, err := p.read()
	switch {
	case err != nil:
		return "", err
	case f.Header.OpCode == ws.OpClose:
		return "101 " + closed(f), nil
	}
	var id struct {
		Subject, Name string
		Anonymous     bool
	}
	if err := json.Unmarshal(f.Payload, &id); err != nil {
		return "", fmt.Errorf("the greeting %q: %w", f.Payload, err)
	}
	switch {
	case id.Anonymous:
		return "101 anonymous", nil
	case id.Subject == "":
		return "101 user= without a subject", nil
	}
	return "101 user=" + id.Name, nil
}
