package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/server"
)

// deliveriesMetric is the server's own count.
const deliveriesMetric = "fairlead_deliveries_total"

// Fanout asks what a message to many members costs, one at a time, beside a plain send loop in the same run.
type Fanout struct {
	Members  int
	Size     int     // bytes of a message
	Rate     float64 // messages a second
	Warm     int     // messages at the beginning of each turn that do not count
	Messages int     // those that do
	Pairs    int     // turns of the server, and as many of the loop
	Reading  crowd.Reading
}

// members opens a crowd that throws away what it hears.
func (s *stage) members(ctx context.Context, n int, reading crowd.Reading) (*crowd.Client, error) {
	c, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	s.Say("opening %d members", n)
	_, err = s.open(c, crowd.Open{Connections: n, Path: "/ws/fanout", Window: 64, Sources: 8, Reading: reading})
	return c, err
}

// Run lets server and loop take turns, each sending the same bytes at the same rate to as many sockets of a crowd of its own.
//
// The first messages of a turn do not count. After a pause longer than the retransmission timeout (200 ms) a receiving socket
// acknowledges the next 16 segments at once, on loopback at the sender's cost, and only then puts it off as it does in a
// steady flow (tcp_event_data_recv in the Linux kernel): they are dearer by 40 %, and it was not the server that paused.
func (o Fanout) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	s, err := b.stage(ctx, map[string]string{"limits.ping_interval": noPings})
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	members, err := s.members(ctx, o.Members, o.Reading)
	if err != nil {
		return nil, err
	}
	loop, err := o.plain(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, loop.Close()) }()
	before, err := s.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	if err := settle(ctx, s.server.PID); err != nil {
		return nil, err
	}
	idle, err := measure(s.server.PID, func() error { return sleep(ctx, 2*time.Second) })
	if err != nil {
		return nil, err
	}

	var ofServer, ofLoop, ratio []float64
	var received int64
	for pair := range o.Pairs + 1 {
		b.Say("pair %d of %d", pair, o.Pairs)
		var server, plain float64
		// Whoever goes first, goes second the next time.
		for turn := range 2 {
			if (turn == 0) == (pair%2 == 0) {
				var got int64
				server, got, err = o.turn(s, members)
				received += got
			} else {
				plain, err = loop.turn()
			}
			if err != nil {
				return nil, err
			}
		}
		if pair > 0 { // the first is to warm up
			ofServer, ofLoop, ratio = append(ofServer, server), append(ofLoop, plain), append(ratio, server/plain)
		}
	}
	if err := settle(ctx, s.server.PID); err != nil { // it may count a delivery later than the client has it
		return nil, err
	}
	after, err := s.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	return named("fanout", append([]report.Figure{
		report.Median("server CPU per delivery over send loop CPU per send", "×", ratio).Want(report.AtMost, 1.15),
		report.Median("server CPU per delivery", "us", ofServer),
		report.Median("send loop CPU per send", "us", ofLoop),
		report.One("server CPU without messages, in it", "ms/s", float64(idle.server)/1e6/idle.wall.Seconds()),
		uncounted(before, after, received),
	}, losses(before, after)...)), nil
}

// uncounted compares the server's count of deliveries with the clients'.
func uncounted(before, after server.Metrics, received int64) report.Figure {
	claimed := after.Sum(deliveriesMetric) - before.Sum(deliveriesMetric)
	return report.One("deliveries counted by server and clients, difference", "", math.Abs(claimed-float64(received))).Want(report.AtMost, 0)
}

// turn is one turn of the server. It returns its CPU per delivery, in microseconds, and all that came.
func (o Fanout) turn(s *stage, members *crowd.Client) (each float64, received int64, err error) {
	_, warm, err := o.publish(s, members, o.Warm)
	if err != nil {
		return 0, 0, err
	}
	c, received, err := o.publish(s, members, o.Messages)
	return c.each(received), warm + received, err
}

// publish sends messages and waits until the members have them.
func (o Fanout) publish(s *stage, members *crowd.Client, messages int) (c cost, received int64, err error) {
	var got crowd.Published
	c, err = measure(s.server.PID, func() (err error) {
		got, err = members.Publish(crowd.Publish{Senders: 1, Size: o.Size, Messages: messages, Rate: o.Rate, Drain: stuck})
		return err
	})
	if err == nil && (got.Received != got.Expected || got.Members != o.Members) {
		err = fmt.Errorf("of %d deliveries to %d members %d came", got.Expected, got.Members, got.Received)
	}
	return c, got.Received, err
}
