package bus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fairlead-ws/fairlead/bus"
)

// register is what both kinds of register do.
type register interface {
	Place(ctx context.Context) (string, error)
	Spend(ctx context.Context, place, id string) (bool, error)
}

const ticketStream = "FL_fairlead_tickets"

// dialRegister returns a register with a connection of its own, as a node's.
func dialRegister(t testing.TB, url string) *bus.Register {
	t.Helper()
	nc, err := bus.Dial(bus.NATSConfig{URL: url, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r, err := bus.NewRegister(bus.RegisterConfig{Conn: nc, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func place(t testing.TB, r register) string {
	t.Helper()
	p, err := r.Place(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantSpend(t testing.TB, r register, place, id string, want bool) {
	t.Helper()
	first, err := r.Spend(t.Context(), place, id)
	if err != nil || first != want {
		t.Errorf("Spend(%s) = %v, %v; want %v", id, first, err, want)
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", JetStream: true, StoreDir: t.TempDir()}).URL()
	local := bus.NewLocalRegister()
	for _, tt := range []struct {
		name  string
		nodes [2]register
	}{
		{"local", [2]register{local, local}},
		{"NATS", [2]register{dialRegister(t, url), dialRegister(t, url)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tt.nodes[0], tt.nodes[1]
			p := place(t, a)
			if other := place(t, b); other != p {
				t.Fatalf("two nodes have the places %q and %q", p, other)
			}
			wantSpend(t, a, p, "one", true)
			wantSpend(t, b, p, "one", false)
			wantSpend(t, a, p, "one", false)
			wantSpend(t, b, p, "two", true)
			wantSpend(t, a, p, "One", true)
			wantSpend(t, a, rand.Text(), "three", false)
			wantSpend(t, a, p, "three", true)
			long := strings.Repeat("x", 65)
			for _, bad := range [][2]string{{p, ""}, {p, "*"}, {p, "a.b"}, {p, ">"}, {p, "a b"}, {p, long}, {"", "x"}, {"*", "x"}, {p + ".x", "x"}} {
				if first, err := a.Spend(t.Context(), bad[0], bad[1]); first || !errors.Is(err, bus.ErrRegister) {
					t.Errorf("Spend(%q, %q) = %v, %v; want ErrRegister", bad[0], bad[1], first, err)
				}
			}
		})
	}
}

// Fifty who spend the same, on two nodes: one of them is the first.
func TestRegisterOneWinner(t *testing.T) {
	t.Parallel()
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", JetStream: true, StoreDir: t.TempDir()}).URL()
	local := bus.NewLocalRegister()
	for name, nodes := range map[string][2]register{
		"local": {local, local}, "NATS": {dialRegister(t, url), dialRegister(t, url)},
	} {
		t.Run(name, func(t *testing.T) {
			oneWinner(t, place(t, nodes[0]), nodes[:]...)
		})
	}
}

// oneWinner lets fifty spend the same id, again and again.
func oneWinner(t *testing.T, p string, nodes ...register) {
	t.Helper()
	for range 20 {
		var winners atomic.Int32
		var racers sync.WaitGroup
		id, begin := rand.Text(), make(chan struct{})
		for i := range 50 {
			racers.Go(func() {
				<-begin
				first, err := nodes[i%len(nodes)].Spend(t.Context(), p, id)
				if err != nil {
					t.Error(err)
				}
				if first {
					winners.Add(1)
				}
			})
		}
		close(begin)
		racers.Wait()
		if n := winners.Load(); n != 1 {
			t.Fatalf("%d of 50 were the first", n)
		}
	}
}

// What is in files outlives a restart of the server; what was in memory does not, and then nothing of it is good.
func TestRegisterServerRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", JetStream: true, StoreDir: dir})
	r := dialRegister(t, first.URL())
	p := place(t, r)
	wantSpend(t, r, p, "used", true)
	address := strings.TrimPrefix(first.URL(), "nats://")
	stop(t, first)
	eventually(t, "the outage is noticed", func() bool {
		_, err := r.Place(t.Context())
		return errors.Is(err, bus.ErrRegister)
	})
	if ok, err := r.Spend(t.Context(), p, "away"); ok || !errors.Is(err, bus.ErrRegister) {
		t.Errorf("Spend without NATS = %v, %v; want ErrRegister", ok, err)
	}

	second := startServer(t, bus.EmbeddedConfig{Listen: address, JetStream: true, StoreDir: dir})
	eventually(t, "the register is back", func() bool {
		now, err := r.Place(t.Context())
		return err == nil && now == p
	})
	wantSpend(t, r, p, "used", false)
	wantSpend(t, r, p, "fresh", true)
	stop(t, second)

	startServer(t, bus.EmbeddedConfig{Listen: address, JetStream: true, StoreDir: t.TempDir()})
	eventually(t, "there is another register", func() bool {
		now, err := r.Place(t.Context())
		return err == nil && now != p
	})
	wantSpend(t, r, p, "used", false)
	wantSpend(t, r, p, "neverused", false)
	wantSpend(t, r, place(t, r), "used", true)
}

// admin returns JetStream, as somebody with the nats command has it.
func admin(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(client(t, url))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// A stream that is made again has another place: nothing from before can be spent, nor issued for it for long.
func TestRegisterIsDeleted(t *testing.T) {
	t.Parallel()
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", JetStream: true, StoreDir: t.TempDir()}).URL()
	a, b := dialRegister(t, url), dialRegister(t, url)
	p := place(t, a)
	wantSpend(t, a, p, "used", true)
	if err := admin(t, url).DeleteStream(t.Context(), ticketStream); err != nil {
		t.Fatal(err)
	}
	wantSpend(t, b, p, "used", false)
	wantSpend(t, a, p, "unused", false)
	now := place(t, a)
	if now == p {
		t.Fatal("the place is the same as before")
	}
	wantSpend(t, b, now, "used", true)
	wantSpend(t, a, now, "used", false)
}

// A server that brings the same stream back without its messages is noticed by whoever knew of them.
func TestRegisterLosesMessages(t *testing.T) {
	t.Parallel()
	for name, notice := range map[string]func(*testing.T, *bus.Register, string){
		"when something is spent": func(t *testing.T, r *bus.Register, p string) { wantSpend(t, r, p, "used", false) },
		"when something is issued": func(t *testing.T, r *bus.Register, p string) {
			eventually(t, "another place", func() bool { return place(t, r) != p })
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", JetStream: true, StoreDir: t.TempDir()}).URL()
			r, js := dialRegister(t, url), admin(t, url)
			p := place(t, r)
			wantSpend(t, r, p, "used", true)
			s, err := js.Stream(t.Context(), ticketStream)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Purge(t.Context()); err == nil {
				t.Error("the stream can be purged")
			}
			if err := s.DeleteMsg(t.Context(), 1); err == nil {
				t.Error("a message of the stream can be deleted")
			}
			if err := js.DeleteStream(t.Context(), ticketStream); err != nil {
				t.Fatal(err)
			}
			if _, err := js.CreateStream(t.Context(), s.CachedInfo().Config); err != nil {
				t.Fatal(err)
			}
			notice(t, r, p)
			now := place(t, r)
			if now == p {
				t.Error("what was issued before could still be spent")
			}
			wantSpend(t, r, p, "used", false)
			wantSpend(t, r, now, "used", true)
		})
	}
}

func TestRegisterWithoutJetStream(t *testing.T) {
	t.Parallel()
	r := dialRegister(t, startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL())
	if _, err := r.Place(t.Context()); !errors.Is(err, bus.ErrRegister) || !strings.Contains(err.Error(), "turn it on") {
		t.Errorf("Place = %v, want what would help", err)
	}
	if first, err := r.Spend(t.Context(), "place", "id"); first || !errors.Is(err, bus.ErrRegister) || !strings.Contains(err.Error(), "turn it on") {
		t.Errorf("Spend = %v, %v, want what would help", first, err)
	}
}

// A server that does not answer in time: nobody comes in, and what it does later counts.
func TestRegisterStalls(t *testing.T) {
	t.Parallel()
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", JetStream: true, StoreDir: t.TempDir()}).URL()
	p := startProxy(t, url)
	slow, other := dialRegister(t, p.url()), dialRegister(t, url)
	here := place(t, slow)
	p.mu.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	first, err := slow.Spend(ctx, here, "id")
	cancel()
	p.mu.Unlock()
	if first || !errors.Is(err, bus.ErrRegister) {
		t.Errorf("Spend = %v, %v; want ErrRegister", first, err)
	}
	js := admin(t, url)
	eventually(t, "the server got it nevertheless", func() bool {
		s, err := js.Stream(t.Context(), ticketStream)
		return err == nil && s.CachedInfo().State.Msgs == 1
	})
	wantSpend(t, slow, here, "id", false)
	wantSpend(t, other, here, "id", false)
}

// A stream of that name that somebody else made is left alone, and said.
func TestRegisterForeignStream(t *testing.T) {
	t.Parallel()
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", JetStream: true, StoreDir: t.TempDir()}).URL()
	_, err := admin(t, url).CreateStream(t.Context(), jetstream.StreamConfig{Name: ticketStream, Subjects: []string{"fl.fairlead.t.*.*"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dialRegister(t, url).Place(t.Context()); !errors.Is(err, bus.ErrRegister) || !strings.Contains(err.Error(), ticketStream) {
		t.Errorf("Place = %v, want the stream's name", err)
	}
}

func TestNewRegister(t *testing.T) {
	if _, err := bus.NewRegister(bus.RegisterConfig{}); err == nil {
		t.Error("no connection is no error")
	}
	nc := &nats.Conn{}
	if _, err := bus.NewRegister(bus.RegisterConfig{Conn: nc, Replicas: 2}); err == nil {
		t.Error("two replicas are no error")
	}
}

func BenchmarkRegisterSpend(b *testing.B) {
	url := startServer(b, bus.EmbeddedConfig{Listen: "127.0.0.1:0", JetStream: true, StoreDir: b.TempDir()}).URL()
	for name, r := range map[string]register{"local": bus.NewLocalRegister(), "NATS": dialRegister(b, url)} {
		b.Run(name, func(b *testing.B) {
			p := place(b, r)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if first, err := r.Spend(b.Context(), p, rand.Text()); err != nil || !first {
						b.Error(first, err)
					}
				}
			})
		})
	}
}
