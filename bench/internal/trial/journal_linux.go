package trial

import (
	"context"
	"fmt"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/server"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Journal asks what an event in the journal costs the server.
type Journal struct {
	Connections int // in each round
	Rounds      int
	Window      int // handshakes at once
	Via         wire.Via
}

// onDisk are the settings of a server whose embedded NATS keeps the journal on disk.
func onDisk() map[string]string {
	return map[string]string{"journal.mode": `"degrade"`, "nats.store_dir": `"` + Dir + `/store"`}
}

// eventsEach is how many events a connection makes that comes and goes: it is opened, and closed.
const eventsEach = 2

// Run lets connections come and go at two servers in turn, one with the journal on disk and one without. The difference in
// processor time, by the events, is what the journal costs: making, encoding and handing over an event, and the embedded
// NATS that stores it.
func (o Journal) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	var stages [2]*stage
	var crowds [2]*crowd.Client
	for i, settings := range []map[string]string{{"journal.mode": `"off"`}, onDisk()} {
		if stages[i], err = b.stage(ctx, settings); err != nil {
			return nil, err
		}
		defer stages[i].close(&err)
		if crowds[i], err = stages[i].crowd(ctx); err != nil {
			return nil, err
		}
	}
	open := crowd.Open{
		Connections: o.Connections, Path: "/ws/journal", Via: o.Via, Window: o.Window, Sources: 8,
		Reading: crowd.Parse, Leaving: crowd.Frame,
	}
	var all [2]steps
	var before server.Metrics
	for round := range o.Rounds + 1 {
		b.Say("round %d of %d", round, o.Rounds)
		for turn := range stages {
			i := (turn + round) % len(stages) // who goes first pays for a cold cache: each in turn
			err := stages[i].step(ctx, &all[i], o.Connections, func() error { _, err := stages[i].open(crowds[i], open); return err })
			if err != nil {
				return nil, err
			}
		}
		if round == 0 {
			all = [2]steps{}
			if before, err = stages[1].server.Metrics(ctx); err != nil {
				return nil, err
			}
		}
	}
	after, err := stages[1].server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	kept := after.Sum("fairlead_journal_records_total") - before.Sum("fairlead_journal_records_total")
	if want := float64(eventsEach * o.Connections * o.Rounds); kept < want {
		return nil, fmt.Errorf("the journal has %v records more, want %v: it is not on, or loses some", kept, want)
	}
	cost := make([]float64, o.Rounds)
	for i := range cost {
		cost[i] = (all[1].each[i] - all[0].each[i]) / eventsEach
	}
	return named("journal", append([]report.Figure{
		report.Median("server CPU per event, journal on disk less none", "us", cost).Want(report.AtMost, 10),
		report.Median("server CPU per connection that came and went, journal on disk", "us", all[1].each),
		report.Median("server CPU per connection that came and went, no journal", "us", all[0].each),
		report.One("records kept", "", kept),
	}, losses(before, after)...)), nil
}
