package crowd

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-ws/fairlead/bench/internal/peer"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// start runs a crowd in this process.
func start(t *testing.T) *Client {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	in, commands := io.Pipe()
	replies, out := io.Pipe()
	served := make(chan error, 1)
	go func() {
		err := c.Serve(in, out)
		out.Close()
		served <- err
	}()
	client := newClient(os.Getpid(), commands, replies, func() error { return <-served })
	t.Cleanup(func() {
		if err := client.Quit(); err != nil {
			t.Errorf("the crowd ends with %v", err)
		}
	})
	return client
}

func opening(s *peer.Server, n int) Open {
	return Open{
		Connections: n, Address: s.Address, Path: "/ws/room", Via: wire.ViaHeader, Secret: peer.Secret,
		Window: 16, Sources: 2, Reading: Parse, Timeout: 10 * time.Second,
	}
}

func mustOpen(t *testing.T, c *Client, o Open) Opened {
	t.Helper()
	got, err := c.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if got.Open != o.Connections || got.Refused+got.Failed != 0 || got.Latency.N != int64(o.Connections) {
		t.Fatalf("want %d connections, got %+v", o.Connections, got)
	}
	return got
}

func TestOpenByEveryWay(t *testing.T) {
	s := peer.Start(t, peer.Config{})
	c := start(t)
	for i, via := range []wire.Via{wire.ViaHeader, wire.ViaQuery, wire.ViaCookie, wire.ViaSubprotocol} {
		o := opening(s, 3)
		o.Via, o.First, o.Path = via, 100*i, "/ws/room-{i}"
		if got := mustOpen(t, c, o); got.Status[101] != 3 || got.Elapsed <= 0 {
			t.Errorf("%s: %+v", via, got)
		}
		if n := s.Members("room-" + []string{"0", "100", "200", "300"}[i]); n != 1 {
			t.Errorf("%s: %d members in the first one's group, want 1", via, n)
		}
	}
	if n, err := c.Count(Count{}); err != nil || n.Open != 12 || n.Lost != 0 {
		t.Errorf("got %+v, %v", n, err)
	}
}

func TestRefused(t *testing.T) {
	s := peer.Start(t, peer.Config{})
	c := start(t)
	forged := opening(s, 5)
	forged.Forge = true
	without := opening(s, 5)
	without.Via = wire.ViaNone
	for _, o := range []Open{forged, without} {
		got, err := c.Open(o)
		if err != nil || got.Refused != 5 || got.Open+got.Failed != 0 || got.Status[401] != 5 || got.Latency.N != 5 {
			t.Errorf("got %+v, %v; want 5 refused with 401", got, err)
		}
	}
}

// TestRefusedButNotClosed has a server that answers no and goes on holding the connection.
func TestRefusedButNotClosed(t *testing.T) {
	s := peer.Start(t, peer.Config{Hang: true})
	c := start(t)
	o := opening(s, 2)
	o.Forge, o.Timeout = true, 50*time.Millisecond
	got, err := c.Open(o)
	if err != nil || got.Failed != 2 || got.Refused != 0 || !strings.Contains(got.Error, errNotEnded.Error()) {
		t.Errorf("got %+v, %v; want 2 failed: %v", got, err, errNotEnded)
	}
}

func TestOpenFails(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	c := start(t)
	good := Open{Connections: 3, Address: nobody, Window: 2, Timeout: time.Second, Reading: Parse, Via: wire.ViaNone, Path: "/"}
	if got, err := c.Open(good); err != nil || got.Failed != 3 || !strings.Contains(got.Error, "connect: ") {
		t.Errorf("nobody listens: %+v, %v", got, err)
	}
	for name, change := range map[string]func(*Open){
		"a name":         func(o *Open) { o.Address = "localhost:80" },
		"IPv6":           func(o *Open) { o.Address = "[::1]:80" },
		"no window":      func(o *Open) { o.Window = 0 },
		"no timeout":     func(o *Open) { o.Timeout = 0 },
		"too many files": func(o *Open) { o.Connections = 1 << 31 },
	} {
		o := good
		change(&o)
		if got, err := c.Open(o); err == nil {
			t.Errorf("%s: no error, but %+v", name, got)
		}
	}
}

