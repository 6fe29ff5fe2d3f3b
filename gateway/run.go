package gateway

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
)

// Run is a whole node for programs that embed one: it makes the actors of a and, in front of them, the gateway of c (whose
// Actors and Epoch it sets), and serves l until ctx ends. Then it takes no more connections and closes those there are with
// 1012, spread over window. It returns once every goroutine that it started has ended: after the window, and up to
// a.CloseTimeout for clients that do not answer. It closes l in any case; the bus and the journals are the caller's, who
// closes them when Run has returned.
func Run(ctx context.Context, l net.Listener, window time.Duration, a actor.Config, c Config) error {
	actors, err := actor.New(a)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	c.Actors, c.Epoch = actors, actors.Epoch()
	g, err := New(c)
	if err != nil {
		return errors.Join(err, l.Close(), actors.Close())
	}
	err = g.Serve(ctx, l)
	return errors.Join(err, actors.Drain(context.WithoutCancel(ctx), actor.DrainPlan{Window: window}), g.Close(), actors.Close())
}
