package fairlead_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/gateway"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// shout is a handler: it passes on what a client says, in capitals, to everyone in the groups that the route joined.
type shout struct{}

func (shout) Open(a *actor.Actor) { a.Send(actor.Message{Payload: []byte("welcome")}) }

func (shout) Message(a *actor.Actor, m actor.Message) {
	for _, g := range a.State().Groups {
		a.Publish(g, actor.Message{Payload: bytes.ToUpper(m.Payload)})
	}
}

func (shout) Close(*actor.Actor, actor.Closure) {}

// serve serves WebSockets on l until ctx ends, then closes them within a second.
func serve(ctx context.Context, l net.Listener) error {
	b, err := bus.NewLocal(bus.LocalConfig{}) // bus.NewNATS, for more than one node
	if err != nil {
		return err
	}
	events, err := journal.NewMemory(journal.MemoryConfig{})
	if err != nil {
		return err
	}
	epoch, err := session.NewEpoch(time.Now(), rand.Reader)
	if err != nil {
		return err
	}
	actors, err := actor.New(actor.Config{Bus: b, Journal: events, Epoch: epoch})
	if err != nil {
		return err
	}
	g, err := gateway.New(gateway.Config{Actors: actors, Routes: []gateway.Route{{
		Path: "/rooms/{group}", Join: []string{"{group}"}, Handler: shout{},
		AllowAnonymous: true, // or Chain: authn.NewChain(…), for tokens
	}}})
	if err != nil {
		return err
	}

	err = g.Serve(ctx, l)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, actors.Drain(stop, time.Second), actors.Close(), b.Close(stop), events.Close())
}

// Programs in Go bring a handler of their own.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	l, err := gateway.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l) }()

	conn, br, _, err := ws.Dial(ctx, "ws://"+l.Addr().String()+"/rooms/lobby")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if br == nil { // nothing came with the response yet
		br = bufio.NewReader(conn)
	}
	client := struct {
		io.Reader
		io.Writer
	}{br, conn}
	if err := wsutil.WriteClientText(client, []byte("ahoi")); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		text, err := wsutil.ReadServerText(client)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(text))
	}
	conn.Close()
	stop()
	if err := <-served; err != nil {
		log.Fatal(err)
	}
	// Output:
	// welcome
	// AHOI
}
