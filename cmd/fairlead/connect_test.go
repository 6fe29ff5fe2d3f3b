package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// wsServer is a WebSocket server of which the test writes every frame.
type wsServer struct {
	addr string
}

// newWSServer takes one connection: it hands the request to answer, which writes the response and then all the rest.
func newWSServer(t *testing.T, answer func(r *http.Request, c net.Conn, in *bufio.Reader)) wsServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Errorf("the request: %v", err)
			return
		}
		answer(r, c, in)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return wsServer{l.Addr().String()}
}

// upgraded answers with 101 and then calls frames.
func upgraded(t *testing.T, frames func(c net.Conn, in *bufio.Reader)) wsServer {
	return newWSServer(t, func(r *http.Request, c net.Conn, in *bufio.Reader) {
		accept(t, c, r)
		frames(c, in)
	})
}

// accept writes the 101 for a request.
func accept(t *testing.T, c net.Conn, r *http.Request) {
	var answer strings.Builder
	rw := struct {
		io.Reader
		io.Writer
	}{strings.NewReader("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: " + r.Header.Get("Sec-WebSocket-Key") + "\r\n\r\n"), &answer}
	if _, err := ws.Upgrade(rw); err != nil {
		t.Errorf("the request is no handshake: %v", err)
	}
	raw(t, c, answer.String())
}

// next reads one frame of the client.
func next(t *testing.T, in *bufio.Reader) ws.Frame {
	f, err := readFrame(in)
	if err != nil {
		t.Errorf("the client's frame: %v", err)
		return ws.Frame{}
	}
	if !f.Header.Masked {
		t.Error("the client's frame is not masked")
	}
	return ws.UnmaskFrameInPlace(f)
}

func write(t *testing.T, c net.Conn, frames ...ws.Frame) {
	for _, f := range frames {
		if err := ws.WriteFrame(c, f); err != nil {
			t.Errorf("writing a frame: %v", err)
		}
	}
}

// raw writes bytes that may be no frame.
func raw(t *testing.T, c net.Conn, bytes string) {
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Errorf("writing: %v", err)
	}
}

// readFrame reads one frame, as large as tests make them.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	if f.Header.Length > 1<<20 {
		return f, errors.New("the frame is too large for a test")
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

func closeFrame(code ws.StatusCode, reason string) ws.Frame {
	return ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason))
}

func wantClose(t *testing.T, f ws.Frame, code ws.StatusCode) {
	if f.Header.OpCode != ws.OpClose {
		t.Errorf("the client sent %v, want a close", f.Header.OpCode)
		return
	}
	if got, _ := ws.ParseCloseFrameData(f.Payload); got != code {
		t.Errorf("the client closed with %d, want %d", got, code)
	}
}

func TestConnectTalks(t *testing.T) {
	s := upgraded(t, func(c net.Conn, in *bufio.Reader) {
		for _, want := range []string{"one", "", "last"} {
			if f := next(t, in); f.Header.OpCode != ws.OpText || string(f.Payload) != want {
				t.Errorf("the client sent %v %q, want the text %q", f.Header.OpCode, f.Payload, want)
			}
		}
		first := ws.NewFrame(ws.OpText, false, []byte("frag"))
		write(t, c, first, ws.NewPingFrame([]byte("p")), ws.NewFrame(ws.OpContinuation, true, []byte("ment\x1b[2J")),
			ws.NewPongFrame(nil), ws.NewTextFrame([]byte("zoë\tx")), ws.NewBinaryFrame([]byte{0, 255}), ws.NewBinaryFrame(make([]byte, 65)))
		if f := next(t, in); f.Header.OpCode != ws.OpPong || string(f.Payload) != "p" {
			t.Errorf("the client answered the ping with %v %q", f.Header.OpCode, f.Payload)
		}
		wantClose(t, next(t, in), 1000)
		write(t, c, closeFrame(1000, ""))
	})
	got := fairlead(t, "one\r\n\nlast", nil, "connect", "--linger", "100ms", "ws://"+s.addr+"/p?token=hidden")
	want := "fragment\\x1b[2J\nzoë\tx\n(binary, 2 bytes) 00 ff\n(binary, 65 bytes) " + strings.TrimSpace(strings.Repeat("00 ", 64)) + " …\n"
	if got.stdout != want || got.code != 0 {
		t.Errorf("printed %q with exit code %d, want %q", got.stdout, got.code, want)
	}
	if want := "connected to ws://" + s.addr + "/p\nclosed with 1000\n"; got.stderr != want {
		t.Errorf("noted %q, want %q", got.stderr, want)
	}
}

func TestConnectEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		frames func(c net.Conn, in *bufio.Reader)
		code   int
		stderr string
	}{
		"drain": {
			func(c net.Conn, in *bufio.Reader) {
				write(t, c, closeFrame(1012, "the node stops\a"))
				wantClose(t, next(t, in), 1012)
			},
			exitClosed, "fairlead: closed with 1012: the node stops\\a\n",
		},
		"normal": {
			func(c net.Conn, in *bufio.Reader) {
				write(t, c, closeFrame(1000, "bye"))
				wantClose(t, next(t, in), 1000)
			}, 0, "closed with 1000: bye\n",
		},
		"without a code": {
			func(c net.Conn, in *bufio.Reader) {
				write(t, c, ws.NewCloseFrame(nil))
				if f := next(t, in); len(f.Payload) != 0 {
					t.Errorf("the answer to an empty close has %q", f.Payload)
				}
			}, 0, "closed with 1005\n",
		},
		"lost":            {func(net.Conn, *bufio.Reader) {}, exitFailed, "fairlead: the connection was lost: it ended without a close frame\n"},
		"in a frame":      {func(c net.Conn, _ *bufio.Reader) { raw(t, c, "\x81\x05a") }, exitFailed, "fairlead: unexpected EOF\n"},
		"protocol":        {func(c net.Conn, _ *bufio.Reader) { write(t, c, ws.MaskFrame(ws.NewTextFrame(nil))) }, exitFailed, "broke the protocol"},
		"no continuation": {func(c net.Conn, _ *bufio.Reader) { write(t, c, ws.NewFrame(ws.OpContinuation, true, nil)) }, exitFailed, "broke the protocol"},
		"reserved":        {func(c net.Conn, _ *bufio.Reader) { raw(t, c, "\xc1\x00") }, exitFailed, "broke the protocol"},
		"too large":       {func(c net.Conn, _ *bufio.Reader) { raw(t, c, "\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00") }, exitFailed, "larger than 67108864 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := upgraded(t, tt.frames)
			got := fairlead(t, "", nil, "connect", "--stay", "ws://"+s.addr)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.stderr) {
				t.Errorf("exit code %d, %q; want %d, %q", got.code, got.stderr, tt.code, tt.stderr)
			}
		})
	}
}

// TestConnectUnansweredClose: the server that does not answer our close costs some seconds at most, and no failure.
func TestConnectUnansweredClose(t *testing.T) {
	s := upgraded(t, func(c net.Conn, in *bufio.Reader) {
		wantClose(t, next(t, in), 1000)
		if n, err := io.Copy(io.Discard, in); n > 0 || err != nil { // until the client has gone
			t.Errorf("behind the close came %d bytes, %v", n, err)
		}
	})
	got := fairlead(t, "", nil, "connect", "--linger", "0s", "ws://"+s.addr)
	if got.code != 0 || !strings.Contains(got.stderr, "did not answer the close") {
		t.Errorf("exit code %d, %q", got.code, got.stderr)
	}
}

