// Command embed is a WebSocket server in one file: Fairlead's packages with a handler of its own. Whatever a client says in
// a room, everyone in the room hears in capitals. It listens on 127.0.0.1:8000, or on the address that it is given.
package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/gateway"
)

// shout is the handler: actor.Ignore, but for what it does with messages.
type shout struct{ actor.Handler }

func (shout) Message(a *actor.Actor, m actor.Message) {
	for _, g := range a.State().Groups { // those that the route joined
		a.Publish(g, actor.Message{Payload: bytes.ToUpper(m.Payload)})
	}
}

// serve serves WebSockets on addr until ctx ends, then closes them within a second.
func serve(ctx context.Context, addr string) error {
	rooms, err := bus.NewLocal(bus.LocalConfig{}) // bus.NewNATS, for more than one node
	if err != nil {
		return err
	}
	defer rooms.Close(context.WithoutCancel(ctx))
	l, err := gateway.Listen(ctx, addr)
	if err != nil {
		return err
	}
	slog.Info("serving", "address", l.Addr().String())
	return gateway.Run(ctx, l, time.Second, actor.Config{Bus: rooms}, gateway.Config{Routes: []gateway.Route{{
		Path: "/rooms/{group}", Join: []string{"{group}"}, Handler: shout{actor.Ignore},
		AllowAnonymous: true, // or Chain: authn.NewChain(…), for tokens
	}}})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	addr := append(os.Args[1:], "127.0.0.1:8000")[0]
	if err := serve(ctx, addr); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}
