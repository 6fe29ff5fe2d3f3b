package trial

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/certificate"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/tlscrowd"
)

// TLS asks what connections over TLS cost that do nothing, and what their handshakes do.
type TLS struct {
	Connections int
	Wait        time.Duration // after the last
	Pinged      time.Duration // then, until each has answered a ping
	Window      int           // handshakes at once
}

// Run opens the connections, waits, and compares, as [Idle] does; and again when pings have come and gone, since those are
// work over TLS.
func (o TLS) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	dir, err := os.MkdirTemp("", "fairlead-bench-tls-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cert, key, err := certificate.Write(dir)
	if err != nil {
		return nil, err
	}
	settings := map[string]string{"tls.cert": `"` + cert + `"`, "tls.key": `"` + key + `"`}
	maps.Copy(settings, onDisk())
	s, err := b.stage(ctx, settings)
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	if _, err := s.server.Metrics(ctx); err != nil { // what the first look allocates is no connection's
		return nil, err
	}
	if err := settle(ctx, s.server.PID); err != nil {
		return nil, err
	}
	before, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	b.Say("opening %d connections over TLS", o.Connections)
	var clients *tlscrowd.Crowd
	opening, err := measure(s.server.PID, func() error {
		var open tlscrowd.Step
		clients, err = b.TLS(ctx, tlscrowd.Clients{
			Address: s.server.Address, Path: "/ws/idle", Secret: s.server.Secret, Number: o.Connections, Window: o.Window,
		})
		if err == nil {
			open, err = clients.Open()
		}
		return allOpen(open, o.Connections, err)
	})
	if clients != nil {
		defer func() { err = errors.Join(err, clients.Quit()) }()
	}
	if err != nil {
		return nil, err
	}
	b.Say("%d connections are open; waiting %v", o.Connections, o.Wait)
	if err := sleep(ctx, o.Wait); err != nil {
		return nil, err
	}
	first, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	b.Say("waiting %v for pings", o.Pinged)
	idle, err := measure(s.server.PID, func() error { return sleep(ctx, o.Pinged) })
	if err != nil {
		return nil, err
	}
	after, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	seen, err := clients.Look()
	if err := allOpen(seen, o.Connections, err); err != nil {
		return nil, err
	}
	return o.figures(before, first, after, seen, opening, idle), nil
}

// allOpen insists on every connection.
func allOpen(s tlscrowd.Step, want int, err error) error {
	if err == nil && s.Open != want {
		err = fmt.Errorf("of %d connections over TLS %d are open: %s", want, s.Open, s.Error)
	}
	return err
}

func (o TLS) figures(before, first, after standing, seen tlscrowd.Step, opening, idle cost) []report.Figure {
	n := float64(o.Connections)
	each := func(name string) float64 { return (after.metrics.Sum(name) - before.metrics.Sum(name)) / n }
	return named("tls", []report.Figure{
		report.One("connections", "", n),
		report.One("resident bytes per connection", "B", float64(first.memory.Resident-before.memory.Resident)/n).Want(report.AtMost, 16<<10),
		report.One("resident bytes per connection, after pings", "B", float64(after.memory.Resident-before.memory.Resident)/n).
			Want(report.AtMost, 16<<10),
		report.One("pings answered per connection", "", float64(seen.Pings)/n),
		report.One("goroutines per connection", "", each("go_goroutines")).Want(report.AtMost, 1+10/n),
		report.One("stack bytes per connection", "B", each("go_memstats_stack_inuse_bytes")),
		report.One("heap bytes in use per connection", "B", each("go_memstats_heap_inuse_bytes")),
		report.One("kernel objects, both ends, per connection", "B", float64(after.kernel.Slab-before.kernel.Slab)/n),
		report.One("server CPU per handshake, of TLS (P-256) and of the WebSocket", "us", opening.each(int64(o.Connections))),
		report.One("server CPU while idle", "ms/s", float64(idle.server)/1e6/idle.wall.Seconds()),
	})
}
