package trial

import (
	"context"
	"fmt"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Storm asks what a node asks its database when everybody comes back at once.
type Storm struct {
	Connections int
	Window      int   // handshakes at once: more than the server does at once
	Queries     int64 // of tokens, at the most, when it knows none of them
}

// Run lets everybody in at a server that has just started, each with a token of Django REST framework of their own, and
// then, when all have gone, once more at the same server, which knows them now.
func (o Storm) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	django, err := b.people(ctx, o.Connections)
	if err != nil {
		return nil, err
	}
	s, err := b.set(ctx, Setup{Tables: tokenTables(django.DSN) + authRoute("")})
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	c, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	open := crowd.Open{
		Connections: o.Connections, Path: authPath, Via: wire.ViaHeader, Window: o.Window, Sources: 8, Reading: crowd.Parse,
		Tokens: django.Tokens[:o.Connections],
	}
	for i, name := range []string{"cold", "again"} {
		b.Say("%d connections at once, %s", o.Connections, name)
		before, err := django.Queries(ctx, tokenTable)
		if err != nil {
			return nil, err
		}
		var got crowd.Opened
		var all steps
		err = s.step(ctx, &all, o.Connections, func() (err error) { got, err = s.open(c, open); return err })
		if err != nil {
			return nil, err
		}
		after, err := django.Queries(ctx, tokenTable)
		if err != nil {
			return nil, err
		}
		queries := report.One("queries of tokens", "", float64(after-before))
		if i == 0 {
			if after == before {
				return nil, fmt.Errorf("%d tokens were good without a query", o.Connections)
			}
			queries = queries.Want(report.AtMost, float64(o.Queries))
		} else {
			queries = queries.Want(report.AtMost, 0)
		}
		memory, err := proc.ReadMemory(s.server.PID)
		if err != nil {
			return nil, err
		}
		figures = append(figures, named("storm, "+name, []report.Figure{
			queries,
			report.One("connections", "", float64(got.Open)),
			report.One("until the last is open", "s", got.Elapsed.Seconds()),
			report.One("longest from connect to open", "ms", float64(got.Latency.Most)/1e6),
			report.One("server CPU per handshake", "us", all.each[0]),
			report.One("resident memory at its largest", "MiB", float64(memory.Peak)/(1<<20)),
		})...)
		if _, err := c.Close(crowd.Close{Leaving: crowd.Fin, Timeout: stuck}); err != nil {
			return nil, err
		}
		if err := settle(ctx, s.server.PID); err != nil {
			return nil, err
		}
	}
	return figures, nil
}

// people returns the database of a site that has so many users at least.
func (b *Bench) people(ctx context.Context, n int) (*Django, error) {
	d, err := b.Django(ctx)
	if err == nil && len(d.Tokens) < n {
		err = fmt.Errorf("the site has %d users, too few for %d connections", len(d.Tokens), n)
	}
	return d, err
}
