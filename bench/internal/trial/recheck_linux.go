package trial

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// codeRevoked is the close code for a credential that is no longer good.
const codeRevoked = 4401

// Recheck asks what it costs to verify again, in the background, the credentials of those who are connected.
type Recheck struct {
	Connections int
	Every       time.Duration // recheck of the route: what is revoked ends within so long
	Revoked     int           // tokens that are deleted meanwhile
	Share       float64       // of a core, in percent, at the most
}

// Run opens the connections, each with a token of its own, deletes some of the tokens and looks on for as long as it may
// take until these connections end. There are no pings: what the server does is the rechecks, and what a server with so many
// connections does anyway.
func (o Recheck) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	django, err := b.people(ctx, o.Connections)
	if err != nil {
		return nil, err
	}
	s, err := b.set(ctx, Setup{
		Settings: map[string]string{"limits.ping_interval": noPings},
		Tables:   tokenTables(django.DSN) + authRoute(fmt.Sprintf("recheck = %q", o.Every)),
	})
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	c, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	// The last ones: other trials of the run want the first.
	tokens := django.Tokens[len(django.Tokens)-o.Connections:]
	b.Say("opening %d connections", o.Connections)
	if _, err = s.open(c, crowd.Open{
		Connections: o.Connections, Path: authPath, Via: wire.ViaHeader, Window: 256, Sources: 8, Reading: crowd.Parse, Tokens: tokens,
	}); err != nil {
		return nil, err
	}
	before, err := s.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	asked, err := django.Queries(ctx, tokenTable)
	if err != nil {
		return nil, err
	}
	if err := django.Revoke(ctx, tokens[len(tokens)-o.Revoked:]); err != nil {
		return nil, err
	}
	b.Say("%d tokens are deleted; looking on for %v", o.Revoked, o.Every)
	idle, err := measure(s.server.PID, func() error { return sleep(ctx, o.Every) })
	if err != nil {
		return nil, err
	}
	counts, err := c.Count(crowd.Count{})
	if err != nil {
		return nil, err
	}
	after, err := s.server.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	now, err := django.Queries(ctx, tokenTable)
	if err != nil {
		return nil, err
	}
	done := after.Sum("fairlead_rechecks_total") - before.Sum("fairlead_rechecks_total")
	if done == 0 {
		return nil, fmt.Errorf("no recheck in %v, by the server's metrics", o.Every)
	}
	ended := counts.Codes[codeRevoked]
	return named("recheck", []report.Figure{
		report.One("share of a core", "%", 100*float64(idle.server)/float64(idle.wall)).Want(report.AtMost, o.Share),
		report.One("connections", "", float64(o.Connections)),
		report.One("connections of deleted tokens ended in time", "", float64(ended)).Want(report.AtLeast, float64(o.Revoked)),
		report.One("other connections lost", "", float64(counts.Lost-ended)).Want(report.AtMost, 0),
		report.One("rechecks", "1/s", done/idle.wall.Seconds()),
		report.One("server CPU per recheck, with all that is done meanwhile", "us", float64(idle.server)/1e3/done),
		report.One("rechecks per query", "", done/float64(max(now-asked, 1))),
	}), nil
}
