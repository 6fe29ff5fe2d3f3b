package trial

import (
	"context"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Cycle asks what connections leave behind that came and went.
type Cycle struct {
	Connections int // in each round
	Warm        int // rounds before the first that counts
	Rounds      int // an even number
	Window      int // at once
	Via         wire.Via
}

// Run does some rounds to warm up, in which tables, pools and heap get their size, and then compares what is there after each
// further one. A connection leaves by a close frame, by closing its socket or by resetting it, in turn.
//
// Goroutines and files are exact. Resident memory goes up and down by many MiB with the times of the collector, which nobody
// forces here; a leak goes up only. So the median after the later half of the rounds is held against the earlier half's: over
// so many connections, a leak of one small object for each would show.
func (o Cycle) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	s, err := b.stage(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	c, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	var goroutines, files, resident, each []float64
	var last rest
	for round := range o.Warm + o.Rounds {
		b.Say("round %d of %d", round+1, o.Warm+o.Rounds)
		spent, err := measure(s.server.PID, func() error {
			_, err := s.open(c, crowd.Open{
				Connections: o.Connections, First: round * o.Connections, Path: "/ws/cycle_{i}", Via: o.Via,
				Window: o.Window, Sources: 8, Reading: crowd.Parse, Leaving: crowd.Mixed,
			})
			return err
		})
		if err != nil {
			return nil, err
		}
		now, err := o.rest(ctx, s, last, round > 0)
		if err != nil {
			return nil, err
		}
		if round >= o.Warm {
			goroutines = append(goroutines, now.goroutines-last.goroutines)
			files = append(files, float64(now.files-last.files))
			resident = append(resident, float64(now.resident)/(1<<20))
			each = append(each, spent.each(int64(o.Connections)))
		}
		last = now
	}
	return named("cycle", []report.Figure{
		report.One("connections that came and went, in a round", "", float64(o.Connections)),
		report.Median("goroutines more after a round", "", goroutines).Want(report.AtMost, 2),
		report.Median("open files more after a round", "", files).Want(report.AtMost, 2),
		report.One("resident memory, later rounds over earlier ones", "MiB", later(resident)).Want(report.AtMost, 8),
		report.Median("resident memory after a round", "MiB", resident),
		report.Median("server CPU per connection that came and went", "us", each),
	}), nil
}

// later returns the median of the later half of v, less the median of the earlier half.
func later(v []float64) float64 {
	half := len(v) / 2
	return report.Median("", "", v[half:]).Value - report.Median("", "", v[:half]).Value
}

// rest is what a server holds when nobody is connected.
type rest struct {
	goroutines float64
	files      int
	resident   int64
}

// rest waits until the server is at rest: down to what it held before, when that is known, or quiet.
func (o Cycle) rest(ctx context.Context, s *stage, before rest, known bool) (r rest, err error) {
	for deadline := time.Now().Add(quiet); ; {
		if err := settle(ctx, s.server.PID); err != nil {
			return r, err
		}
		m, err := proc.ReadMemory(s.server.PID)
		if err != nil {
			return r, err
		}
		if r.files, err = proc.Files(s.server.PID); err != nil {
			return r, err
		}
		if r.goroutines, err = s.goroutines(ctx); err != nil {
			return r, err
		}
		r.resident = m.Resident
		if !known || r.goroutines <= before.goroutines && r.files <= before.files || time.Now().After(deadline) {
			return r, nil
		}
	}
}
