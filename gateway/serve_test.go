package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A client that sends its head slowly has the deadline of the whole head, not one for each byte.
func TestServeSlowHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{open("/", "")}}, l)
		for _, silent := range []bool{true, false} {
			client := l.dial(t)
			start := time.Now()
			wrote := make(chan struct{})
			if silent {
				close(wrote)
			} else {
				go func() {
					defer close(wrote)
					for i := 0; ; i++ {
						if _, err := io.WriteString(client, browserHead[i:i+1]); err != nil {
							return
						}
						time.Sleep(time.Second / 10)
					}
				}()
			}
			resp, body := readAnswer(t, client)
			if took := time.Since(start); took < 5*time.Second || took > 6*time.Second+lingerTime {
				t.Errorf("silent %v: it took %v, want 5 s and what lingering takes", silent, took)
			}
			<-wrote
			if resp.status != 408 || !strings.Contains(body, "in time") {
				t.Errorf("silent %v: status %d, %q", silent, resp.status, body)
			}
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if s.count(reasonTimeout) != 2 {
			t.Errorf("%d timeouts, want 2", s.count(reasonTimeout))
		}
	})
}

// A head that comes in pieces within the time is a head.
func TestServeHeadInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{open("/{rest...}", "")}}, l)
		client := l.dial(t)
		go func() {
			for head := withLines(); head != ""; head = head[min(len(head), 20):] {
				send(t, client, head[:min(len(head), 20)])
				time.Sleep(time.Second / 10)
			}
		}()
		if resp, _ := readAnswer(t, client); resp.status != 101 {
			t.Errorf("status %d", resp.status)
		}
		// The actor gets a connection that no deadline of the handshake ends.
		time.Sleep(time.Minute)
		done := writeAll(client, "frame")
		conn := s.actors.conns[0]
		b := make([]byte, 5)
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != "frame" {
			t.Errorf("a minute later the actor reads %q, %v", b, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The handshake's time is the verifier's too. That it ran out is an outage of ours, not the client's fault.
func TestServeSlowVerifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		serve(t, Config{Routes: []Route{memberRoute(t)}, HandshakeTimeout: 3 * time.Second}, l)
		client := l.dial(t)
		start := time.Now()
		done := writeAll(client, handshakeTo("/ws/app_1234?token=slow"))
		resp, _ := readAnswer(t, client)
		if took := time.Since(start); resp.status != 503 || took < 3*time.Second || took > 3*time.Second+lingerTime {
			t.Errorf("status %d after %v, want 503 after 3 s", resp.status, took)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A client that left is closed without an answer, and is no refused event.
func TestServeClientGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{open("/", "")}}, l)
		for _, sent := range []string{"", "GET / HTTP/1.1\r\n"} {
			client := l.dial(t)
			send(t, client, sent)
			client.Close()
			synctest.Wait()
		}
		if s.count(reasonClientGone) != 2 || len(s.heads) != 0 || len(s.slots) != 0 {
			t.Errorf("%d gone, %d and %d places taken, want 2 and none", s.count(reasonClientGone), len(s.heads), len(s.slots))
		}
	})
}

// A refused client that sends more than its request and does not leave is cut a second later, and takes no handshake's place until then.
func TestServeLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{open("/", "")}, Handshakes: 1}, l)
		var clients []net.Conn
		for range 3 {
			clients = append(clients, l.dial(t))
		}
		for i, client := range clients {
			b := make([]byte, 12)
			send(t, client, handshakeTo("/nothing")+"and more")
			if _, err := io.ReadFull(client, b); err != nil || string(b) != "HTTP/1.1 404" {
				t.Fatalf("client %d read %q, %v", i, b, err)
			}
			go drain(client) // reads, and does not leave
			synctest.Wait()
		}
		if got := len(s.lingering); got != 1 {
			t.Errorf("%d are waited for, want 1: the bound", got)
		}
		if len(s.heads)+len(s.slots) != 0 {
			t.Errorf("%d handshakes are going on", len(s.heads)+len(s.slots))
		}
		time.Sleep(lingerTime)
		synctest.Wait()
		if got := len(s.lingering); got != 0 {
			t.Errorf("after %v, %d are waited for", lingerTime, got)
		}
		if _, err := io.WriteString(clients[0], "x"); err == nil {
			t.Error("the connection is still open")
		}
	})
}

// A client that reads nothing cannot keep a handshake.
func TestServeRefusedClientDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{open("/", "")}, Handshakes: 1}, l)
		send(t, l.dial(t), handshakeTo("/nothing"))
		second := l.dial(t)
		start := time.Now()
		if err := <-writeAll(second, handshakeTo("/")); err != nil {
			t.Fatal(err)
		}
		resp, _ := readAnswer(t, second)
		if took := time.Since(start); resp.status != 101 || took > lingerTime {
			t.Errorf("status %d after %v", resp.status, took)
		}
		if s.count(reasonNoRoute) != 1 {
			t.Error("the first was not refused")
		}
	})
}

