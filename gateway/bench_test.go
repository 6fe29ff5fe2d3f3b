package gateway

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
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

// BenchmarkRecheck is one look at one of 15,000 connections, with its goroutine and its place in the queue, and what that
// comes to at recheck = "60s", in percent of a core.
func BenchmarkRecheck(b *testing.B) {
	secret := bytes.Repeat([]byte("k"), 32)
	issuer, err1 := authn.NewIssuer(authn.IssuerConfig{JWT: authn.JWTConfig{Secret: secret}})
	hs256, err2 := authn.NewJWT(authn.JWTConfig{Secret: secret})
	drf, err3 := authn.NewDRFToken(b.Context(), authn.DRFTokenConfig{DSN: "sqlite:../authn/testdata/django.sqlite3"})
	if err := errors.Join(err1, err2, err3); err != nil {
		b.Fatal(err)
	}
	defer drf.Close()
	token, err := issuer.Issue(authn.IssueParams{Subject: "1", TTL: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name, token string
		verifier    authn.Verifier
	}{
		{"nothing asked", "alice", verifierFunc(tokenVerifier)},
		{"HS256", token, hs256},
		{"drf_token on SQLite", strings.Repeat("a1", 20), drf},
	} {
		b.Run(c.name, func(b *testing.B) { benchRecheck(b, c.verifier, c.token) })
	}
}

func benchRecheck(b *testing.B, v authn.Verifier, token string) {
	const connections, every = 15000, time.Hour
	query, err := authn.NewQuery("token")
	if err != nil {
		b.Fatal(err)
	}
	chain, err := authn.NewChain(authn.Source{Extractor: query, Verifier: v})
	if err != nil {
		b.Fatal(err)
	}
	n := newLasting(b, Route{Path: "/ws/{group}", Join: []string{"{group}"}, Chain: chain, Recheck: every})
	n.connect(token, "app_1")
	r := n.rechecks
	all := []*watch{r.all[0]}
	for range connections - 1 { // one actor has them all
		w := *all[0]
		w.index, w.place = -1, -1
		r.add(&w)
		all = append(all, &w)
	}
	b.ReportAllocs()
	i, done := 0, make(chan struct{})
	for b.Loop() {
		w := all[i%connections]
		i++
		r.mu.Lock()
		heap.Remove(&r.queue, w.index)
		r.mu.Unlock()
		go func() {
			r.check(w)
			done <- struct{}{}
		}()
		<-done
	}
	if got := n.results()["ok"]; got < b.N {
		b.Fatalf("%d of %d are ok: %v", got, b.N, n.results())
	}
	perSecond := connections / (0.75 * 60)
	b.ReportMetric(100*perSecond*b.Elapsed().Seconds()/float64(b.N), "%core")
}
