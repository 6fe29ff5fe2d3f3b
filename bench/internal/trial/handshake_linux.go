package trial

import (
	"context"
	"fmt"
	"slices"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
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

	var in, out, no steps
	var acceptRate, refuseRate, left []float64
	rate := func(got crowd.Opened) float64 { return float64(o.Connections) / got.Elapsed.Seconds() }
	for round := range o.Rounds + 1 {
		b.Say("round %d of %d", round, o.Rounds)
		var opened, denied crowd.Opened
		err := s.step(ctx, &in, o.Connections, func() (err error) { opened, err = s.open(c, open); return err })
		if err != nil {
			return nil, err
		}
		err = s.step(ctx, &out, o.Connections, func() error {
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
		err = s.step(ctx, &no, o.Connections, func() (err error) { denied, err = s.open(c, refuse); return err })
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
		if round == 0 { // warm: heap, pools and tables have their size
			in, out, no = steps{}, steps{}, steps{}
			continue
		}
		acceptRate, refuseRate, left = append(acceptRate, rate(opened)), append(refuseRate, rate(denied)), append(left, after-before)
	}
	fastest := min(in.fastest(), out.fastest(), no.fastest())
	return named("handshake", []report.Figure{
		report.Median("server CPU per authenticated handshake", "us", in.each).Want(report.AtMost, 45),
		report.Median("server CPU per refusal (401)", "us", no.each).Want(report.AtMost, 40),
		report.Median("server CPU per end of a connection", "us", out.each),
		report.Median("handshake, scaled to the machine's fastest", "us", in.scaled(fastest)),
		report.Median("refusal, scaled to the machine's fastest", "us", no.scaled(fastest)),
		report.Median("CPU per empty system call, around the handshakes", "ns", in.speed),
		report.Median("goroutines left by refusals", "", left).Want(report.AtMost, 2),
		report.Median("handshakes", "1/s", acceptRate),
		report.Median("refusals", "1/s", refuseRate),
	}), nil
}

// steps are the same step of several rounds.
type steps struct {
	each  []float64 // the server's CPU, in microseconds
	speed []float64 // of the machine around it: see proc.Speed
}

// step does a step of n operations and waits for what the server does behind the answers, which belongs to it.
func (s *stage) step(ctx context.Context, all *steps, n int, do func() error) error {
	before, err := proc.Speed()
	if err != nil {
		return err
	}
	c, err := measure(s.server.PID, func() error {
		if err := do(); err != nil {
			return err
		}
		return settle(ctx, s.server.PID)
	})
	if err != nil {
		return err
	}
	after, err := proc.Speed()
	all.each, all.speed = append(all.each, c.each(int64(n))), append(all.speed, (before+after)/2)
	return err
}

func (s *steps) fastest() float64 { return slices.Min(s.speed) }

// scaled returns the costs as they would be on a machine whose empty system call costs so much.
func (s *steps) scaled(speed float64) []float64 {
	scaled := make([]float64, len(s.each))
	for i := range scaled {
		scaled[i] = s.each[i] * speed / s.speed[i]
	}
	return scaled
}
