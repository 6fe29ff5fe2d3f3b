package trial

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Outage asks what a server does while NATS, and with it the journal, is away and clients go on coming.
type Outage struct {
	Mode     string // of the journal: degrade or require
	Standing int    // connections that are there all the time
	Rate     int    // connections a second that come and go
	Before   time.Duration
	Away     time.Duration
	After    time.Duration
	Grown    float64 // MiB of resident memory more, at the most
	Via      wire.Via
}

// Run kills NATS under load and starts it again. Connections come on a schedule, whatever happens to them, and go at once.
func (o Outage) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	nats, err := b.NATS(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, nats.Kill()) }()
	s, err := b.stage(ctx, map[string]string{"nats.url": strconv.Quote(nats.URL()), "journal.mode": strconv.Quote(o.Mode)})
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	standing, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	open := crowd.Open{Connections: o.Standing, Path: "/ws/outage", Via: o.Via, Window: 64, Sources: 8, Reading: crowd.Parse}
	if _, err := s.open(standing, open); err != nil {
		return nil, err
	}
	coming, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	coming.Progress = nil // this goroutine talks
	open.First, open.Connections = o.Standing, o.Rate*int((o.Before+o.Away+o.After)/time.Second)
	open.Rate, open.Window, open.Leaving = float64(o.Rate), 4096, crowd.Frame
	open.Address, open.Secret, open.Timeout, open.Path = s.server.Address, s.server.Secret, stuck, "/ws/coming"

	before, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	var came crowd.Opened
	opened := make(chan error, 1)
	go func() {
		var err error
		came, err = coming.Open(open)
		opened <- err
	}()
	peak, failed := o.act(ctx, s, nats)
	if err := errors.Join(failed, <-opened); err != nil {
		return nil, err
	}
	if err := settle(ctx, s.server.PID); err != nil {
		return nil, err
	}
	after, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := standing.Count(crowd.Count{})
	if err != nil {
		return nil, err
	}
	if came.Error != "" {
		b.Say("the first that went wrong: %s", came.Error)
	}
	more := func(name string) float64 { return after.metrics.Sum(name) - before.metrics.Sum(name) }
	mib := func(m proc.Memory) float64 { return float64(m.Resident-before.memory.Resident) / (1 << 20) }
	figures = []report.Figure{
		report.One("connections that came", "", float64(open.Connections)),
		report.One("let in", "", float64(came.Open)),
		report.One("refused with 503", "", float64(came.Status[503])),
		report.One("neither", "", float64(open.Connections-came.Open-came.Status[503])).Want(report.AtMost, 0),
		report.One("connections that were there and were lost", "", float64(counts.Lost)).Want(report.AtMost, 0),
		report.One("longest until an answer", "ms", float64(came.Latency.Most)/1e6),
		report.One("resident memory more, at the most", "MiB", mib(peak)).Want(report.AtMost, o.Grown),
		report.One("resident memory more, at the end", "MiB", mib(after.memory)),
		report.One("goroutines more, at the end", "", more("go_goroutines")).Want(report.AtMost, 10),
		report.One("records that wait for the journal, at the end", "B", after.metrics.Sum("fairlead_journal_buffered_bytes")).Want(report.AtMost, 0),
		report.One("records that the journal has no room for", "", more("fairlead_journal_dropped_total")),
		report.One("gaps marked", "", more("fairlead_journal_gaps_total")),
	}
	if o.Mode == "require" {
		// Nobody is let in for most of the time: the rest is what comes before NATS is known to be away, and to be back.
		share := 0.9 * o.Away.Seconds() * float64(o.Rate)
		figures[2] = figures[2].Want(report.AtLeast, share)
	} else {
		figures[1] = figures[1].Want(report.AtLeast, float64(open.Connections))
	}
	return named("outage, "+o.Mode, figures), nil
}

// act takes NATS away and brings it back, and returns the server's memory at its largest.
func (o Outage) act(ctx context.Context, s *stage, nats NATS) (peak proc.Memory, err error) {
	watch := func(d time.Duration) error {
		for end := time.Now().Add(d); time.Now().Before(end); {
			m, err := proc.ReadMemory(s.server.PID)
			if err != nil {
				return fmt.Errorf("the server has ended: %w", err)
			}
			if m.Resident > peak.Resident {
				peak = m
			}
			if err := sleep(ctx, min(250*time.Millisecond, max(time.Until(end), 0))); err != nil {
				return err
			}
		}
		return nil
	}
	if err := watch(o.Before); err != nil {
		return peak, err
	}
	s.Say("NATS is killed; it comes back in %v", o.Away)
	if err := nats.Kill(); err != nil {
		return peak, err
	}
	if err := watch(o.Away); err != nil {
		return peak, err
	}
	s.Say("NATS is started again")
	if err := nats.Again(); err != nil {
		return peak, err
	}
	return peak, watch(o.After)
}
