// Package peer is a small WebSocket server for the tests of bench: groups, broadcast, HS256 tokens, an internal HTTP port. It
// is written with another WebSocket library than bench's own few lines, and stands for any server that bench may measure.
// Only tests import it.
package peer

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/golang-jwt/jwt/v5"
)

// Secret is the HS256 key when none is configured.
const Secret = "a key of at least thirty-two bytes"

// Config changes how the server behaves; the zero value is a good server.
type Config struct {
	Secret       string        // HS256 key; "": Secret
	Hang         bool          // after a refusal: does not close
	WriteTimeout time.Duration // a member that does not take a message for so long is cut; 0: one minute
	DropEach     int           // loses each so many-th delivery; 0: none
	Ping         bool          // sends a ping with each delivery
	Journal      bool          // has a journal, by its metrics
	Any          bool          // lets in whoever shows anything, without a look at it
	Compress     bool          // compresses each message once, by its metrics
	TLS          *tls.Config   // nil: plain TCP
}

// Server is a running server.
type Server struct {
	Address  string // the public port
	Internal string // base URL with /readyz and /metrics

	cfg      Config
	listener net.Listener
	internal *http.Server
	wg       sync.WaitGroup
	opened   atomic.Int64
	refused  atomic.Int64
	sent     atomic.Int64
	said     atomic.Int64
	pongs    atomic.Int64
	ended    atomic.Int64

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	groups map[string]map[*member]struct{}
}

// member has a queue and a writer, as many servers do.
type member struct {
	conn  net.Conn
	queue chan []byte
	token string
}

