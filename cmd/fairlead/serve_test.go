package main

import (
	"bufio"
	"context"
	"encoding/json"
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

// serving is a `fairlead serve` inside this process.
type serving struct {
	public, internal string // addresses
	stdout, stderr   *output
	stop             context.CancelFunc
	ended            chan error
}

// startServe runs serve on free ports and waits until it is ready.
func startServe(t *testing.T, env []string, args ...string) *serving {
	t.Helper()
	s := launch(t, env, args...)
	eventually(t, func() error { return s.ready(200) })
	return s
}

// launch runs serve on free ports and waits until it serves. The test's end stops it, and fails the test if it did not end
// well.
func launch(t *testing.T, env []string, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &serving{stdout: &output{}, stderr: &output{}, stop: cancel, ended: make(chan error, 1)}
	args = append([]string{"fairlead", "serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--log-format", "json"}, args...)
	go func() { s.ended <- run(ctx, args, getenv(env), strings.NewReader(""), s.stdout, s.stderr) }()
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Errorf("serve: %v", err)
		}
		if t.Failed() {
			t.Logf("its log:\n%s", s.stderr)
		}
	})
	eventually(t, func() error {
		select {
		case err := <-s.ended:
			s.ended <- err
			t.Fatalf("serve has ended: %v\n%s", err, s.stderr)
		default:
		}
		if s.findAddresses(); s.public == "" {
			return errors.New("it does not say where it serves")
		}
		return nil
	})
	return s
}

// end stops it and returns how it ended. It may be called again.
func (s *serving) end() error {
	s.stop()
	err := <-s.ended
	s.ended <- err
	return err
}

func (s *serving) findAddresses() {
	for line := range strings.Lines(s.stderr.String()) {
		var l struct{ Msg, Public, Internal string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "serving" {
			s.public, s.internal = l.Public, l.Internal
		}
	}
}

// get asks the internal port.
func (s *serving) get(path string) (status int, body string, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.internal + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// ready returns an error unless /readyz answers with the status.
func (s *serving) ready(want int) error {
	status, body, err := s.get("/readyz?verbose")
	if err == nil && status != want {
		err = fmt.Errorf("/readyz: %d, want %d: %s", status, want, body)
	}
	return err
}

// client is a WebSocket client.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// refused is what a client meets that does not get in.
type refused int

func (r refused) Error() string { return fmt.Sprintf("refused with %d", int(r)) }

// tryDial connects with the header's fields. The error is a refused where the server answered.
func tryDial(t *testing.T, url string, header http.Header) (*client, error) {
	t.Helper()
	var status int
	d := ws.Dialer{
		Timeout: 10 * time.Second, Header: ws.HandshakeHeaderHTTP(header),
		OnStatusError: func(s int, _ []byte, _ io.Reader) { status = s },
	}
	conn, in, _, err := d.Dial(context.Background(), url)
	switch {
	case status != 0:
		return nil, refused(status)
	case err != nil:
		return nil, err
	case in == nil:
		in = bufio.NewReader(conn)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t, conn, in}, nil
}

func dial(t *testing.T, url string) *client {
	t.Helper()
	c, err := tryDial(t, url, nil)
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewTextFrame([]byte(text)))); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// read returns the next data frame or close, and answers pings. The tests' messages are never fragmented.
func (c *client) read() (ws.Frame, error) {
	for {
		f, err := readFrame(c.in)
		if err != nil || f.Header.OpCode != ws.OpPing {
			return f, err
		}
		if err := ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewPongFrame(f.Payload))); err != nil {
			return f, err
		}
	}
}

// want reads the next messages.
func (c *client) want(texts ...string) {
	c.t.Helper()
	for _, want := range texts {
		f, err := c.read()
		if err != nil || f.Header.OpCode != ws.OpText || string(f.Payload) != want {
			c.t.Fatalf("got %v %q, %v; want %q", f.Header.OpCode, f.Payload, err, want)
		}
	}
}

// wantClosed reads until the close, checks its code and answers it. It may be called on any goroutine.
func (c *client) wantClosed(code ws.StatusCode) {
	c.t.Helper()
	for {
		f, err := c.read()
		switch {
		case err != nil:
			c.t.Errorf("%v, want a close with %d", err, code)
			return
		case f.Header.OpCode == ws.OpClose:
			if got, reason := ws.ParseCloseFrameData(f.Payload); got != code {
				c.t.Errorf("closed with %d (%s), want %d", got, reason, code)
			}
			if err := ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewCloseFrame(f.Payload))); err != nil {
				c.t.Errorf("answering the close: %v", err)
			}
			return
		}
	}
}

// greeted dials and reads the greeting.
func greeted(t *testing.T, url string) *client {
	t.Helper()
	c := dial(t, url)
	f, err := c.read()
	if err != nil || !strings.Contains(string(f.Payload), `"subject"`) {
		t.Fatalf("the greeting is %q, %v", f.Payload, err)
	}
	return c
}

