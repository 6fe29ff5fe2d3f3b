package gateway_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/gateway"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// TestRun: a node in one call serves, keeps all events of one epoch, and closes its clients when its context ends.
func TestRun(t *testing.T) {
	local, err := bus.NewLocal(bus.LocalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close(context.WithoutCancel(t.Context()))
	events, err := journal.NewMemory(journal.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, err := gateway.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan session.ID, 1)
	ran := make(chan error, 1)
	go func() {
		ran <- gateway.Run(ctx, l, 50*time.Millisecond, actor.Config{Bus: local, Journal: events}, gateway.Config{
			Journal: events,
			Routes: []gateway.Route{{
				Path: "/ws/{group}", Join: []string{"{group}"}, Handler: greeter{actor.Ignore, opened}, AllowAnonymous: true,
			}},
		})
	}()
	dialing, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	if _, _, _, err := ws.Dial(dialing, "ws://"+l.Addr().String()+"/elsewhere"); !errors.Is(err, ws.StatusError(404)) {
		t.Errorf("another path: %v, want 404", err)
	}
	conn, _, _, err := ws.Dial(dialing, "ws://"+l.Addr().String()+"/ws/app_1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	id := <-opened

	cancel()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	h, err := ws.ReadHeader(conn)
	if err != nil || h.OpCode != ws.OpClose || h.Length > 125 {
		t.Fatalf("the client reads %+v, %v; want a close", h, err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(conn, payload); err != nil {
		t.Fatal(err)
	}
	if code, _ := ws.ParseCloseFrameData(payload); code != 1012 {
		t.Errorf("the client is closed with %d, want 1012", code)
	}
	conn.Close()
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
	kinds := map[string]int{}
	for r, err := range events.Epoch(context.WithoutCancel(ctx), id.Epoch) {
		if err != nil {
			t.Fatal(err)
		}
		kinds[string(r.Event.Kind())]++
	}
	if kinds["opened"] != 1 || kinds["closed"] != 1 || kinds["refused"] != 1 {
		t.Errorf("the journal of the epoch has %v", kinds)
	}
}

type greeter struct {
	actor.Handler
	opened chan<- session.ID
}

func (h greeter) Open(a *actor.Actor) { h.opened <- a.ID() }

// TestRunRefuses: what cannot run says so, and leaves no listener and no goroutine.
func TestRunRefuses(t *testing.T) {
	local, err := bus.NewLocal(bus.LocalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close(context.WithoutCancel(t.Context()))
	for name, config := range map[string]actor.Config{"no routes": {Bus: local}, "no bus": {}} {
		l, err := gateway.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := gateway.Run(t.Context(), l, 0, config, gateway.Config{}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener is open: %v", name, err)
		}
	}
}