// TestReading publishes to members that read in each of the ways, and counts every delivery once.
func TestReading(t *testing.T) {
	for _, reading := range []Reading{Parse, Discard, Sweep} {
		t.Run(string(reading), func(t *testing.T) {
			s := peer.Start(t, peer.Config{Ping: reading == Parse})
			c := start(t)
			o := opening(s, 20)
			o.Reading = reading
			mustOpen(t, c, o)
			o.First, o.Connections, o.Reading = 20, 2, Stall
			mustOpen(t, c, o)
			for run, p := range []Publish{
				{Senders: 1, Size: 128, Messages: 5, Rate: 1000, Drain: 10 * time.Second},
				{Senders: 3, Size: 128, Messages: 200, Window: 16, Drain: 10 * time.Second},
				{Senders: 2, Size: 128, Duration: 20 * time.Millisecond, Window: 4, Drain: 10 * time.Second},
			} {
				got, err := c.Publish(p)
				if err != nil {
					t.Fatal(err)
				}
				if got.Members != 20 || got.Received != got.Expected || got.Expected != 20*int64(got.Messages) || got.Elapsed <= 0 {
					t.Errorf("run %d: %+v", run, got)
				}
				if p.Messages > 0 && got.Messages != p.Messages || got.Messages == 0 {
					t.Errorf("run %d: %d messages, want %d", run, got.Messages, p.Messages)
				}
			}
			n, err := c.Count(Count{Reset: true})
			if err != nil || n.Open != 22 || n.Lost != 0 || n.Gaps != 0 || n.Repeats != 0 {
				t.Errorf("got %+v, %v", n, err)
			}
			if parsed := reading == Parse; parsed != (n.Messages > 0) || parsed != (n.Latency.N == n.Messages && n.Pings >= n.Messages && n.Latency.P50 > 0) {
				t.Errorf("%s counts %+v", reading, n)
			}
			if n, err := c.Count(Count{}); err != nil || n.Messages != 0 || n.Latency.N != 0 || n.Open != 22 {
				t.Errorf("after a reset: %+v, %v", n, err)
			}
			if reading == Parse {
				for deadline := time.Now().Add(10 * time.Second); s.Pongs() < n.Pings; {
					if time.Now().After(deadline) {
						t.Fatalf("%d pongs for %d pings", s.Pongs(), n.Pings)
					}
				}
			}
		})
	}
}

// TestLossIsSeen has a server that loses deliveries.
func TestLossIsSeen(t *testing.T) {
	s := peer.Start(t, peer.Config{DropEach: 7})
	c := start(t)
	mustOpen(t, c, opening(s, 10))
	got, err := c.Publish(Publish{Senders: 1, Size: 64, Messages: 70, Rate: 5000, Drain: 200 * time.Millisecond})
	if err != nil || got.Expected != 700 || got.Received != 600 {
		t.Errorf("%+v, %v; want 600 of 700", got, err)
	}
	if n, err := c.Count(Count{}); err != nil || n.Gaps == 0 || n.Repeats != 0 {
		t.Errorf("%+v, %v; want gaps", n, err)
	}
}

func TestPublishRefuses(t *testing.T) {
	s := peer.Start(t, peer.Config{})
	c := start(t)
	o := opening(s, 1)
	o.Reading = Stall
	mustOpen(t, c, o)
	good := Publish{Senders: 1, Size: 64, Messages: 1, Rate: 1, Drain: time.Second}
	for name, change := range map[string]func(*Publish){
		"nobody reads": func(*Publish) {},
		"short":        func(p *Publish) { p.Size = MinimumSize - 1 },
		"no sender":    func(p *Publish) { p.Senders = 0 },
		"two senders":  func(p *Publish) { p.Senders = 2 },
		"no drain":     func(p *Publish) { p.Drain = 0 },
		"for ever":     func(p *Publish) { p.Messages = 0 },
		"no window":    func(p *Publish) { p.Rate = 0 },
	} {
		p := good
		change(&p)
		if got, err := c.Publish(p); err == nil {
			t.Errorf("%s: no error, but %+v", name, got)
		}
	}
}

func TestLeaving(t *testing.T) {
	s := peer.Start(t, peer.Config{})
	c := start(t)
	for _, how := range []Leaving{Frame, Fin, Reset, Mixed} {
		o := opening(s, 30)
		o.Leaving = how // at once, each
		if how == Reset {
			limit, err := proc.RaiseFileLimit()
			if err != nil {
				t.Fatal(err)
			}
			if limit <= 20_000 { // more than there can be files, but not at once
				o.Connections = limit + 1
			}
		}
		got, err := c.Open(o)
		if err != nil || got.Open != o.Connections || got.Failed != 0 {
			t.Errorf("cycle by %s: %+v, %v", how, got, err)
		}
		o.Leaving, o.Connections = Stay, 30
		mustOpen(t, c, o)
		n, err := c.Close(Close{Leaving: how, Timeout: 10 * time.Second})
		if err != nil || n.Open != 0 || n.Lost != 0 {
			t.Errorf("close by %s: %+v, %v", how, n, err)
		}
		for deadline := time.Now().Add(10 * time.Second); s.Members("room") > 0; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d members stay", how, s.Members("room"))
			}
		}
	}
	if _, err := c.Close(Close{}); err == nil {
		t.Error("a close without a way is no error")
	}
}