// anyone is a configuration in which everybody may join any group.
const anyone = `
[[route]]
path = "/ws/{group}"
join = ["{group}"]
anonymous = "allow"
[drain]
window = "50ms"
`

func TestServeBroadcasts(t *testing.T) {
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", anyone))
	url := "ws://" + s.public + "/ws/"
	a, b, other := dial(t, url+"a"), dial(t, url+"a"), dial(t, url+"b")
	a.send("one")
	a.want("one")
	b.want("one")
	b.send("two")
	a.want("two")
	b.want("two")
	other.send("only b")
	other.want("only b")
	if status, _, err := s.get("/healthz"); status != 200 || err != nil {
		t.Errorf("/healthz: %d, %v", status, err)
	}
	s.stop()
	for _, c := range []*client{a, b, other} {
		c.wantClosed(1012)
	}
	if err := s.end(); err != nil {
		t.Errorf("serve: %v", err)
	}
	if _, err := net.DialTimeout("tcp", s.public, time.Second); err == nil {
		t.Error("it still listens")
	}
	for _, want := range []string{`"msg":"serving"`, `"bus":"embedded"`, `"connections":3`, `"msg":"stopped"`} {
		if !strings.Contains(s.stderr.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, s.stderr)
		}
	}
	if s.stdout.String() != "" {
		t.Errorf("it wrote to standard output: %q", s.stdout)
	}
}

// TestServeDrains: during a drain new clients find nobody, the node says that it is not ready, and the closes are spread.
func TestServeDrains(t *testing.T) {
	const window = 2 * time.Second
	s := startServe(t, []string{"FAIRLEAD_DRAIN_WINDOW=" + window.String()}, "--config", writeFile(t, "fairlead.toml", anyone))
	closed := make(chan time.Duration, 20)
	begin := time.Now()
	var clients sync.WaitGroup
	for range cap(closed) {
		c := dial(t, "ws://"+s.public+"/ws/a")
		clients.Go(func() {
			c.wantClosed(1012)
			closed <- time.Since(begin)
		})
	}
	s.stop()
	eventually(t, func() error { return s.ready(503) })
	if _, err := tryDial(t, "ws://"+s.public+"/ws/a", nil); err == nil {
		t.Error("a new client got in during the drain")
	}
	if err := s.end(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > window+10*time.Second {
		t.Errorf("the stop took %v, with a window of %v", took, window)
	}
	clients.Wait()
	times := make([]time.Duration, cap(closed))
	for i := range times {
		times[i] = <-closed
	}
	slices.Sort(times)
	if spread := times[len(times)-1] - times[0]; spread < window/4 {
		t.Errorf("all closes came within %v, with a window of %v", spread, window)
	}
}

func TestServeFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy, config := taken.Addr().String(), writeFile(t, "fairlead.toml", anyone)
	for name, tt := range map[string]struct {
		args []string
		env  []string
		code int
		want string
	}{
		"public":   {args: []string{"--dev", "--listen", busy}, want: busy + " is taken by another program; choose another address with --listen or the key listen.public"},
		"internal": {args: []string{"--dev", "--listen", "127.0.0.1:0", "--internal", busy}, want: busy + " is taken by another program; choose another address with --internal or the key listen.internal"},
		"nats": {
			args: []string{"--dev", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--nats-listen", busy},
			want: busy + " is taken by another program; choose another address with --nats-listen or the key nats.listen",
		},
		"address":        {args: []string{"--config", config, "--listen", "192.0.2.1:0"}, want: "the address is that of --listen or the key listen.public"},
		"two configs":    {args: []string{"--dev", "--config", config}, code: exitUsage, want: "want --dev or --config, not both"},
		"no route":       {want: "there is no [[route]]"},
		"no file":        {args: []string{"--config", "none.toml"}, want: "there is no configuration file none.toml"},
		"wrong flag":     {args: []string{"--dev", "--log-level", "loud"}, want: `flag --log-level: log.level: is "loud"`},
		"wrong variable": {args: []string{"--dev"}, env: []string{"FAIRLEAD_LIMITS_HANDSHAKES=0"}, want: "limits.handshakes: is 0"},
		"credentials":    {args: []string{"--config", config, "--nats-url", "nats://h:1"}, env: []string{"FAIRLEAD_NATS_CREDS=/none/creds"}, want: "nats.creds: stat /none/creds: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			got := fairlead(t, "", tt.env, append([]string{"serve"}, tt.args...)...)
			if want := max(tt.code, exitFailed); got.code != want || !strings.Contains(got.stderr, tt.want) {
				t.Errorf("exit code %d, %q; want %d, %q", got.code, got.stderr, want, tt.want)
			}
			if got.stdout != "" {
				t.Errorf("it wrote %q", got.stdout)
			}
		})
	}
}
