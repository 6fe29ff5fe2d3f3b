package conformance

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/gobwas/ws"
)

var re = regexp.MustCompile

// data are the frames that are messages.
var data = map[string]ws.OpCode{"text": ws.OpText, "binary": ws.OpBinary}

// raw is a frame with that first byte's bits, whole unless a continuation is to come.
func raw(op ws.OpCode, rsv byte, fin bool, payload string) ws.Frame {
	f := ws.NewFrame(op, fin, []byte(payload))
	f.Header.Rsv = rsv
	return f
}

// ends is a scene in which one client breaks the protocol, or closes, and sees how its connection ends.
func ends(frames func(m []string) []ws.Frame) func(*Actor, []string) (string, error) {
	return func(a *Actor, m []string) (string, error) { return a.echo((*peer).ending, frames(m)...) }
}

func one(f ws.Frame) func([]string) []ws.Frame {
	return func([]string) []ws.Frame { return []ws.Frame{f} }
}

// asks is a scene of one handshake.
func asks(changes func(m []string) []string) func(*Actor, []string) (string, error) {
	return func(a *Actor, m []string) (string, error) { return a.asked(changes(m)...) }
}

func as(changes ...string) func([]string) []string { return func([]string) []string { return changes } }

// scenes are asked in this order; the first that knows the case acts it out.
var scenes = []scene{
	// Handshakes.
	{"", re(`^Sec-WebSocket-Version (\d+(?:, *\d+)*)`), asks(func(m []string) []string { return []string{"Sec-WebSocket-Version: " + m[1]} })},
	{"", re(`^Sec-WebSocket-Version (missing|absent)|^(no|without) Sec-WebSocket-Version`), asks(as("Sec-WebSocket-Version"))},
	{"", re(`^(key|Sec-WebSocket-Key) not 16 bytes`), asks(as("Sec-WebSocket-Key: c2hvcnQ="))},
	{"", re(`^(key|Sec-WebSocket-Key) not base64`), asks(as("Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="))},
	{"", re(`^(key|Sec-WebSocket-Key) empty`), asks(as("Sec-WebSocket-Key: "))},
	{"", re(`^(key|Sec-WebSocket-Key) (missing|absent)|^(no|without) (key|Sec-WebSocket-Key)`), asks(as("Sec-WebSocket-Key"))},
	{"", re(`^(Upgrade|Connection): (.*)$`), asks(func(m []string) []string { return []string{m[1] + ": " + m[2]} })},
	{"", re(`^(Upgrade|Connection|Host) (missing|absent)|^no (Upgrade|Connection|Host)\b`), asks(func(m []string) []string { return []string{m[1] + m[3]} })},
	{"", re(`^two Host (headers|fields)`), asks(as("Host: localhost\r\nHost: evil.test"))},
	{"", re(`^(?:method )?(POST|PUT|DELETE|OPTIONS|HEAD)\b`), func(a *Actor, m []string) (string, error) { return a.line(m[1] + " /echo HTTP/1.1") }},
	{"", re(`^HTTP/1\.0`), func(a *Actor, _ []string) (string, error) { return a.line("GET /echo HTTP/1.0") }},
	{"", re(`^101 response headers`), (*Actor).responseHeaders},
	{"", re(`^permessage-deflate offered`), func(a *Actor, _ []string) (string, error) {
		p, err := at(a.Node, "/echo", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
		if err != nil {
			return "", err
		}
		defer p.close()
		return "[" + p.head.Header.Get("Sec-WebSocket-Extensions") + "]", nil
	}},
	{"", re(`^(\d+)-byte header`), asks(func(m []string) []string { return []string{"X-Long: " + strings.Repeat("x", number(m[1]))} })},
	{"", re(`^(\d+) headers`), asks(func(m []string) (changes []string) {
		for i := range number(m[1]) {
			changes = append(changes, fmt.Sprintf("X-%d: x", i))
		}
		return changes
	})},
	{"", re(`^raw byte ([89A-F][0-9A-F]) in an unrelated header`), asks(func(m []string) []string {
		return []string{"X-Name: caf" + string([]byte{byte(number("0x" + m[1]))})}
	})},
	{"", re(`^UTF-8 in an unrelated header`), asks(as("X-Name: café"))},
	{"", re(`^Host: (\S+)`), asks(func(m []string) []string { return []string{"Host: " + m[1]} })},
	{"", re(`unknown route`), func(a *Actor, _ []string) (string, error) {
		p, err := connect(a.Node, handshake("/nowhere/"))
		if err != nil {
			return "", err
		}
		defer p.close()
		return p.status(), nil
	}},
	{"", re(`^encoded \w+: (\S+)`), func(a *Actor, m []string) (string, error) { return a.selected("Sec-WebSocket-Protocol: " + m[1]) }},
	{"", re(`^consumer accepts one that was not offered, client offered (\w+)`), func(a *Actor, m []string) (string, error) {
		return a.selected("Sec-WebSocket-Protocol: " + m[1])
	}},
	{"", re(`^consumer accepts one, client offered none`), func(a *Actor, _ []string) (string, error) { return a.selected() }},

	// What the server's side does.
	{"", re(`exception in the consumer|exception after accept`), func(a *Actor, _ []string) (string, error) { return a.consumer("panic") }},
	{"", re(`^consumer close\(\)`), func(a *Actor, _ []string) (string, error) { return a.consumer("close 1000") }},
	{"", re(`^consumer close\((\d+)\)`), func(a *Actor, m []string) (string, error) { return a.consumer("close " + m[1]) }},

	// Closes of a client.
	{"proto", re(`^client closes with (\d+): server answers`), ends(func(m []string) []ws.Frame { return []ws.Frame{closing(number(m[1]), "bye")} })},
	{"proto", re(`^client closes without code`), ends(one(ws.NewCloseFrame(nil)))},
	{"proto", re(`^client close frame with 1 byte`), ends(one(ws.NewCloseFrame([]byte{3})))},
	{"proto", re(`^client close reason not UTF-8`), ends(one(closing(1000, "\xff")))},
	{"proto", re(`^client close reason of (\d+) bytes`), ends(func(m []string) []ws.Frame {
		return []ws.Frame{closing(1000, strings.Repeat("x", number(m[1])))}
	})},
	{"proto", re(`^client close(?: frame)? of (\d+) bytes`), ends(func(m []string) []ws.Frame {
		return []ws.Frame{closing(1000, strings.Repeat("x", number(m[1])-2))}
	})},

	// Frames.
	{"proto", re(`^(empty )?ping$`), func(a *Actor, _ []string) (string, error) { return a.echo(next, ws.NewPingFrame(nil)) }},
	{"proto", re(`^pong of (\d+) bytes`), ends(func(m []string) []ws.Frame {
		return []ws.Frame{raw(ws.OpPong, 0, true, strings.Repeat("p", number(m[1])))}
	})},
	{"proto", re(`^ping of (\d+) bytes`), func(a *Actor, m []string) (string, error) {
		n := number(m[1])
		ping := raw(ws.OpPing, 0, true, strings.Repeat("p", n))
		if n > ws.MaxControlFramePayloadSize {
			return a.echo((*peer).ending, ping)
		}
		return a.echo(next, ping)
	}},
	{"proto", re(`^unsolicited pong, then text`), func(a *Actor, _ []string) (string, error) {
		return a.echo(next, ws.NewPongFrame([]byte("?")), ws.NewTextFrame([]byte("x")))
	}},
	{"proto", re(`^unmasked client frame`), func(a *Actor, _ []string) (string, error) {
		p, err := at(a.Node, "/echo")
		if err != nil {
			return "", err
		}
		defer p.close()
		if err := ws.WriteFrame(p.conn, ws.NewTextFrame([]byte("x"))); err != nil {
			return "", err
		}
		return p.ending()
	}},
	{"proto", re(`^RSV([123]) `), ends(func(m []string) []ws.Frame {
		return []ws.Frame{raw(ws.OpText, 4>>(number(m[1])-1), true, "x")}
	})},
	{"proto", re(`^reserved opcode (\d+|0x[0-9a-fA-F])`), ends(func(m []string) []ws.Frame { return []ws.Frame{raw(ws.OpCode(number(m[1])), 0, true, "x")} })},
	{"proto", re(`^continuation without start`), ends(one(raw(ws.OpContinuation, 0, true, "x")))},
	{"proto", re(`^fragmented (ping|control)|^client close frame fragmented`), ends(one(raw(ws.OpPing, 0, false, "x")))},
	{"proto", re(`^(a )?(new )?(text|message|data)( \w+)? inside a fragmented`), ends(func([]string) []ws.Frame {
		return []ws.Frame{raw(ws.OpText, 0, false, "x"), ws.NewTextFrame([]byte("y"))}
	})},
	{"proto", re(`^invalid UTF-8|^text.*UTF-8`), ends(one(ws.NewTextFrame([]byte("\xff"))))},
	{"proto", re(`^fragmented text with a ping between`), func(a *Actor, _ []string) (string, error) {
		return a.echo(func(p *peer) (string, error) { return p.frames(2) },
			raw(ws.OpText, 0, false, "hel"), ws.NewPingFrame([]byte("p")), raw(ws.OpContinuation, 0, true, "lo"))
	}},
	{"proto", re(`^fragmented (text|binary)$|^(text|binary) in two fragments`), func(a *Actor, m []string) (string, error) {
		return a.echo(next, raw(data[m[1]+m[2]], 0, false, "hel"), raw(ws.OpContinuation, 0, true, "lo"))
	}},
	{"proto", re(`^UTF-8 .*(split|divided) `), func(a *Actor, _ []string) (string, error) {
		return a.echo(next, raw(ws.OpText, 0, false, "\xc3"), raw(ws.OpContinuation, 0, true, "\xa9"))
	}},
	{"proto", re(`^(empty )?(text|binary) echo`), func(a *Actor, m []string) (string, error) {
		payload := "x"
		if m[1] != "" {
			payload = ""
		}
		return a.echo(next, raw(data[m[2]], 0, true, payload))
	}},
	{"proto", re(`^(text|binary) of (\d+) (MiB|KiB|bytes?)`), func(a *Actor, m []string) (string, error) {
		unit := map[string]int{"MiB": 1 << 20, "KiB": 1 << 10, "byte": 1, "bytes": 1}
		return a.echo(size, raw(data[m[1]], 0, true, strings.Repeat("x", number(m[2])*unit[m[3]])))
	}},

	// Groups: several clients.
	{"C-group", re(`another user of the group`), said("one", func(c *cast) *peer { return c.other })},
	{"C-group", re(`second connection of the same user`), said("one", func(c *cast) *peer { return c.second })},
	{"C-group", re(`not a member of another group`), (*Actor).elsewhere},
	{"C-group", re(`^(\d+) texts .*in order`), (*Actor).burst},
	{"C-group", re(`sender|itself|herself|own text`), said("one", func(c *cast) *peer { return c.first })},
	{"C-group", re(`^client closes (\d+): server answers`), func(a *Actor, m []string) (string, error) {
		return a.together(func(c *cast) (string, error) {
			if err := c.first.write(closing(number(m[1]), "")); err != nil {
				return "", err
			}
			return c.first.ending()
		})
	}},
	{"C-group", re(`after a member (vanished|closed|left)`), (*Actor).vanished},
	{"C-group", re(`^([\d,]+)-byte text`), func(a *Actor, m []string) (string, error) {
		return a.together(func(c *cast) (string, error) {
			if err := c.first.text(strings.Repeat("x", number(m[1]))); err != nil {
				return "", err
			}
			return size(c.other)
		})
	}},
	{"C-group", re(`^(an )?empty text`), func(a *Actor, _ []string) (string, error) {
		return a.together(func(c *cast) (string, error) {
			if err := c.first.text(""); err != nil {
				return "", err
			}
			return c.other.frames(1)
		})
	}},
	{"C-group", re(`(?i)^(a )?(non-ASCII|unicode|UTF-8) text`), said("zoë", func(c *cast) *peer { return c.other })},
	{"C-group", re(`(?i)^(a )?binary`), func(a *Actor, _ []string) (string, error) {
		return a.together(func(c *cast) (string, error) {
			if err := c.first.write(ws.NewBinaryFrame([]byte("bin"))); err != nil {
				return "", err
			}
			return c.other.frames(1)
		})
	}},
}
