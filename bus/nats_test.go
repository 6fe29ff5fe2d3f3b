package bus_test

import (
	"testing"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/bus/bustest"
)

func TestNATS(t *testing.T) {
	bustest.Run(t, func(t *testing.T, o bustest.Options) bustest.Bus {
		return startNATS(t, bus.NATSConfig{
			Embedded: startServer(t, bus.EmbeddedConfig{}), Linger: 1,
			Shards: o.Shards, InboxBytes: o.InboxBytes, MaxPayload: o.MaxPayload, Registerer: o.Registerer,
		})
	})
}

// startNATS starts a bus that ends with the test.
func startNATS(t testing.TB, c bus.NATSConfig) *bus.NATS {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet()
	}
	b, err := bus.NewNATS(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, b) })
	return b
}