// TestConnectInterrupted: Ctrl-C, or the end of the context, closes cleanly while the input goes on.
func TestConnectInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := upgraded(t, func(c net.Conn, in *bufio.Reader) {
		write(t, c, ws.NewTextFrame([]byte("hello")))
		wantClose(t, next(t, in), 1000)
		write(t, c, closeFrame(1000, ""))
	})
	stdin, typist := io.Pipe()
	defer typist.Close()
	var stdout, stderr output
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"fairlead", "connect", "ws://" + s.addr}, getenv(nil), stdin, &stdout, &stderr)
	}()
	eventually(t, func() error {
		if stdout.String() != "hello\n" {
			return errors.New("no hello yet")
		}
		return nil
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestConnectRequest(t *testing.T) {
	file := writeFile(t, "token", "KEY\n")
	for name, tt := range map[string]struct {
		args     []string
		path     string
		host     string
		header   http.Header
		protocol string
	}{
		"header":         {args: []string{"--token", "KEY"}, header: http.Header{"Authorization": {"Bearer KEY"}}},
		"scheme":         {args: []string{"--token-file", file, "--name", "Token"}, header: http.Header{"Authorization": {"Token KEY"}}},
		"query":          {args: []string{"--token", "a b", "--via", "query"}, path: "/ws?x=1&token=a+b"},
		"query name":     {args: []string{"--token", "KEY", "--via", "query", "--name", "key"}, path: "/ws?x=1&key=KEY"},
		"cookie":         {args: []string{"--token", "KEY", "--via", "cookie"}, header: http.Header{"Cookie": {"JWT=KEY"}}},
		"two cookies":    {args: []string{"--token", "KEY", "--via", "cookie", "-H", "Cookie: a=b"}, header: http.Header{"Cookie": {"a=b; JWT=KEY"}}},
		"subprotocol":    {args: []string{"--token", "KEY", "--via", "subprotocol", "--protocol", "fairlead"}, protocol: "fairlead, bearer.KEY"},
		"further fields": {args: []string{"-H", "X-A: b, c", "--header", "x-a:d", "--origin", "https://o"}, header: http.Header{"X-A": {"b, c", "d"}, "Origin": {"https://o"}}},
		"host":           {args: []string{"-H", "host: other.test"}, host: "other.test"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWSServer(t, func(r *http.Request, c net.Conn, in *bufio.Reader) {
				if want := orElse(tt.path, "/ws?x=1"); r.RequestURI != want {
					t.Errorf("the path is %q, want %q", r.RequestURI, want)
				}
				if want := orElse(tt.host, c.LocalAddr().String()); r.Host != want {
					t.Errorf("the host is %q, want %q", r.Host, want)
				}
				for name, values := range tt.header {
					if got := strings.Join(r.Header[name], "|"); got != strings.Join(values, "|") {
						t.Errorf("%s is %q, want %q", name, got, values)
					}
				}
				if got := r.Header.Get("Sec-WebSocket-Protocol"); got != tt.protocol {
					t.Errorf("the subprotocols are %q, want %q", got, tt.protocol)
				}
				accept(t, c, r)
				write(t, c, closeFrame(1000, ""))
				next(t, in)
			})
			got := fairlead(t, "", nil, append([]string{"connect", "--stay", "ws://" + s.addr + "/ws?x=1"}, tt.args...)...)
			if got.code != 0 || strings.Contains(got.stderr, "KEY") {
				t.Errorf("exit code %d, %q", got.code, got.stderr)
			}
		})
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func TestConnectRefused(t *testing.T) {
	for name, tt := range map[string]struct{ response, want string }{
		"with a body": {
			"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Token realm=\"fairlead\"\r\nContent-Length: 14\r\n\r\nno credential\n",
			": refused with 401 Unauthorized: no credential\nfairlead: Www-Authenticate: Token realm=\"fairlead\"\n",
		},
		"without": {"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", ": refused with 503 Service Unavailable\nfairlead: Retry-After: 5\n"},
		"odd":     {"HTTP/1.1 299 What\r\nContent-Length: 3\r\n\r\n\x1b[m", ": refused with 299 : \\x1b[m\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWSServer(t, func(_ *http.Request, c net.Conn, _ *bufio.Reader) { raw(t, c, tt.response) })
			got := fairlead(t, "", nil, "connect", "ws://"+s.addr+"/a?token=hidden")
			if want := "fairlead: ws://" + s.addr + "/a" + tt.want; got.stderr != want || got.code != exitRefused || got.stdout != "" {
				t.Errorf("exit code %d, %q, want %q", got.code, got.stderr, want)
			}
		})
	}
}

func TestConnectFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nobody":     {[]string{"ws://" + nobody + "/?token=hidden"}, exitFailed, "connection refused"},
		"no url":     {[]string{"\x7fhidden"}, exitUsage, "this is no URL; want ws://HOST:PORT/PATH"},
		"http":       {[]string{"https://h/?token=hidden"}, exitUsage, "begins with https://; a WebSocket's begins with wss://"},
		"scheme":     {[]string{"ftp://h"}, exitUsage, "begins with ftp://; want ws:// or wss://"},
		"field":      {[]string{"ws://h", "-H", "hidden"}, exitUsage, `a --header is "NAME: VALUE"`},
		"two tokens": {[]string{"ws://h", "--token", "hidden", "--token-file", "f"}, exitUsage, "two credentials"},
		"no file":    {[]string{"ws://h", "--token-file", "/none/f"}, exitFailed, "/none/f: no such file"},
		"no place":   {[]string{"ws://h", "--via", "body"}, exitUsage, "--via must be one of"},
	} {
		t.Run(name, func(t *testing.T) {
			got := fairlead(t, "", nil, append([]string{"connect"}, tt.args...)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.want) || strings.Contains(got.stderr, "hidden") {
				t.Errorf("exit code %d, %q; want %d, %q", got.code, got.stderr, tt.code, tt.want)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "zoë\t\n": "zoë\t\n", "\x1b]0;x\x07": `\x1b]0;x\x07`, "\u009b1m": `\x9b1m`, "a\x7f\r": `a\x7f\x0d`,
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) is %q, want %q", in, got, want)
		}
	}
}
