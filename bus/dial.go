package bus

import (
	"cmp"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
)

// Dial returns a connection of its own to the NATS that c names, with the same credentials, for what must not wait behind
// messages: the journal, and what nodes ask each other. Of c only what says where and who is looked at, and Logger.
//
// It waits for the first attempt to connect, at most some seconds; if that fails it returns a connection that goes on
// trying, and what is published meanwhile is an error. So an error is a mistake in the configuration. The caller closes the
// connection.
func Dial(c NATSConfig) (*nats.Conn, error) {
	d := newDialer(c.Embedded)
	options, err := c.options(d)
	if err != nil {
		return nil, err
	}
	log := cmp.Or(c.Logger, slog.Default())
	options = append(options,
		nats.DisconnectErrHandler(func(*nats.Conn, error) {}), // the bus has said so already
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("NATS refused something of the node's own", "error", redact(err.Error()))
		}))
	nc, err := nats.Connect(c.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("bus: connect to NATS: %s", redact(err.Error()))
	}
	return nc, nil
}
