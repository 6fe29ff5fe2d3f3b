package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
)

// Compress asks what compression costs a server that sends one message to many members.
type Compress struct {
	Members  int // of each group: one that compresses, one that does not
	Size     int // bytes of a message
	Rate     float64
	Messages int // in each turn
	Rounds   int // after one to warm up
}

// The server's own counts.
const (
	compressionsMetric = "fairlead_compressions_total"
	sentBytesMetric    = "fairlead_sent_bytes_total"
)

// Run lets two groups at one server take turns: the members of one have agreed on permessage-deflate. What a client got is
// not counted, since the length of a compressed frame is not known; the server's count of deliveries stands for it.
func (o Compress) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	s, err := b.stage(ctx, map[string]string{"limits.ping_interval": noPings, "compression.enabled": "true"})
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	var groups [2]*crowd.Client
	for i := range groups {
		if groups[i], err = s.crowd(ctx); err != nil {
			return nil, err
		}
		b.Say("opening %d members, compressed: %v", o.Members, i == 1)
		_, err = s.open(groups[i], crowd.Open{
			Connections: o.Members, Path: []string{"/ws/plain", "/ws/compressed"}[i], Window: 64, Sources: 8, Reading: crowd.Discard, Deflate: i == 1,
		})
		if err != nil {
			return nil, err
		}
	}
	start, err := s.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	var each [2][]float64
	var bytes [2]float64
	var compressions float64
	for round := range o.Rounds + 1 {
		b.Say("round %d of %d", round, o.Rounds)
		for turn := range groups {
			i := (turn + round) % len(groups)
			t, err := o.turn(ctx, s, groups[i])
			if err != nil {
				return nil, err
			}
			if round > 0 {
				each[i] = append(each[i], t.each)
				bytes[i] += t.bytes
				compressions += t.compressions
			}
		}
	}
	end, err := s.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	if compressions == 0 {
		return nil, errors.New("the server has compressed nothing: it has not agreed, or does not count")
	}
	ratio := make([]float64, o.Rounds)
	for i := range ratio {
		ratio[i] = each[1][i] / each[0][i]
	}
	deliveries, messages := float64(o.Rounds*o.Messages*o.Members), float64(o.Rounds*o.Messages)
	return named("compress", append([]report.Figure{
		report.One("compressions per message", "", compressions/messages).Want(report.AtMost, 1),
		report.Median("server CPU per delivery, compressed", "us", each[1]),
		report.Median("server CPU per delivery, plain", "us", each[0]),
		report.Median("compressed over plain", "×", ratio),
		report.One("bytes sent per delivery, compressed (padding is dots: no measure of the ratio)", "B", bytes[1]/deliveries),
		report.One("bytes sent per delivery, plain", "B", bytes[0]/deliveries),
	}, losses(start, end)...)), nil
}

// turnOf is what one turn of a group came to.
type turnOf struct{ each, bytes, compressions float64 }

// turn publishes, and waits until the server has counted every delivery.
func (o Compress) turn(ctx context.Context, s *stage, group *crowd.Client) (turnOf, error) {
	before, err := s.server.Metrics(ctx)
	if err != nil {
		return turnOf{}, err
	}
	c, err := measure(s.server.PID, func() error {
		_, err := group.Publish(crowd.Publish{Senders: 1, Size: o.Size, Messages: o.Messages, Rate: o.Rate, Drain: time.Second})
		return err
	})
	if err != nil {
		return turnOf{}, err
	}
	if err := settle(ctx, s.server.PID); err != nil {
		return turnOf{}, err
	}
	after, err := s.server.Metrics(ctx)
	if err != nil {
		return turnOf{}, err
	}
	grown := func(name string) float64 { return after.Sum(name) - before.Sum(name) }
	want := float64(o.Messages * o.Members)
	if got := grown(deliveriesMetric); got != want {
		return turnOf{}, fmt.Errorf("of %v deliveries the server has made %v", want, got)
	}
	return turnOf{c.each(int64(want)), grown(sentBytesMetric), grown(compressionsMetric)}, nil
}
