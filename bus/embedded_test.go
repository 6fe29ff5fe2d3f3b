package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fairlead-ws/fairlead/bus"
)

// patience is how long a test waits for what must come over a real connection.
const patience = 20 * time.Second

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// startServer starts an embedded server that ends with the test.
func startServer(t testing.TB, c bus.EmbeddedConfig) *bus.Embedded {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet()
	}
	e, err := bus.StartEmbedded(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, e) })
	return e
}

// stop closes a bus or a server, without losing patience.
func stop(t testing.TB, c interface{ Close(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// client connects a plain NATS client, as another program would.
func client(t testing.TB, url string, o ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// eventually asks until ok, and fails the test if that takes too long.
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

// logBuffer is where a logger writes that a test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestEmbeddedAlone(t *testing.T) {
	a, b := startServer(t, bus.EmbeddedConfig{}), startServer(t, bus.EmbeddedConfig{})
	if a.URL() != "" || b.URL() != "" {
		t.Errorf("servers that do not listen are at %q and %q", a.URL(), b.URL())
	}
	stop(t, a)
	stop(t, a)
}

func TestEmbeddedListens(t *testing.T) {
	e := startServer(t, bus.EmbeddedConfig{Name: "here", Listen: "127.0.0.1:0", MaxPayload: 1000})
	nc := client(t, e.URL())
	if nc.ConnectedServerName() != "here" || nc.MaxPayload() != 1000 {
		t.Errorf("connected to %q with a limit of %d", nc.ConnectedServerName(), nc.MaxPayload())
	}
	js, err := nc.JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(); !errors.Is(err, nats.ErrJetStreamNotEnabled) {
		t.Errorf("JetStream without a StoreDir: %v", err)
	}
}

func TestEmbeddedPassword(t *testing.T) {
	e := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", User: "fl", Password: "sesame"})
	if _, err := nats.Connect(e.URL()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("Connect without a password: %v", err)
	}
	client(t, e.URL(), nats.UserInfo("fl", "sesame"))
}

func TestEmbeddedJetStream(t *testing.T) {
	e := startServer(t, bus.EmbeddedConfig{
		Listen: "127.0.0.1:0", StoreDir: t.TempDir(), StoreMemory: 1 << 20, StoreBytes: 2 << 20,
	})
	js, err := client(t, e.URL()).JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "s", MaxBytes: 1 << 20}); err != nil {
		t.Errorf("a stream within the limit: %v", err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "l", MaxBytes: 1 << 30}); err == nil {
		t.Error("a stream over the limit was made")
	}
}

func TestEmbeddedRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]bus.EmbeddedConfig{
		"address taken": {Listen: taken.Addr().String()},
		"no port":       {Listen: "127.0.0.1"},
		"bad port":      {Listen: "127.0.0.1:nats"},
		"large port":    {Listen: "127.0.0.1:70000"},
		"negative":      {MaxPayload: -1},
	} {
		c.Logger = quiet()
		if e, err := bus.StartEmbedded(c); err == nil {
			t.Errorf("%s: started", name)
			stop(t, e)
		} else if !strings.HasPrefix(err.Error(), "bus: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A client that breaks the protocol is logged, but not what it sent.
func TestEmbeddedLogsNoPayload(t *testing.T) {
	var log logBuffer
	e := startServer(t, bus.EmbeddedConfig{
		Listen: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("CONNECT {}\r\nPUB a b c d my-secret\r\nmy-secret\r\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server logs the error", func() bool { return strings.Contains(log.String(), "[cut:") })
	if text := log.String(); strings.Contains(text, "my-secret") || !strings.Contains(text, "nats-server: ") {
		t.Errorf("the log has what the client sent, or nothing at all:\n%s", text)
	}
}