// TestLost cuts a member that does not read, and sees it in the kernel's table; the others are not disturbed.
func TestLost(t *testing.T) {
	s := peer.Start(t, peer.Config{WriteTimeout: 100 * time.Millisecond})
	c := start(t)
	mustOpen(t, c, opening(s, 3))
	o := opening(s, 1)
	o.First, o.Reading, o.ReceiveBuffer = 3, Stall, 4096
	mustOpen(t, c, o)
	port := netip.MustParseAddrPort(s.Address).Port()
	held := func() (n int) {
		all, err := proc.ReadSockets(port)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if all[i].Open() {
				n++
			}
		}
		return n
	}
	if n := held(); n != 4 {
		t.Fatalf("the server holds %d sockets, want 4", n)
	}
	got, err := c.Publish(Publish{Senders: 1, Size: 60_000, Messages: 200, Window: 2, Drain: 5 * time.Second})
	if err != nil || got.Received != got.Expected || got.Members != 3 {
		t.Errorf("the readers: %+v, %v", got, err)
	}
	for deadline := time.Now().Add(10 * time.Second); held() != 3; {
		if time.Now().After(deadline) {
			t.Fatalf("the server holds %d sockets, want 3", held())
		}
	}
	if n, err := c.Count(Count{}); err != nil || n.Lost != 0 {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestRaw throws away what a plain TCP server sends, as for the floor.
func TestRaw(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := start(t)
	o := Open{Connections: 4, Address: l.Addr().String(), Raw: true, Window: 4, Reading: Sweep, Timeout: 10 * time.Second}
	mustOpen(t, c, o)
	for i := range 4 {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(make([]byte, 1000+i)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.Await(Await{Discarded: 4006, Timeout: 10 * time.Second}); err != nil || n.Discarded != 4006 {
		t.Errorf("%+v, %v", n, err)
	}
	if n, err := c.Await(Await{Discarded: 4007, Timeout: 50 * time.Millisecond}); err == nil {
		t.Errorf("a byte that nobody sent: %+v", n)
	}
	if n, err := c.Close(Close{Leaving: Fin, Timeout: time.Second}); err != nil || n.Open != 0 {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestServerGoes has a server that closes everything.
func TestServerGoes(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := start(t)
	mustOpen(t, c, Open{Connections: 2, Address: l.Addr().String(), Raw: true, Window: 2, Reading: Parse, Timeout: 10 * time.Second})
	for _, last := range []string{"\x88\x02\x03\xf4", "\x83\x00"} { // a close frame with 1012, and no frame at all
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(last)); err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		n, err := c.Count(Count{})
		if err != nil {
			t.Fatal(err)
		}
		if n.Lost == 2 && n.Open == 0 && n.Codes[1012] == 1 && n.Error != "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v", n)
		}
	}
}

// TestStart has a crowd in a process of its own.
func TestStart(t *testing.T) {
	s := peer.Start(t, peer.Config{})
	c, err := Start(t.Context(), os.Args[0], childFlag)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	c.Progress = func(string) { told++ }
	if c.PID() == os.Getpid() || unix.Kill(c.PID(), 0) != nil {
		t.Errorf("the crowd's process is %d", c.PID())
	}
	mustOpen(t, c, opening(s, 5))
	if _, err := c.Publish(Publish{Senders: 1, Size: 64, Messages: 25, Rate: 10, Drain: time.Second}); err != nil || told == 0 {
		t.Errorf("publish: %v, %d lines of progress", err, told)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	if _, err := c.Count(Count{}); err == nil {
		t.Error("a crowd that has ended answers")
	}
	if _, err := Start(t.Context(), "/nonexistent/crowd"); err == nil {
		t.Error("a program that is not there starts")
	}
}

func TestServeRefusesNonsense(t *testing.T) {
	for _, give := range []string{"hello", "{}\nnonsense\n"} {
		c, err := New()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := c.Serve(strings.NewReader(give), &out); err == nil {
			t.Errorf("Serve(%q) has no error", give)
		}
		if strings.HasPrefix(give, "{}") && !strings.Contains(out.String(), "nothing in it") {
			t.Errorf("an empty command is answered with %q", out.String())
		}
	}
}
