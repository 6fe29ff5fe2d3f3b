package bus_test

import (
	"testing"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/bus/bustest"
)

func TestLocal(t *testing.T) {
	bustest.Run(t, func(t *testing.T, o bustest.Options) bustest.Bus {
		b, err := bus.NewLocal(bus.LocalConfig{
			Shards: o.Shards, InboxBytes: o.InboxBytes, MaxPayload: o.MaxPayload, Registerer: o.Registerer,
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}
