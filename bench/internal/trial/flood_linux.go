package trial

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
)

// Flood asks how much a server delivers to clients that only throw away, and at what cost.
type Flood struct {
	Members  int
	Size     int // bytes of a message
	Senders  int
	Window   int // messages on their way
	Duration time.Duration
	Runs     int
	Reading  crowd.Reading
}

// Run publishes as fast as the window allows, several times.
func (o Flood) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	s, err := b.stage(ctx, map[string]string{"limits.ping_interval": noPings})
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	members, err := s.members(ctx, o.Members, o.Reading)
	if err != nil {
		return nil, err
	}
	before, err := s.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	var each, rate, lost []float64
	var received int64
	for run := range o.Runs + 1 {
		b.Say("run %d of %d", run, o.Runs)
		var got crowd.Published
		c, err := measure(s.server.PID, func() (err error) {
			got, err = members.Publish(crowd.Publish{
				Senders: o.Senders, Size: o.Size, Duration: o.Duration, Window: o.Window, Drain: 5 * time.Second,
			})
			return err
		})
		if err != nil {
			return nil, err
		}
		if got.Received == 0 {
			return nil, fmt.Errorf("of %d deliveries none came", got.Expected)
		}
		received += got.Received
		lost = append(lost, float64(got.Expected-got.Received))
		if run > 0 { // the first is to warm up
			each = append(each, c.each(got.Received))
			rate = append(rate, float64(got.Received)/got.Elapsed.Seconds())
		}
	}
	if err := settle(ctx, s.server.PID); err != nil { // it may count a delivery later than the client has it
		return nil, err
	}
	after, err := s.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := members.Count(crowd.Count{})
	if err != nil {
		return nil, err
	}
	return named("flood", append([]report.Figure{
		report.Median("server CPU per delivery", "us", each).Want(report.AtMost, 1),
		report.Median("deliveries", "1/s", rate).Want(report.AtLeast, 1e6),
		report.One("deliveries lost", "", sum(lost)).Want(report.AtMost, 0),
		report.One("connections lost", "", float64(counts.Lost)).Want(report.AtMost, 0),
		uncounted(before, after, received),
	}, losses(before, after)...)), nil
}

func sum(v []float64) (all float64) {
	for _, x := range v {
		all += x
	}
	return all
}
