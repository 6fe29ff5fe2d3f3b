package actor_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/gobwas/ws/wsutil"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// chat is a Handler: what a member says is heard by all in the room, with the member's name in front.
type chat struct{ room session.Group }

func (h chat) Open(a *actor.Actor) {
	a.Send(actor.Message{Payload: []byte("welcome, " + a.Identity().Name)})
}

func (h chat) Message(a *actor.Actor, m actor.Message) {
	switch string(m.Payload) {
	case "/groups":
		a.Send(actor.Message{Payload: fmt.Append(nil, a.State().Groups)})
	case "/quit":
		a.Close(actor.CloseNormal, "see you")
	default:
		a.Publish(h.room, actor.Message{Payload: fmt.Appendf(nil, "%s: %s", a.Identity().Name, m.Payload)})
	}
}

func (h chat) Close(a *actor.Actor, c actor.Closure) {
	fmt.Println(a.Identity().Name, "has left:", c.Code, c.Reason)
}

// A program in Go brings its own Handler. In a server the gateway opens the connections; here one is opened by hand, for
// a client that has its 101 response already.
func Example() {
	room, err := session.ParseGroup("chat_lobby")
	check(err)
	local, err := bus.NewLocal(bus.LocalConfig{})
	check(err)
	events, err := journal.NewMemory(journal.MemoryConfig{})
	check(err)
	system, err := actor.New(actor.Config{
		Bus: local, Journal: events, Epoch: session.Epoch{1}, // one node has one epoch: see session.NewEpoch
		Logger: slog.New(slog.DiscardHandler),
	})
	check(err)

	server, client := net.Pipe()
	err = system.Open(context.Background(), server, actor.Birth{
		Identity: &session.Identity{Subject: "1", Name: "zoë", Source: "example"},
		Route:    "/ws/chat", Groups: []session.Group{room}, Handler: chat{room},
	})
	check(err)
	hear := func() {
		text, err := wsutil.ReadServerText(client)
		check(err)
		fmt.Printf("%s\n", text)
	}
	hear()
	for _, line := range []string{"hello", "/groups"} {
		check(wsutil.WriteClientText(client, []byte(line)))
		hear()
	}
	check(wsutil.WriteClientText(client, []byte("/quit")))
	_, told := wsutil.ReadServerText(client) // this answers the close frame, too

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	check(system.Drain(ctx, actor.DrainPlan{}))
	check(system.Close())
	check(local.Close(ctx))
	check(events.Close())
	fmt.Println("the client was told:", told)
	// Output:
	// welcome, zoë
	// zoë: hello
	// [chat_lobby]
	// zoë has left: 1000 see you
	// the client was told: ws closed: 1000 see you
}

var _ actor.Handler = chat{}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
