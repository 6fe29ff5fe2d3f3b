package trial

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/server"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Idle asks what connections cost that do nothing.
type Idle struct {
	Connections int
	Apart       bool // each in a group of its own; else all in one
	Wait        time.Duration
	Via         wire.Via
}

// standing is what a server holds at one time.
type standing struct {
	memory  proc.Memory
	kernel  proc.Kernel
	metrics server.Metrics
}

func (s *stage) standing(ctx context.Context) (st standing, err error) {
	if st.memory, err = proc.ReadMemory(s.server.PID); err != nil { // before the metrics: they are work
		return st, err
	}
	if st.kernel, err = proc.ReadKernel(); err != nil {
		return st, err
	}
	st.metrics, err = s.server.Metrics(ctx)
	return st, err
}

// Run opens the connections, waits, and compares. The clients answer pings and send nothing else. The journal is on disk.
func (o Idle) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	s, err := b.stage(ctx, onDisk())
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	c, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
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
	path := "/ws/idle"
	if o.Apart {
		path = "/ws/idle_{i}"
	}
	b.Say("opening %d connections", o.Connections)
	_, err = s.open(c, crowd.Open{
		Connections: o.Connections, Path: path, Via: o.Via, Window: 64, Sources: 8, Reading: crowd.Parse,
	})
	if err != nil {
		return nil, err
	}
	b.Say("%d connections are open; waiting %v", o.Connections, o.Wait)
	idle, err := measure(s.server.PID, func() error { return sleep(ctx, o.Wait) })
	if err != nil {
		return nil, err
	}
	after, err := s.standing(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := c.Count(crowd.Count{})
	if err != nil {
		return nil, err
	}
	if counts.Lost > 0 {
		return nil, fmt.Errorf("%d of %d idle connections were lost: %s", counts.Lost, o.Connections, counts.Error)
	}
	return o.figures(before, after, idle), nil
}

func (o Idle) figures(before, after standing, idle cost) []report.Figure {
	n := float64(o.Connections)
	each := func(name string) float64 { return (after.metrics.Sum(name) - before.metrics.Sum(name)) / n }
	resident := report.One("resident bytes per connection", "B", float64(after.memory.Resident-before.memory.Resident)/n)
	trial := "idle, a group each"
	if !o.Apart {
		trial = "idle, one group"
		resident = resident.Want(report.AtMost, 4608)
	}
	return named(trial, []report.Figure{
		report.One("connections", "", n),
		resident,
		// Ten are the server's own comings and goings, whatever the number of connections.
		report.One("goroutines per connection", "", each("go_goroutines")).Want(report.AtMost, 1+10/n),
		report.One("stack bytes per connection", "B", each("go_memstats_stack_inuse_bytes")),
		report.One("heap bytes in use per connection", "B", each("go_memstats_heap_inuse_bytes")),
		report.One("heap bytes free, not returned, per connection", "B",
			each("go_memstats_heap_idle_bytes")-each("go_memstats_heap_released_bytes")),
		report.One("bytes of the runtime's own per connection", "B",
			each("go_memstats_mspan_inuse_bytes")+each("go_memstats_gc_sys_bytes")+each("go_memstats_other_sys_bytes")),
		report.One("kernel objects, both ends, per connection", "B", float64(after.kernel.Slab-before.kernel.Slab)/n),
		report.One("kernel socket buffers, both ends, per connection", "B", float64(after.kernel.TCPBuffers-before.kernel.TCPBuffers)/n),
		report.One("resident bytes before the first", "B", float64(before.memory.Resident)),
		report.One("server CPU while idle", "ms/s", float64(idle.server)/1e6/idle.wall.Seconds()),
	})
}
