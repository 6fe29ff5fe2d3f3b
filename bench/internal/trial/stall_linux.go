package trial

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
)

// Stall asks what clients that stop reading do to the server and to the others.
type Stall struct {
	Name         string
	Healthy      int
	Stalled      int
	Size         int // bytes of a message
	Rate         float64
	Messages     int
	WriteTimeout time.Duration
	Outbox       int // bytes
}

// localhost is where the healthy clients come from. Those that stall come from other addresses, and are known by that.
var localhost = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Run publishes to the healthy alone, then to the healthy and the stalled, and watches.
func (o Stall) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	s, err := b.stage(ctx, map[string]string{
		"limits.write_timeout": fmt.Sprintf("%q", o.WriteTimeout), "limits.outbox_bytes": fmt.Sprint(o.Outbox),
	})
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	healthy, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	stalled, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	open := crowd.Open{Connections: o.Healthy, Path: "/ws/stall", Window: 64, Reading: crowd.Parse}
	if _, err := s.open(healthy, open); err != nil {
		return nil, err
	}
	if _, _, err := o.publish(healthy); err != nil { // to warm up
		return nil, err
	}
	b.Say("publishing to %d members that read", o.Healthy)
	_, alone, err := o.publish(healthy)
	if err != nil {
		return nil, err
	}
	open.First, open.Connections, open.Sources = o.Healthy, o.Stalled, 8
	open.Reading, open.ReceiveBuffer = crowd.Stall, 4096
	if _, err := s.open(stalled, open); err != nil {
		return nil, err
	}
	if err := settle(ctx, s.server.PID); err != nil {
		return nil, err
	}
	before, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}

	b.Say("publishing to them and to %d that do not read", o.Stalled)
	w, peak, stop := o.watch(ctx, s)
	got, beside, err := o.publish(healthy)
	if err = errors.Join(err, stop()); err != nil {
		return nil, err
	}
	after, err := s.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	gone, fromStart, fromBlock := w.outcome()
	each := func(v int64) float64 { return float64(v) / float64(o.Stalled) }
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	return named("stall, "+o.Name, []report.Figure{
		report.One("stalled connections cut", "", float64(gone)).Want(report.AtLeast, float64(o.Stalled)),
		report.One("longest from blocked to closed", "s", fromBlock.Seconds()).
			Want(report.AtMost, (o.WriteTimeout + time.Second).Seconds()),
		report.One("longest from the first message to closed", "s", fromStart.Seconds()),
		report.One("slow, by the server's metrics", "", after.Grown(before.metrics, "slow").Sum("fairlead_slow_closes_total")),
		report.One("deliveries lost by those that read", "", float64(got.Expected-got.Received+beside.Gaps)).Want(report.AtMost, 0),
		report.One("latency p99 without the stalled", "ms", ms(alone.Latency.P99)),
		report.One("latency p99 beside the stalled", "ms", ms(beside.Latency.P99)),
		report.One("longest latency beside the stalled", "ms", ms(beside.Latency.Most)).Want(report.AtMost, 500),
		report.One("resident bytes more, at the most, per stalled connection", "B", each(peak.memory.Resident-before.memory.Resident)).
			Want(report.AtMost, float64(o.Outbox)),
		report.One("bytes waiting in the kernel, at the most, per stalled connection", "B", each(w.resting)).
			Want(report.AtMost, 64<<10),
	}), nil
}

// publish does one run from a healthy member, and returns the counts of that run.
func (o Stall) publish(healthy *crowd.Client) (got crowd.Published, seen crowd.Counts, err error) {
	if _, err = healthy.Count(crowd.Count{Reset: true}); err != nil {
		return got, seen, err
	}
	got, err = healthy.Publish(crowd.Publish{Senders: 1, Size: o.Size, Messages: o.Messages, Rate: o.Rate, Drain: 5 * time.Second})
	if err != nil {
		return got, seen, err
	}
	seen, err = healthy.Count(crowd.Count{})
	if err == nil && seen.Lost > 0 {
		err = fmt.Errorf("%d connections that read were lost: %s", seen.Lost, seen.Error)
	}
	return got, seen, err
}

// watch looks at the stalled connections and at the server's memory until stop is called: then it goes on until all are cut,
// or the time for that is over. peak and w may be read after stop.
func (o Stall) watch(ctx context.Context, s *stage) (w *watch, peak *standing, stop func() error) {
	port := netip.MustParseAddrPort(s.server.Address).Port()
	w = &watch{
		read:    func() ([]proc.Socket, error) { return proc.ReadSockets(port) },
		of:      func(client netip.AddrPort) bool { return client.Addr() != localhost },
		started: time.Now(), sockets: map[netip.AddrPort]*watched{},
	}
	peak = &standing{}
	stopping, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var last time.Time // of the watch, once it is stopping
		for {
			now := time.Now()
			m, err := proc.ReadMemory(s.server.PID)
			if err = errors.Join(err, w.look(now)); err != nil {
				done <- err
				return
			}
			peak.memory.Resident = max(peak.memory.Resident, m.Resident)
			select {
			case <-ctx.Done():
				done <- ctx.Err()
				return
			case <-stopping:
				if last.IsZero() {
					last = now.Add(o.WriteTimeout + 2*time.Second)
				}
				if gone, _, _ := w.outcome(); gone == len(w.sockets) || now.After(last) {
					done <- nil
					return
				}
				time.Sleep(watchEvery)
			case <-time.After(watchEvery):
			}
		}
	}()
	return w, peak, func() error {
		close(stopping)
		return <-done
	}
}
