package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
)

// benchConn is a connection without a kernel: it reads one head, and swallows what is written.
type benchConn struct {
	net.Conn
	in bytes.Reader
}

func (c *benchConn) Read(p []byte) (int, error)      { return c.in.Read(p) }
func (c *benchConn) Write(p []byte) (int, error)     { return len(p), nil }
func (c *benchConn) Close() error                    { return nil }
func (c *benchConn) SetDeadline(time.Time) error     { return nil }
func (c *benchConn) SetReadDeadline(time.Time) error { return nil }
func (c *benchConn) RemoteAddr() net.Addr            { return benchAddr }

var benchAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}

type benchActors struct{}

func (benchActors) Open(context.Context, net.Conn, actor.Birth) error { return nil }

// BenchmarkHandshake is one handshake without the kernel and without a goroutine: from the first read to the actor or the
// end of the refusal.
func BenchmarkHandshake(b *testing.B) {
	for _, c := range []struct{ name, raw string }{
		{"accepted", handshakeTo("/ws/app_1234", "Authorization: Token alice")},
		{"accepted browser", strings.Replace(browserHead, "0123456789abcdef0123456789abcdef01234567", "alice", 1)},
		{"refused token", handshakeTo("/ws/app_1234", "Authorization: Token mallory")},
		{"refused path", handshakeTo("/nothing", "Authorization: Token alice")},
		{"refused head", withLines("Authorization : Token alice")},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := memory(b)
			g, err := New(Config{Routes: []Route{memberRoute(b)}, Actors: benchActors{}, Journal: m, Epoch: testEpoch})
			if err != nil {
				b.Fatal(err)
			}
			s := newServing(g)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			defer g.refused.start(ctx)()
			conn, raw := &benchConn{}, []byte(c.raw)
			b.ReportAllocs()
			for b.Loop() {
				conn.in.Reset(raw)
				g.heads <- struct{}{}
				s.handshakes.Add(1)
				s.handshake(ctx, conn)
			}
		})
	}
}

// BenchmarkHandshakeTCP is one handshake with all that the kernel does for both ends, over the loopback interface.
func BenchmarkHandshakeTCP(b *testing.B) {
	for _, c := range []struct{ name, raw string }{
		{"accepted", handshakeTo("/ws/app_1234", "Authorization: Token alice")},
		{"refused", handshakeTo("/ws/app_1234", "Authorization: Token mallory")},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := serve(b, Config{Routes: []Route{memberRoute(b)}, Actors: closingActors{}}, nil)
			b.ReportAllocs()
			for b.Loop() {
				conn, err := net.Dial("tcp", s.addr)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.WriteString(conn, c.raw); err != nil {
					b.Fatal(err)
				}
				drain(conn)
				conn.Close()
			}
		})
	}
}

// closingActors answers and closes.
type closingActors struct{}

func (closingActors) Open(_ context.Context, conn net.Conn, b actor.Birth) error {
	_, err := conn.Write(b.Response)
	return errors.Join(err, conn.Close())
}
