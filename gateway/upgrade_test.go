package gateway

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestUpgraderRespond(t *testing.T) {
	u := newUpgrader()
	for _, protocol := range []string{"", "chat.v1", strings.Repeat("x", 1000), ""} {
		got, err := u.respond([]byte(key), protocol, "")
		if err != nil {
			t.Fatal(err)
		}
		want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
		if protocol != "" {
			want += "Sec-WebSocket-Protocol: " + protocol + "\r\n"
		}
		if string(got) != want+"\r\n" {
			t.Errorf("protocol %.10q: got %q", protocol, got)
		}
	}
}

// The canonical form is accepted as what the client sent would be: to the same response.
func TestUpgraderAgreesWithWholeHead(t *testing.T) {
	u := newUpgrader()
	got, err := u.respond([]byte(key), "", "")
	if err != nil {
		t.Fatal(err)
	}
	want := &readWriter{Reader: strings.NewReader(browserHead)}
	if _, err := ws.Upgrade(want); err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Errorf("got %q, want %q", got, want.String())
	}
}

// A key that the parser should have refused is an error, not a response.
func TestUpgraderRefuses(t *testing.T) {
	if b, err := newUpgrader().respond([]byte("short"), "", ""); err == nil {
		t.Errorf("got %q", b)
	}
}

// readWriter reads a request and keeps the response.
type readWriter struct {
	io.Reader
	bytes.Buffer
}

func (r *readWriter) Read(p []byte) (int, error) { return r.Reader.Read(p) }

// BenchmarkUpgrader compares the canonical form with the whole head of a browser.
func BenchmarkUpgrader(b *testing.B) {
	b.Run("canonical", func(b *testing.B) {
		u, k := newUpgrader(), []byte(key)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := u.respond(k, "chat.v1", ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		var w readWriter
		b.ReportAllocs()
		for b.Loop() {
			w.Reset()
			w.Reader = strings.NewReader(browserHead)
			if _, err := ws.Upgrade(&w); err != nil {
				b.Fatal(err)
			}
		}
	})
}
