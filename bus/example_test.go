package bus_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// printer is a member that prints what it gets.
type printer struct{ done chan struct{} }

func (p printer) Deliver(b *bus.Batch) bool {
	for _, m := range b.Messages() {
		fmt.Printf("%v: %s (binary: %t)\n", m.Group, m.Payload, m.Binary)
		p.done <- struct{}{}
	}
	return true
}

// Any NATS client can publish to a group: a plain connection, the group's subject and the payload are enough.
func Example_publishFromOutside() {
	ctx := context.Background()
	quiet := slog.New(slog.DiscardHandler)
	server, err := bus.StartEmbedded(bus.EmbeddedConfig{Listen: "127.0.0.1:0", Logger: quiet})
	if err != nil {
		panic(err)
	}
	defer server.Close(ctx)
	b, err := bus.NewNATS(bus.NATSConfig{URL: server.URL(), Logger: quiet})
	if err != nil {
		panic(err)
	}
	defer b.Close(ctx)

	group, err := session.ParseGroup("app.1234")
	if err != nil {
		panic(err)
	}
	p := printer{done: make(chan struct{}, 2)}
	joined := make(chan error, 1)
	b.Join(group, p, 0, func(err error) { joined <- err })
	if err := <-joined; err != nil {
		panic(err)
	}

	// From here on, what another program does. It needs nothing of Fairlead.
	nc, err := nats.Connect(server.URL())
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	if err := nc.Publish("fl.fairlead.g.app~1234", []byte("hello")); err != nil {
		panic(err)
	}
	if err := nc.PublishMsg(&nats.Msg{
		Subject: "fl.fairlead.g.app~1234", Header: nats.Header{"Fairlead-Type": {"binary"}}, Data: []byte("bytes"),
	}); err != nil {
		panic(err)
	}
	<-p.done
	<-p.done
	// Output:
	// app.1234: hello (binary: false)
	// app.1234: bytes (binary: true)
}