// Start starts a server that runs until the test ends.
func Start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := New("127.0.0.1:0", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// New starts a server on two addresses. The caller closes it.
func New(public, internal string, cfg Config) (*Server, error) {
	l, err := net.Listen("tcp4", public)
	if err != nil {
		return nil, err
	}
	il, err := net.Listen("tcp4", internal)
	if err != nil {
		l.Close()
		return nil, err
	}
	if cfg.TLS != nil {
		l = tls.NewListener(l, cfg.TLS)
	}
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = time.Minute
	}
	if cfg.Secret == "" {
		cfg.Secret = Secret
	}
	s := &Server{
		Address: l.Addr().String(), Internal: "http://" + il.Addr().String(), cfg: cfg, listener: l,
		conns: map[net.Conn]struct{}{}, groups: map[string]map[*member]struct{}{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("POST /api/v1/tickets", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"ticket": "one for all"}`)
	})
	s.internal = &http.Server{Handler: mux}
	s.wg.Go(func() { _ = s.internal.Serve(il) })
	s.wg.Go(s.accept)
	return s, nil
}

// Close ends the server and everything that it has started.
func (s *Server) Close() {
	s.internal.Close()
	s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Restart closes each connection with 1012, as a server does that stops, and takes no new ones.
func (s *Server) Restart() {
	s.listener.Close()
	frame := ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1012, "restart")))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, members := range s.groups {
		for m := range members {
			m.queue <- frame // so few as a test has, it has room for
		}
	}
}

// Revoke closes the connection of each token with 4401. By the metrics each was a recheck.
func (s *Server) Revoke(tokens []string) {
	frame := ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(4401, "the credential is no longer good")))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, members := range s.groups {
		for m := range members {
			if slices.Contains(tokens, m.token) {
				s.ended.Add(1)
				m.queue <- frame // so few as a test has, it has room for
			}
		}
	}
}

// Opened returns the number of connections that were let in.
func (s *Server) Opened() int64 { return s.opened.Load() }

// Pongs returns the number of pongs received.
func (s *Server) Pongs() int64 { return s.pongs.Load() }

// Say sends a text to the members of a group.
func (s *Server) Say(group, text string) { s.broadcast(group, []byte(text)) }

// Members returns the number of members of a group.
func (s *Server) Members(group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.groups[group])
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	fmt.Fprintf(w, "# TYPE fairlead_deliveries_total counter\nfairlead_deliveries_total %d\n", s.sent.Load())
	fmt.Fprintf(w, "fairlead_handshakes_total{result=\"accepted\",reason=\"\"} %d\n", s.opened.Load())
	fmt.Fprintf(w, "fairlead_handshakes_total{result=\"refused\",reason=\"bad_signature\"} %d\n", s.refused.Load())
	fmt.Fprintf(w, "go_goroutines %d\nfairlead_connections %d\n", n+10, n)
	fmt.Fprintf(w, "fairlead_rechecks_total{result=\"rejected\"} %d\n", s.ended.Load())
	if s.cfg.Compress {
		fmt.Fprintf(w, "fairlead_compressions_total %d\n", s.said.Load())
	}
	if s.cfg.Journal {
		fmt.Fprintf(w, "fairlead_journal_records_total{kind=\"opened\"} %d\n", 2*s.opened.Load())
	}
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(conn)
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

var errRefused = errors.New("refused")

func (s *Server) serve(conn net.Conn) {
	m := &member{conn: conn, queue: make(chan []byte, 4096)}
	group, err := s.handshake(conn, m)
	defer s.leave(group, m)
	if err != nil {
		s.refused.Add(1)
		if s.cfg.Hang {
			_, _ = conn.Read(make([]byte, 1)) // until the client goes
		}
		return
	}
	s.opened.Add(1)
	s.wg.Go(m.write(s.cfg.WriteTimeout))
	for {
		h, err := ws.ReadHeader(conn)
		if err != nil {
			return
		}
		payload := make([]byte, h.Length)
		if _, err := readFull(conn, payload); err != nil {
			return
		}
		ws.Cipher(payload, h.Mask, 0)
		switch h.OpCode {
		case ws.OpClose:
			_ = wsutil.WriteServerMessage(conn, ws.OpClose, payload)
			return
		case ws.OpPong:
			s.pongs.Add(1)
		case ws.OpText:
			s.broadcast(group, payload)
		}
	}
}

func readFull(conn net.Conn, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = conn.Read(b[n:])
		n += k
	}
	return n, err
}

func (m *member) write(timeout time.Duration) func() {
	return func() {
		for b := range m.queue {
			err := m.conn.SetWriteDeadline(time.Now().Add(timeout))
			if err == nil {
				_, err = m.conn.Write(b)
			}
			if err != nil {
				if tcp, ok := m.conn.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				m.conn.Close()
			}
		}
	}
}

func (s *Server) broadcast(group string, payload []byte) {
	s.said.Add(1)
	frame := ws.MustCompileFrame(ws.NewTextFrame(payload))
	if s.cfg.Ping {
		frame = append(ws.MustCompileFrame(ws.NewPingFrame([]byte("hi"))), frame...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.groups[group] {
		if n := s.sent.Add(1); s.cfg.DropEach > 0 && n%int64(s.cfg.DropEach) == 0 {
			continue
		}
		select {
		case m.queue <- frame:
		default: // its writer waits, and will cut it
		}
	}
}

func (s *Server) join(group string, m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups[group] == nil {
		s.groups[group] = map[*member]struct{}{}
	}
	s.groups[group][m] = struct{}{}
}

func (s *Server) leave(group string, m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups[group], m)
	close(m.queue)
}

// handshake upgrades the connection of a client with a good token, which is a member before it is answered.
func (s *Server) handshake(conn net.Conn, m *member) (group string, err error) {
	var token string
	u := ws.Upgrader{
		OnRequest: func(uri []byte) error {
			path, query, _ := strings.Cut(string(uri), "?")
			group = strings.TrimPrefix(path, "/ws/")
			if v, err := url.ParseQuery(query); err == nil && v.Get("token") != "" {
				token = v.Get("token")
			}
			return nil
		},
		OnHeader: func(key, value []byte) error {
			switch string(key) {
			case "Authorization":
				token = string(bytes.TrimPrefix(value, []byte("Bearer ")))
			case "Cookie":
				token = string(bytes.TrimPrefix(value, []byte("token=")))
			}
			return nil
		},
		Protocol: func(p []byte) bool {
			if t, ok := strings.CutPrefix(string(p), "bearer."); ok {
				token = t
			}
			return false
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			m.token = token
			if s.cfg.Any && token != "" {
				s.join(group, m)
				return nil, nil
			}
			_, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return []byte(s.cfg.Secret), nil },
				jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
			if err != nil {
				return nil, ws.RejectConnectionError(ws.RejectionStatus(401), ws.RejectionReason(errRefused.Error()))
			}
			s.join(group, m)
			return nil, nil
		},
	}
	_, err = u.Upgrade(conn)
	return group, err
}
