package bus_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/fairlead-ws/fairlead/bus"
)

// A dialled connection and a bus reach one server, inside the process or not, and with its password.
func TestDial(t *testing.T) {
	e := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0", User: "u", Password: "secret-1"})
	for name, c := range map[string]bus.NATSConfig{
		"embedded": {Embedded: e, Logger: quiet()},
		"url":      {URL: e.URL(), User: "u", Password: "secret-1", Logger: quiet()},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := bus.Dial(c)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			sub, err := client(t, e.URL(), nats.UserInfo("u", "secret-1")).SubscribeSync("x")
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the server knows the subscription", func() bool {
				if err := nc.Publish("x", []byte("hello")); err != nil {
					t.Fatal(err)
				}
				n, _, err := sub.Pending()
				return err == nil && n > 0
			})
			if m, err := sub.NextMsg(patience); err != nil || string(m.Data) != "hello" {
				t.Errorf("got %v, %v", m, err)
			}
		})
	}
}

// A server that is away is no mistake; an address that is none is, and no error or log has the password.
func TestDialFails(t *testing.T) {
	var log bytes.Buffer
	nc, err := bus.Dial(bus.NATSConfig{URL: "nats://u:secret-1@127.0.0.1:1", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if nc.IsConnected() || nc.Publish("x", nil) == nil {
		t.Error("it is connected, or takes messages that it cannot send")
	}
	nc.Close()
	if strings.Contains(log.String(), "secret-1") {
		t.Errorf("the log has the password: %s", log.String())
	}
	if _, err := bus.Dial(bus.NATSConfig{URL: "http://u:secret-1@h:1"}); err == nil || strings.Contains(err.Error(), "secret-1") {
		t.Errorf("Dial with the URL of something else = %v", err)
	}
}
