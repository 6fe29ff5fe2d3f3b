package bus

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// What is spent while somebody asks for the place is no message that the stream has lost: the place stays.
func TestRegisterPlaceWhileOthersSpend(t *testing.T) {
	t.Parallel()
	e := startServer(t, EmbeddedConfig{Listen: "127.0.0.1:0", JetStream: true, StoreDir: t.TempDir()})
	nc, err := Dial(NATSConfig{URL: e.URL(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r, err := NewRegister(RegisterConfig{Conn: nc, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Place(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var spenders sync.WaitGroup
	defer spenders.Wait()
	defer cancel()
	for range 8 {
		spenders.Go(func() {
			for ctx.Err() == nil {
				if ok, err := r.Spend(context.WithoutCancel(ctx), first, rand.Text()); err != nil || !ok {
					t.Errorf("Spend = %v, %v; want true", ok, err)
					return
				}
			}
		})
	}
	for range 300 {
		r.mu.Lock()
		r.seen = time.Time{} // some seconds have passed
		r.mu.Unlock()
		if place, err := r.Place(t.Context()); err != nil || place != first {
			t.Fatalf("Place = %q, %v; want %q as before", place, err, first)
		}
	}
}
