package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

type connectCmd struct {
	URL       string        `arg:"" help:"Where to connect to: ws://HOST:PORT/PATH or wss://…"`
	Token     string        `placeholder:"TOKEN" help:"Credential to show. Other users of the machine can see it; --token-file is for those that matter."`
	TokenFile string        `placeholder:"FILE" help:"Read the credential from a file."`
	Via       string        `enum:"header,query,cookie,subprotocol" default:"header" help:"Where to show it: ${enum}."`
	Name      string        `placeholder:"NAME" help:"With --via header the scheme (Bearer), query the parameter (token), cookie the cookie (JWT), subprotocol what stands before the token (bearer.)."`
	Header    []string      `short:"H" sep:"none" placeholder:"NAME: VALUE" help:"A further header field. May be given several times."`
	Origin    string        `placeholder:"ORIGIN" help:"The Origin that a browser would send."`
	Protocol  []string      `sep:"none" placeholder:"NAME" help:"A subprotocol to offer. May be given several times."`
	Linger    time.Duration `default:"1s" help:"How long to wait for messages after the end of the input."`
	Stay      bool          `help:"Stay connected after the end of the input."`
	Timeout   time.Duration `default:"10s" help:"For connecting."`
}

// Help implements [kong.HelpProvider].
func (connectCmd) Help() string {
	return `Each line of standard input is sent as a text message. Messages that come are printed on standard output, a line for
each, and what happens to the connection on standard error. Ctrl-D or Ctrl-C closes.

Exit codes: 0 after a close with 1000 or 1001 or by you, 1 when there was no connection or it was lost, 3 when the server
refused the handshake, 4 when it closed with another code.

Examples:

    fairlead connect --token KEY --via header --name Token ws://127.0.0.1:8000/ws/app_1234
    fairlead connect 'ws://127.0.0.1:8000/ws/app_1234?token=KEY'
    fairlead connect --token-file jwt --via subprotocol --protocol fairlead ws://127.0.0.1:8000/ws/app_1234
    echo hello | fairlead connect --token KEY ws://127.0.0.1:8000/ws/app_1234`
}

// Run connects and talks until somebody ends it.
func (cmd connectCmd) Run(ctx context.Context, c *console) error {
	ctx, s := listen(ctx)
	defer s.stop()
	t, err := cmd.dial(ctx, c)
	if err != nil {
		return err
	}
	defer t.conn.Close()
	return t.talk(ctx, readLines(c.stdin), cmd.Linger, cmd.Stay)
}

// dial makes the handshake.
func (cmd connectCmd) dial(ctx context.Context, c *console) (*terminal, error) {
	u, err := parseURL(cmd.URL)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	shown := u.Scheme + "://" + u.Host + u.Path // without the query, where tokens are
	d := ws.Dialer{Timeout: cmd.Timeout, Protocols: cmd.Protocol}
	header, err := cmd.header(&d)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	if err := cmd.showToken(u, &d, header); err != nil {
		return nil, err
	}
	d.Header = ws.HandshakeHeaderHTTP(header)
	var refused error
	d.OnStatusError = func(status int, _ []byte, response io.Reader) { refused = refusal(status, response) }

	conn, br, hs, err := d.Dial(ctx, u.String())
	switch {
	case refused != nil:
		return nil, &exitError{exitRefused, fmt.Errorf("%s: %w", shown, refused)}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", shown, err)
	case br == nil:
		br = bufio.NewReader(conn)
	}
	if hs.Protocol != "" {
		shown += " with the subprotocol " + hs.Protocol
	}
	fmt.Fprintf(c.stderr, "connected to %s\n", shown)
	return &terminal{conn: conn, in: br, out: c.stdout, notes: c.stderr}, nil
}

// parseURL never quotes the URL, since tokens stand in URLs.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return nil, errors.New("this is no URL; want ws://HOST:PORT/PATH, in quotes if there is a ? in it")
	}
	switch u.Scheme {
	case "ws", "wss":
		return u, nil
	case "http", "https":
		return nil, fmt.Errorf("the URL begins with %s://; a WebSocket's begins with %s://", u.Scheme, strings.Replace(u.Scheme, "http", "ws", 1))
	default:
		return nil, fmt.Errorf("the URL begins with %s://; want ws:// or wss://", u.Scheme)
	}
}

// header returns the fields of --header and --origin. Host, of which there can be only one, goes to d.
func (cmd connectCmd) header(d *ws.Dialer) (http.Header, error) {
	header := http.Header{}
	for _, field := range cmd.Header {
		name, value, ok := strings.Cut(field, ":")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" {
			return nil, errors.New(`a --header is "NAME: VALUE"`)
		}
		if textproto.CanonicalMIMEHeaderKey(name) == "Host" {
			d.Host = value
			continue
		}
		header.Add(name, value)
	}
	if cmd.Origin != "" {
		header.Set("Origin", cmd.Origin)
	}
	return header, nil
}

// showToken puts the credential where --via says.
func (cmd connectCmd) showToken(u *url.URL, d *ws.Dialer, header http.Header) error {
	token := cmd.Token
	if cmd.TokenFile != "" {
		if token != "" {
			return &exitError{exitUsage, errors.New("--token and --token-file are two credentials; want one")}
		}
		b, err := os.ReadFile(cmd.TokenFile)
		if err != nil {
			return err
		}
		token = strings.TrimSpace(string(b))
	}
	if token == "" {
		return nil
	}
	name := cmd.Name
	if name == "" {
		name = map[string]string{"header": "Bearer", "query": "token", "cookie": "JWT", "subprotocol": "bearer."}[cmd.Via]
	}
	switch cmd.Via {
	case "header":
		header.Set("Authorization", name+" "+token)
	case "query":
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += url.QueryEscape(name) + "=" + url.QueryEscape(token)
	case "cookie":
		cookie := name + "=" + token
		if others := header.Get("Cookie"); others != "" {
			cookie = others + "; " + cookie
		}
		header.Set("Cookie", cookie)
	case "subprotocol":
		d.Protocols = append(d.Protocols, name+token)
	}
	return nil
}

// maxRefusal is how much of a refusal's body is shown.
const maxRefusal = 4 << 10

// refusal makes an error of a response that is no 101.
func refusal(status int, response io.Reader) error {
	text := fmt.Sprintf("refused with %d %s", status, http.StatusText(status))
	r, err := http.ReadResponse(bufio.NewReader(response), nil)
	if err != nil {
		return errors.New(text)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxRefusal)) // what came is better than nothing
	if s := strings.TrimSpace(printable(string(body))); s != "" {
		text += ": " + s
	}
	for _, name := range []string{"Www-Authenticate", "Retry-After", "Location"} {
		if v := r.Header.Get(name); v != "" {
			text += "\n" + name + ": " + inLine(v)
		}
	}
	return errors.New(text)
}
