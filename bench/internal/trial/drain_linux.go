package trial

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Drain asks how the connections of a node that stops come to the other one.
type Drain struct {
	Connections int
	Window      time.Duration // over which the node is to spread its closes
	Bound       int           // connections a second that the other is to be given at the most
	Acquainted  time.Duration // how long the two run before the stop: nodes have to hear of each other
	Via         wire.Via
}

// slack is how much longer than the window the last client may take.
const slack = 5 * time.Second

// Run opens all connections at one of two servers on one bus, and stops it. The clients come back at once, each at the moment
// of its close, so that how they arrive is how they were closed.
func (o Drain) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	nats, err := b.NATS(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, nats.Kill()) }()
	settings := map[string]string{
		"nats.url": strconv.Quote(nats.URL()), "drain.window": strconv.Quote(o.Window.String()), "drain.close_rate": strconv.Itoa(o.Bound),
	}
	other, err := b.stage(ctx, settings)
	if err != nil {
		return nil, err
	}
	defer other.close(&err)
	s, err := b.stage(ctx, settings)
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	c, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	b.Say("opening %d connections", o.Connections)
	open := crowd.Open{Connections: o.Connections, Path: "/ws/drain", Via: o.Via, Window: 64, Sources: 8, Reading: crowd.Parse}
	if _, err := s.open(c, open); err != nil {
		return nil, err
	}
	if err := sleep(ctx, o.Acquainted); err != nil {
		return nil, err
	}
	open.Address, open.Secret, open.Timeout = other.server.Address, other.server.Secret, stuck
	b.Say("stopping their server")
	moved, err := c.Move(crowd.Move{Open: open, Process: s.server.PID})
	if err != nil {
		return nil, err
	}
	if err := s.server.Ended(); err != nil {
		return nil, fmt.Errorf("the server that was stopped: %w", err)
	}
	if moved.Error != "" {
		b.Say("the first that went wrong: %s", moved.Error)
	}
	m, err := other.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	return named("drain", []report.Figure{
		report.One("connections open at the other node", "", m.Sum("fairlead_connections")).Want(report.AtLeast, float64(o.Connections)),
		report.One("lost, or not let in", "", float64(moved.Lost+moved.Failed)).Want(report.AtMost, 0),
		report.One("from the signal to the first close", "s", moved.First.Seconds()),
		report.One("from the signal until all are at the other node", "s", moved.Elapsed.Seconds()).
			Want(report.AtMost, (o.Window + slack).Seconds()),
		report.One("most connections in one second at the other node", "1/s", float64(moved.Busiest)).Want(report.AtMost, float64(o.Bound)),
	}), nil
}
