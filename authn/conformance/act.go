package conformance

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gobwas/ws"
)

// Actor acts out the cases that are no single request.
type Actor struct {
	Node     string   // the address of a node with the conformance routes
	Consumer string   // that of a program whose connections do as the client says: "close CODE" or "panic"
	Tokens   []string // of two users who may join app_1234, the first also app_1

	heard string // what was heard in Django's group, and so what has to be said; "": nothing was
}

// scene is how one kind of case is acted out. It returns the answer in the words of the package.
type scene struct {
	group string // "": any
	match *regexp.Regexp
	play  func(a *Actor, m []string) (string, error)
}

// Act acts the case out. ok is false where nobody here knows how.
func (a *Actor) Act(c *Case) (answer string, ok bool, err error) {
	act := *a
	for _, seen := range c.seen() {
		if text, ok := strings.CutPrefix(seen, "text:"); ok && c.Group == "C-group" {
			act.heard = text
		}
	}
	for _, s := range scenes {
		if s.group != "" && s.group != c.Group {
			continue
		}
		if m := s.match.FindStringSubmatch(c.Name); m != nil {
			answer, err := s.play(&act, m)
			return answer, true, err
		}
	}
	return "", false, nil
}

// handshake is one as it should be, but for the changes: "Name: value" takes the place of the field of that name, "Name"
// alone leaves it out, and what a handshake need not have is added.
func handshake(target string, changes ...string) []byte {
	fields := []string{
		"Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef")),
	}
	var more []string
	for _, change := range changes {
		name, value, has := strings.Cut(change, ":")
		i := slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, name+":") })
		switch {
		case i < 0 && has:
			more = append(more, change)
		case i < 0:
		case !has:
			fields = slices.Delete(fields, i, i+1)
		default:
			fields[i] = name + ":" + value
		}
	}
	return []byte("GET " + target + " HTTP/1.1\r\n" + strings.Join(append(fields, more...), "\r\n") + "\r\n\r\n")
}

// asked returns the status of a handshake at the echoing route.
func (a *Actor) asked(changes ...string) (string, error) {
	p, err := connect(a.Node, handshake("/echo", changes...))
	if err != nil {
		return "", err
	}
	defer p.close()
	return p.status(), nil
}

// line returns the status of a handshake whose request line is another.
func (a *Actor) line(l string) (string, error) {
	_, fields, _ := strings.Cut(string(handshake("/")), "\r\n")
	p, err := connect(a.Node, []byte(l+"\r\n"+fields))
	if err != nil {
		return "", err
	}
	defer p.close()
	return p.status(), nil
}

// at connects and wants to get in.
func at(addr, target string, changes ...string) (*peer, error) {
	p, err := connect(addr, handshake(target, changes...))
	if err != nil {
		return nil, err
	}
	if p.head.StatusCode != http.StatusSwitchingProtocols {
		p.close()
		return nil, fmt.Errorf("%s: status %d", strings.SplitN(target, "?", 2)[0], p.head.StatusCode)
	}
	return p, nil
}

// echo writes the frames to the echoing route and returns the answer.
func (a *Actor) echo(answer func(*peer) (string, error), frames ...ws.Frame) (string, error) {
	p, err := at(a.Node, "/echo")
	if err != nil {
		return "", err
	}
	defer p.close()
	for _, f := range frames {
		if err := p.write(f); err != nil {
			return "", err
		}
	}
	return answer(p)
}

// next reads one frame.
func next(p *peer) (string, error) { return p.frames(1) }

// size reads one message and returns how long it is.
func size(p *peer) (string, error) {
	var op ws.OpCode
	n := 0
	for {
		f, err := p.read()
		switch {
		case err != nil:
			return "", err
		case f.Header.OpCode == ws.OpClose:
			return closed(f), nil
		case f.Header.OpCode != ws.OpContinuation:
			op = f.Header.OpCode
		}
		if n += len(f.Payload); f.Header.Fin {
			return fmt.Sprintf("%s of %d bytes", opcodes[strconv.Itoa(int(op))], n), nil
		}
	}
}

// consumer has the program's connection do what the word says.
func (a *Actor) consumer(word string) (string, error) {
	p, err := at(a.Consumer, "/consumer")
	if err != nil {
		return "", err
	}
	defer p.close()
	if err := p.text(word); err != nil {
		return "", err
	}
	return p.ending()
}

// selected offers subprotocols to an endpoint that speaks one.
func (a *Actor) selected(offer ...string) (string, error) {
	p, err := at(a.Node, "/s/proto/", offer...)
	if err != nil {
		return "", err
	}
	defer p.close()
	return "101 selected=" + p.head.Header.Get("Sec-WebSocket-Protocol"), nil
}

// number reads an integer that the pattern let through.
func number(s string) int {
	n, err := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 0, 0)
	if err != nil {
		panic(err)
	}
	return int(n)
}

// closing is a close frame with the code and a reason.
func closing(code int, reason string) ws.Frame {
	return ws.NewCloseFrame(append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}