// On a real socket: a client that is still sending when it is refused reads the answer, and no reset.
func TestServeRefusalReachesSender(t *testing.T) {
	s := serve(t, Config{Routes: []Route{open("/", "")}}, nil)
	for _, raw := range []string{
		withLines("X: " + strings.Repeat("x", 200<<10)),
		lines("GET /nothing HTTP/1.1", "Host: h") + strings.Repeat("body", 30<<10),
		"\x16\x03\x01" + strings.Repeat("\x00", 100<<10),
	} {
		for range 20 {
			conn := s.dial(t)
			wrote := writeAll(conn, raw)
			resp, _ := readAnswer(t, conn)
			if resp.status < 400 {
				t.Errorf("status %d", resp.status)
			}
			if err := <-wrote; err != nil {
				t.Log(err) // it may have been cut while sending: what counts is that it could read
			}
		}
	}
}

// All that is going on when Serve's context ends is refused at once and in order, whatever it is doing.
func TestServeStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{memberRoute(t)}, HandshakeTimeout: time.Hour}, l)
		silent, half, verifying, done := l.dial(t), l.dial(t), l.dial(t), l.dial(t)
		send(t, half, "GET / HTTP/1.1\r\n")
		send(t, verifying, handshakeTo("/ws/app_1234?token=slow"))
		send(t, done, handshakeTo("/ws/app_1234?token=alice"))
		if resp, _ := readAnswer(t, done); resp.status != 101 {
			t.Fatalf("status %d", resp.status)
		}
		synctest.Wait()
		if !s.Accepting() {
			t.Error("it does not accept")
		}
		start := time.Now()
		stopped := make(chan error, 1)
		go func() { stopped <- s.stop() }()
		answers := make(chan string)
		for _, client := range []net.Conn{silent, half, verifying} {
			go func() {
				b, _ := io.ReadAll(client)
				answers <- string(b)
			}()
		}
		for range 3 {
			if a := <-answers; !strings.HasPrefix(a, "HTTP/1.1 503 ") || !strings.Contains(a, "\r\nRetry-After: ") || !strings.HasSuffix(a, "\n") {
				t.Errorf("the answer is %q", a)
			}
		}
		if err := <-stopped; err != nil {
			t.Errorf("Serve returned %v", err)
		}
		if took := time.Since(start); took > lingerTime {
			t.Errorf("it took %v", took)
		}
		if s.Accepting() || s.count(reasonDraining) != 3 {
			t.Errorf("accepting %v, %d refused as draining", s.Accepting(), s.count(reasonDraining))
		}
		wrote := writeAll(s.actors.conns[0], "on")
		b := make([]byte, 2)
		if _, err := io.ReadFull(done, b); err != nil {
			t.Errorf("the connection that was handed over is dead: %v", err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	})
}

// A connection that is accepted while the gateway stops is refused too.
func TestServeStopsBeforeHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := New(Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{}})
		if err != nil {
			t.Fatal(err)
		}
		s := newServing(g)
		s.stop()
		client, conn := net.Pipe()
		g.heads <- struct{}{}
		s.handshakes.Add(1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		go s.handshake(ctx, conn)
		if resp, _ := readAnswer(t, client); resp.status != 503 {
			t.Errorf("status %d", resp.status)
		}
		s.handshakes.Wait()
	})
}

// One gateway may serve several listeners, and each Serve ends with its own context.
func TestServeTwoListeners(t *testing.T) {
	g, err := New(Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{err: errors.New("no")}})
	if err != nil {
		t.Fatal(err)
	}
	var stops []func() error
	var addrs []string
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		l, err := Listen(ctx, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- g.Serve(ctx, l) }()
		stops = append(stops, func() error { cancel(); return <-done })
		addrs = append(addrs, l.Addr().String())
	}
	waitFor(t, "accepting", func() bool { return g.accepting.Load() == 2 })
	ask := func(addr string) string {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return "refused"
		}
		defer conn.Close()
		send(t, conn, handshakeTo("/"))
		b, err := io.ReadAll(conn)
		if err != nil {
			return err.Error()
		}
		return string(bytes.SplitN(b, []byte("\r\n"), 2)[0])
	}
	const failed = "HTTP/1.1 500 Internal Server Error"
	if a, b := ask(addrs[0]), ask(addrs[1]); a != failed || b != failed {
		t.Errorf("got %q and %q", a, b)
	}
	if err := stops[0](); err != nil {
		t.Error(err)
	}
	if a, b := ask(addrs[0]), ask(addrs[1]); a != "refused" || b != failed || !g.Accepting() {
		t.Errorf("after one stopped: %q and %q, accepting %v", a, b, g.Accepting())
	}
	if err := stops[1](); err != nil || g.Accepting() {
		t.Errorf("Serve returned %v, accepting %v", err, g.Accepting())
	}
}
