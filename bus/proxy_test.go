package bus_test

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy is a TCP connection to the server that can be made to stand still: it takes what comes and passes nothing on.
type proxy struct {
	net.Listener

	mu    sync.RWMutex // held for writing while it stands still
	conns sync.WaitGroup
}

func startProxy(t *testing.T, url string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	p.conns.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
			if err != nil {
				from.Close()
				continue
			}
			p.conns.Go(func() { p.pass(to, from) })
			p.conns.Go(func() { p.pass(from, to) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.conns.Wait()
	})
	return p
}

func (p *proxy) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		p.mu.RLock()
		p.mu.RUnlock() //nolint:staticcheck // the lock is a gate
		n, err := from.Read(buf)
		p.mu.RLock()
		p.mu.RUnlock() //nolint:staticcheck // the lock is a gate
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (p *proxy) url() string { return "nats://" + p.Addr().String() }
