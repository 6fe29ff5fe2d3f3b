package bus

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const patience = 20 * time.Second

func startNATS(t testing.TB, c NATSConfig) *NATS {
	t.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	b, err := NewNATS(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

func startServer(t testing.TB, c EmbeddedConfig) *Embedded {
	t.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	e, err := StartEmbedded(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func joinNow(t testing.TB, b *NATS, name string, m Member) {
	t.Helper()
	done := make(chan error, 1)
	b.Join(mustGroup(t, name), m, 0, func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the join is not done")
	}
}

// counter is a member that counts messages.
type counter struct{ atomic.Int64 }

func (c *counter) Deliver(b *Batch) bool {
	c.Add(int64(len(b.Messages())))
	return true
}

// nats.go closes its connection for good after some errors of the server. The bus makes another one.
func TestConnectionEndsForGood(t *testing.T) {
	e := startServer(t, EmbeddedConfig{})
	reg := prometheus.NewRegistry()
	b := startNATS(t, NATSConfig{Embedded: e, Registerer: reg})
	peer := startNATS(t, NATSConfig{Embedded: e})
	var m counter
	joinNow(t, b, "a", &m)
	joinNow(t, b, "b", &m)
	for round := range int64(3) {
		first := b.link.conn.Load()
		first.Close()
		eventually(t, "there is another connection", func() bool { return b.link.conn.Load() != first && b.Connected() })
		for _, name := range []string{"a", "b"} {
			if err := peer.Publish(Message{Group: mustGroup(t, name), Payload: []byte("x")}, nil); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "both groups hear again", func() bool { return m.Load() == 2*(round+1) })
	}
	if n := testutil.ToFloat64(b.hub.metrics.subscriptions); n != 2 {
		t.Errorf("subscriptions = %v, want 2", n)
	}
	if n := testutil.ToFloat64(b.hub.metrics.reconnects); n != 3 {
		t.Errorf("reconnects = %v, want 3", n)
	}
}

// A group that had members meanwhile lingers from its last leave, not from its first.
func TestLingerBeginsAgain(t *testing.T) {
	b := startNATS(t, NATSConfig{Embedded: startServer(t, EmbeddedConfig{}), Linger: time.Hour})
	name := mustGroup(t, "g")
	st := b.hub.stripe(name)
	for range 2 {
		joinNow(t, b, "g", &discard{})
	}
	st.mu.Lock()
	g := st.groups[name]
	st.mu.Unlock()
	b.link.retire(idler{g, 0}) // it has members
	b.Leave(b.Join(name, &discard{}, 0, nil))
	if g.idling {
		t.Error("a group with members is idle")
	}

	other := mustGroup(t, "h")
	b.Leave(b.Join(other, &discard{}, 0, nil))
	so := b.hub.stripe(other)
	so.mu.Lock()
	h := so.groups[other]
	first := idler{h, h.idle}
	so.mu.Unlock()
	b.Leave(b.Join(other, &discard{}, 0, nil))
	b.link.retire(first)
	so.mu.Lock()
	defer so.mu.Unlock()
	if so.groups[other] != h || h.state == removed {
		t.Error("the group is gone though members were there since")
	}
	if last := b.link.idle[len(b.link.idle)-1]; last.group != h || last.at <= first.at {
		t.Errorf("the group is to be looked at again at %v, want its later leave, after %v", last.at, first.at)
	}
}

// runServer starts a server with options that EmbeddedConfig does not have.
func runServer(t *testing.T, o *server.Options) string {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	return s.ClientURL()
}

func TestPermissionViolationIsCounted(t *testing.T) {
	url := runServer(t, &server.Options{Users: []*server.User{{
		Username: "fl", Password: "pw",
		Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"fl.fairlead.g.secret"}}},
	}}})
	b := startNATS(t, NATSConfig{URL: url, User: "fl", Password: "pw"})
	var m counter
	joinNow(t, b, "secret", &m)
	joinNow(t, b, "open", &m)
	eventually(t, "the violation is counted", func() bool { return testutil.ToFloat64(b.hub.metrics.errorsPermission) == 1 })
	if n := testutil.ToFloat64(b.hub.metrics.errorsOther); n != 0 || !b.Connected() {
		t.Errorf("other errors = %v, connected %t", n, b.Connected())
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("fl.fairlead.g.a~b", "", []byte("text"))
	f.Add("fl.fairlead.g.a", "", []byte("\xff"))
	f.Add("fl.fairlead.g.a", "binary", []byte("text"))
	f.Add("fl.fairlead.g.a", "text", []byte("\xc3"))
	f.Add("fl.fairlead.g.a", "other", []byte(nil))
	f.Add("fl.fairlead.g.", "", []byte(nil))
	f.Add("fl.other.g.a", "", []byte(nil))
	f.Fuzz(func(t *testing.T, subject, kind string, payload []byte) {
		m, err := decode(subjectPrefix(Cluster{}), subject, kind, payload)
		switch {
		case err != nil:
			if !m.Group.IsZero() || m.Payload != nil {
				t.Errorf("decode = %+v with the error %v", m, err)
			}
		case Subject(Cluster{}, m.Group) != subject:
			t.Errorf("decode(%q) is for %v", subject, m.Group)
		case !m.Binary && !utf8.Valid(m.Payload):
			t.Errorf("%q became a text message", m.Payload)
		case string(m.Payload) != string(payload):
			t.Errorf("payload %q, want %q", m.Payload, payload)
		case kind == typeBinary && !m.Binary, kind == typeText && m.Binary:
			t.Errorf("the header says %q, Binary is %t", kind, m.Binary)
		}
	})
}

func TestErrorsAreCounted(t *testing.T) {
	m := newMetrics()
	l := &link{metrics: m, log: slog.New(slog.DiscardHandler), said: make(map[string]saying)}
	for _, err := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrPermissionViolation, nats.ErrStaleConnection, errors.New("x"), nats.ErrSlowConsumer,
	} {
		l.fails(nil, nil, err)
	}
	for kind, c := range map[prometheus.Counter]float64{m.errorsAuth: 2, m.errorsPermission: 1, m.errorsOther: 2} {
		if n := testutil.ToFloat64(kind); n != c {
			t.Errorf("%v = %v, want %v", kind.Desc(), n, c)
		}
	}
}

// A server that allows less than it used to: what it would refuse is counted, and the limit is learned.
func TestLimitShrinks(t *testing.T) {
	b := startNATS(t, NATSConfig{Embedded: startServer(t, EmbeddedConfig{MaxPayload: 1000})})
	b.link.maxPayload.Store(1 << 20)
	large := Message{Group: mustGroup(t, "g"), Payload: make([]byte, 2000)}
	if err := b.Publish(large, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message is counted", func() bool { return testutil.ToFloat64(b.hub.metrics.droppedRejected) == 1 })
	eventually(t, "the limit is learned", func() bool { return b.link.maxPayload.Load() == 1000 })
	if err := b.Publish(large, nil); !errors.Is(err, ErrTooLarge) || !b.Connected() {
		t.Errorf("Publish = %v, connected %t", err, b.Connected())
	}
}

// A connection on which a write failed must not be written to again: half of a command may be out.
func TestStrictConn(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := strictConn{ours}
	if err := c.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write = %v", err)
	}
	if _, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

// A connection that nats.go forgot is closed when it dials again.
func TestDialerClosesTheLast(t *testing.T) {
	var far []net.Conn
	d := &dialer{dial: func(string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		far = append(far, theirs)
		return ours, nil
	}}
	for range 2 {
		if _, err := d.InProcessConn(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := far[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the first connection after the second dial: %v, want EOF", err)
	}
	d.close()
	d.close()
	if _, err := far[1].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the second connection after close: %v, want EOF", err)
	}
	refused := errors.New("refused")
	d.dial = func(string, string) (net.Conn, error) { return nil, refused }
	if c, err := d.Dial("tcp", "x"); c != nil || !errors.Is(err, refused) {
		t.Errorf("Dial = %v, %v", c, err)
	}
}

func TestWarnOnce(t *testing.T) {
	var text strings.Builder
	l := &link{log: slog.New(slog.NewTextHandler(&text, nil)), said: make(map[string]saying)}
	for range 5 {
		l.warn("a", "trouble", errors.New("one"))
		l.warn("b", "trouble", errors.New("nats: Parse Error [3]: 'my payload'"))
	}
	l.warn("a", "trouble", errors.New("two"))
	l.warn("c", "trouble", nil)
	if n := strings.Count(text.String(), "trouble"); n < 4 || strings.Count(text.String(), "\n") != 4 {
		t.Errorf("logged:\n%s", text.String())
	}
	if strings.Contains(text.String(), "payload'") {
		t.Errorf("a payload is logged:\n%s", text.String())
	}
}

// A node needs little for a group: what nats.go keeps for a subscription is most of it.
func TestMemoryNATS(t *testing.T) {
	const groups = 5000
	b := startNATS(t, NATSConfig{Embedded: startServer(t, EmbeddedConfig{}), Shards: 2})
	m := &discard{}
	joinNow(t, b, "g", m)
	names := make([]string, groups)
	before := heap()
	done := make(chan error, groups)
	for i := range names {
		b.Join(mustGroup(t, "app_"+big.NewInt(int64(i)).String()), m, uint32(i), func(err error) { done <- err })
	}
	for range groups {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	each := float64(heap()-before) / groups
	t.Logf("%.0f bytes per group, in the node and in the server in this process", each)
	if each > 3072 {
		t.Errorf("a group takes %.0f bytes with its subscription and the server's, want at most 3072", each)
	}
}
