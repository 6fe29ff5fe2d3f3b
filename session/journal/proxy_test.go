package journal_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy passes a client of NATS on to a server, and can swallow what the server acknowledges: the message is in the log, and
// the client does not learn of it.
type proxy struct {
	net.Listener
	swallow   atomic.Bool  // the acknowledgements of publications
	swallowed atomic.Int64 // so many
	conns     sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn
}

func startProxy(t *testing.T, server net.Addr) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	p.conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server.String())
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, client, to)
			p.mu.Unlock()
			p.conns.Go(func() {
				defer to.Close()
				defer client.Close()
				io.Copy(to, client) //nolint:errcheck // a connection ends somehow
			})
			p.conns.Go(func() {
				defer to.Close()
				defer client.Close()
				p.filter(client, bufio.NewReader(to))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.conns.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.Addr().String() }

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}

// filter passes the server's messages on, one by one. An acknowledgement of a publication begins with the stream's name.
func (p *proxy) filter(client io.Writer, server *bufio.Reader) {
	for {
		line, err := server.ReadString('\n')
		if err != nil {
			return
		}
		whole := line
		if fields := strings.Fields(line); len(fields) > 3 && (fields[0] == "MSG" || fields[0] == "HMSG") {
			var size int
			if _, err := fmt.Sscan(fields[len(fields)-1], &size); err != nil {
				return
			}
			payload := make([]byte, size+2)
			if _, err := io.ReadFull(server, payload); err != nil {
				return
			}
			if strings.HasPrefix(string(payload), `{"stream":`) && p.swallow.Load() {
				p.swallowed.Add(1)
				continue
			}
			whole += string(payload)
		}
		if _, err := io.WriteString(client, whole); err != nil {
			return
		}
	}
}
