package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/gateway"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// nameVerifier believes the credential: it is the user's name.
type nameVerifier struct{}

func (nameVerifier) Verify(_ context.Context, c authn.Credential) (*session.Identity, error) {
	if len(c.Value) > 10 {
		return nil, &authn.Error{Kind: authn.ErrRejected, Reason: authn.ReasonUnknownToken}
	}
	return &session.Identity{Subject: string(c.Value), Source: "name"}, nil
}

// node is a gateway on real actors, a real bus and a real journal.
type node struct {
	addr    string
	actors  *actor.System
	journal *journal.Memory
	epoch   session.Epoch
	stop    func()
}

func newNode(t *testing.T, maxConnections int) *node {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := &node{epoch: session.Epoch{7}}
	var err error
	n.journal, err = journal.NewMemory(journal.MemoryConfig{})
	must(err)
	local, err := bus.NewLocal(bus.LocalConfig{})
	must(err)
	n.actors, err = actor.New(actor.Config{Bus: local, Journal: n.journal, Epoch: n.epoch, Limits: actor.Limits{Connections: maxConnections}})
	must(err)
	query, err := authn.NewQuery("token")
	must(err)
	chain, err := authn.NewChain(authn.Source{Extractor: query, Verifier: nameVerifier{}})
	must(err)
	g, err := gateway.New(gateway.Config{
		Routes:  []gateway.Route{{Path: "/ws/{group}", Category: "app", Join: []string{"{group}"}, Chain: chain}},
		Actors:  n.actors,
		Journal: n.journal,
		Epoch:   n.epoch,
	})
	must(err)
	ctx, cancel := context.WithCancel(t.Context())
	l, err := gateway.Listen(ctx, "127.0.0.1:0")
	must(err)
	n.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, l) }()
	n.stop = func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(func() {
		must(n.actors.Close())
		must(local.Close(context.Background()))
		must(n.journal.Close())
	})
	t.Cleanup(func() { n.stop() })
	return n
}

// dial connects a client that ends with the test.
func (n *node) dial(t *testing.T, path string) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, br, _, err := ws.Dial(ctx, "ws://"+n.addr+path)
	if err != nil {
		return nil, err
	}
	if br != nil {
		t.Errorf("frames came with the response: %d bytes", br.Buffered())
	}
	t.Cleanup(func() { conn.Close() })
	return conn, conn.SetDeadline(time.Now().Add(5 * time.Second))
}

// A message that a client sends in one go with its handshake reaches the others of its group, and nobody else.
func TestNode(t *testing.T) {
	n := newNode(t, 0)
	bob, err := n.dial(t, "/ws/app_1?token=bob")
	if err != nil {
		t.Fatal(err)
	}
	other, err := n.dial(t, "/ws/app_2?token=bob")
	if err != nil {
		t.Fatal(err)
	}
	alice, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET /ws/app_1?token=alice HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", n.addr)
	if err := wsutil.WriteClientText(&b, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if got, err := wsutil.ReadServerText(bob); err != nil || string(got) != "hello" {
		t.Errorf("bob reads %q, %v", got, err)
	}
	if err := wsutil.WriteClientText(other, []byte("here")); err != nil {
		t.Fatal(err)
	}
	if got, err := wsutil.ReadServerText(other); err != nil || string(got) != "here" {
		t.Errorf("another group reads %q, %v", got, err)
	}
	if got := n.actors.Len(); got != 3 {
		t.Errorf("%d connections, want 3", got)
	}
}

// What is refused is in the journal with what was opened, and a stop of the gateway ends no connection.
func TestNodeRefusesAndStops(t *testing.T) {
	n := newNode(t, 1)
	bob, err := n.dial(t, "/ws/app_1?token=bob")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/ws/app_1?token=alice":               "503", // full
		"/ws/app_1?token=someone-with-secret": "401",
		"/ws/room_1?token=alice":              "404",
	} {
		if _, err := n.dial(t, path); err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
	n.stop()
	n.stop = func() {}
	kinds := map[session.Kind]int{}
	for r, err := range n.journal.Epoch(t.Context(), n.epoch) {
		if err != nil {
			t.Fatal(err)
		}
		kinds[r.Event.Kind()]++
	}
	if kinds[session.KindOpened] != 1 || kinds[session.KindRefused] != 3 || len(kinds) != 2 {
		t.Errorf("the journal has %v, want 1 opened and 3 refused", kinds)
	}
	if err := wsutil.WriteClientText(bob, []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if got, err := wsutil.ReadServerText(bob); err != nil || string(got) != "still here" {
		t.Errorf("after the stop bob reads %q, %v", got, err)
	}
}
