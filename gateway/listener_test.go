package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestListen(t *testing.T) {
	for _, c := range []ListenConfig{{}, {DeferAccept: 1500 * time.Millisecond}} {
		l, err := c.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(client, "x"); err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if on := sockopt(t, conn, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); on != 0 {
			t.Errorf("%+v: keep-alive is on", c)
		}
		conn.Close()
		client.Close()
		l.Close()
	}
	if _, err := Listen(t.Context(), "no address"); err == nil || !strings.HasPrefix(err.Error(), "gateway: ") {
		t.Errorf("got %v", err)
	}
}

func sockopt(t *testing.T, conn any, level, opt int) (value int) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), level, opt) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return value
}

// Out of descriptors, the loop neither ends nor spins, says so once, and goes on when they are back.
func TestServeSurvivesAcceptErrors(t *testing.T) {
	for _, errno := range []error{
		errTooManyFiles, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPERM, errors.New("unheard of"),
	} {
		t.Run(fmt.Sprint(errno), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log syncBuffer
				l := newPipeListener()
				s := serve(t, Config{Routes: []Route{open("/", "")}, Logger: log.logger()}, l)
				const failures = 15
				start := time.Now()
				l.fail(errno, failures)
				client := l.dial(t)
				time.Sleep(time.Second / 2)
				if s.Accepting() {
					t.Error("it says that it accepts")
				}
				if err := <-writeAll(client, handshakeTo("/")); err != nil {
					t.Fatal(err)
				}
				if resp, _ := readAnswer(t, client); resp.status != 101 {
					t.Errorf("status %d", resp.status)
				}
				// 5 ms doubled to 640 ms make 1,275, and 7 of a second.
				if took, want := time.Since(start), 8275*time.Millisecond; took != want {
					t.Errorf("it waited %v, want %v", took, want)
				}
				if !s.Accepting() {
					t.Error("it says that it does not accept")
				}
				if n := testutil.ToFloat64(s.metrics.acceptErrors); n != failures {
					t.Errorf("%v errors are counted, want %d", n, failures)
				}
				if n := strings.Count(log.String(), "cannot accept"); n != 1 {
					t.Errorf("%d lines say so:\n%s", n, log.String())
				}
			})
		})
	}
}

// Trouble that comes and goes is one trouble: one line when it begins, one when it is over.
func TestServeLogsTroubleOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		l := newPipeListener()
		serve(t, Config{Routes: []Route{open("/", "")}, Logger: log.logger()}, l)
		for range 100 {
			l.fail(errTooManyFiles, 1)
			l.dial(t).Close()
			time.Sleep(10 * time.Millisecond)
		}
		count := func() (begun, over int) {
			return strings.Count(log.String(), "cannot accept"), strings.Count(log.String(), "accepting connections again")
		}
		if begun, over := count(); begun != 1 || over != 0 {
			t.Errorf("%d begun, %d over, want 1 and 0", begun, over)
		}
		time.Sleep(maxAcceptPause)
		l.dial(t).Close()
		synctest.Wait()
		if begun, over := count(); begun != 1 || over != 1 || !strings.Contains(log.String(), "errors=100") {
			t.Errorf("%d begun, %d over, want 1 and 1:\n%s", begun, over, log.String())
		}
		l.fail(errTooManyFiles, 1)
		time.Sleep(maxAcceptPause)
		if begun, _ := count(); begun != 2 {
			t.Errorf("another trouble: %d begun, want 2", begun)
		}
	})
}

// It stops at once also while it waits after an error, and while all handshakes are taken.
func TestServeStopsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := serve(t, Config{Routes: []Route{open("/", "")}}, l)
		l.fail(errTooManyFiles, 1000)
		time.Sleep(10 * time.Second)
		start := time.Now()
		if err := s.stop(); err != nil || time.Since(start) != 0 {
			t.Errorf("Serve returned %v after %v", err, time.Since(start))
		}

		l = newPipeListener()
		s = serve(t, Config{Routes: []Route{open("/", "")}, Handshakes: 1, HandshakeTimeout: time.Hour}, l)
		go drain(l.dial(t))
		synctest.Wait()
		if err := s.stop(); err != nil || time.Since(start) > lingerTime {
			t.Errorf("Serve returned %v after %v", err, time.Since(start))
		}
	})
}

// What no waiting can mend ends Serve with an error.
func TestServeFatalErrors(t *testing.T) {
	for _, fatal := range []error{net.ErrClosed, syscall.EBADF, syscall.EINVAL} {
		l := newPipeListener()
		l.fail(fatal, 1)
		g, err := New(Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Serve(t.Context(), l); !errors.Is(err, fatal) {
			t.Errorf("Serve returned %v, want %v", err, fatal)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener is not closed: %v", err)
		}
	}
}

func TestServeWithEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	g, err := New(Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Serve(ctx, l); err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener is open")
	}
}
