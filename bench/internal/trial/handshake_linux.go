package trial

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Handshake asks what letting a client in costs, and what refusing one.
type Handshake struct {
	Connections int // in each round
	Rounds      int
	Window      int // handshakes at once
	Via         wire.Via
}

// Run does rounds of three steps, each measured for itself: handshakes with good tokens, the ends of these connections,
// handshakes with tokens that another key signed.
func (o Handshake) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	s, err := b.stage(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	c, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	open := crowd.Open{
		Connections: o.Connections, Path: "/ws/handshake", Via: o.Via, Window: o.Window, Sources: 8, Reading: crowd.Parse,
	}
	refuse := open
	refuse.Forge = true

	var accepted, closed, refused, acceptRate, refuseRate, left []float64
	n := int64(o.Connections)
	rate := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
	step := func(do func() error) (cost, error) {
		return measure(s.server.PID, func() error {
			if err := do(); err != nil {
				return err
			}
			return settle(ctx, s.server.PID) // what the server does behind the answer belongs to it
		})
	}
	for round := range o.Rounds + 1 {
		b.Say("round %d of %d", round, o.Rounds)
		var opened crowd.Opened
		in, err := step(func() (err error) { opened, err = s.open(c, open); return err })
		if err != nil {
			return nil, err
		}
		out, err := step(func() error {
			_, err := c.Close(crowd.Close{Leaving: crowd.Fin, Timeout: stuck})
			return err
		})
		if err != nil {
			return nil, err
		}
		before, err := s.goroutines(ctx)
		if err != nil {
			return nil, err
		}
		var denied crowd.Opened
		no, err := step(func() (err error) { denied, err = s.open(c, refuse); return err })
		if err != nil {
			return nil, err
		}
		if denied.Status[401] != o.Connections {
			return nil, fmt.Errorf("bad tokens are answered %v, want 401", denied.Status)
		}
		after, err := s.goroutines(ctx)
		if err != nil {
			return nil, err
		}
		if round == 0 {
			continue // warm: heap, pools and tables have their size
		}
		accepted, acceptRate = append(accepted, in.each(n)), append(acceptRate, rate(opened.Elapsed))
		refused, refuseRate = append(refused, no.each(n)), append(refuseRate, rate(denied.Elapsed))
		closed, left = append(closed, out.each(n)), append(left, after-before)
	}
	return named("handshake", []report.Figure{
		report.Median("server CPU per authenticated handshake", "us", accepted).Want(report.AtMost, 45),
		report.Median("server CPU per refusal (401)", "us", refused).Want(report.AtMost, 40),
		report.Median("server CPU per end of a connection", "us", closed),
		report.Median("goroutines left by refusals", "", left).Want(report.AtMost, 2),
		report.Median("handshakes", "1/s", acceptRate),
		report.Median("refusals", "1/s", refuseRate),
	}), nil
}
