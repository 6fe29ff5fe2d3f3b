package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
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
		t.Errorf("JetStream that nobody turned on: %v", err)
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
	for name, c := range map[string]bus.EmbeddedConfig{
		"on disk":   {StoreDir: t.TempDir(), StoreBytes: 2 << 20},
		"in memory": {StoreBytes: 2 << 20},
		"defaults":  {},
	} {
		t.Run(name, func(t *testing.T) {
			temporary := t.TempDir()
			t.Setenv("TMPDIR", temporary)
			c.JetStream, c.Listen = true, "127.0.0.1:0"
			e := startServer(t, c)
			nc := client(t, e.URL())
			js, err := nc.JetStream(nats.MaxWait(patience))
			if err != nil {
				t.Fatal(err)
			}
			if want := int64(2 << 20); c.StoreBytes != 0 && e.StoreBytes() != want || c.StoreBytes == 0 && e.StoreBytes() != 256<<20 {
				t.Errorf("StoreBytes = %d", e.StoreBytes())
			}
			meant, other := nats.MemoryStorage, nats.FileStorage
			if c.StoreDir != "" {
				meant, other = other, meant
			}
			if _, err := js.AddStream(&nats.StreamConfig{Name: "s", MaxBytes: 1 << 20, Storage: meant}); err != nil {
				t.Errorf("a stream within the limit: %v", err)
			}
			if _, err := js.AddStream(&nats.StreamConfig{Name: "l", MaxBytes: 2 << 30, Storage: meant}); err == nil {
				t.Error("a stream over the limit was made")
			}
			if _, err := js.AddStream(&nats.StreamConfig{Name: "o", MaxBytes: 1 << 10, Storage: other}); err == nil {
				t.Error("a stream of the kind of store that is not meant was made")
			}
			if _, err := js.Publish("s", []byte("kept")); err != nil {
				t.Errorf("Publish: %v", err)
			}
			nc.Close()
			stop(t, e)
			if files, err := os.ReadDir(temporary); err != nil || len(files) > 0 {
				t.Errorf("temporary files are left: %v (%v)", files, err)
			}
		})
	}
}

// What is on disk is there again after a restart.
func TestEmbeddedJetStreamStays(t *testing.T) {
	c := bus.EmbeddedConfig{JetStream: true, StoreDir: t.TempDir(), Listen: "127.0.0.1:0"}
	for round := range 2 {
		e := startServer(t, c)
		nc := client(t, e.URL())
		js, err := nc.JetStream(nats.MaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if _, err := js.AddStream(&nats.StreamConfig{Name: "s"}); err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish("s", []byte("kept")); err != nil {
				t.Fatal(err)
			}
		} else if m, err := js.GetMsg("s", 1); err != nil || string(m.Data) != "kept" {
			t.Errorf("after the restart: %+v, %v", m, err)
		}
		nc.Close()
		stop(t, e)
	}
}

func TestEmbeddedRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]bus.EmbeddedConfig{
		"address taken": {Listen: taken.Addr().String()},
		"no port":       {Listen: "127.0.0.1"},
		"bad port":      {Listen: "127.0.0.1:nats"},
		"large port":    {Listen: "127.0.0.1:70000"},
		"negative":      {MaxPayload: -1},
		"store":         {JetStream: true, StoreBytes: -1},
		"file as store": {JetStream: true, StoreDir: file},
	} {
		c.Logger = quiet()
		if e, err := bus.StartEmbedded(c); err == nil {
			t.Errorf("%s: started", name)
			stop(t, e)
		} else if !strings.HasPrefix(err.Error(), "bus: ") || errors.Is(err, bus.ErrStore) != strings.HasPrefix(name, "file") {
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
