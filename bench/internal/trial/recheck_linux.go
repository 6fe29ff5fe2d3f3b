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
	Rest        time.Duration // how long to look at a server that does not look again
	Revoked     int           // tokens that are deleted meanwhile
	Share       float64       // of a core, in percent, at the most
}

// Run opens the connections, each with a token of its own, deletes some of the tokens and looks on for as long as it may
// take until these connections end. There are no pings: what the server does is the rechecks, and what a server with so many
// connections does anyway. The latter is measured before, at a server of its own whose route has no recheck.
func (o Recheck) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	django, err := b.people(ctx, o.Connections)
	if err != nil {
		return nil, err
	}
	// The last ones: other trials of the run want the first.
	tokens := django.Tokens[len(django.Tokens)-o.Connections:]
	rest, err := o.rest(ctx, b, django, tokens)
	if err != nil {
		return nil, err
	}
	s, c, err := o.open(ctx, b, django, tokens, fmt.Sprintf("recheck = %q", o.Every))
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
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
		report.One("share of a core, less that without rechecks", "%", idle.share()-rest.share()).Want(report.AtMost, o.Share),
		report.One("share of a core", "%", idle.share()),
		report.One("share of a core without rechecks", "%", rest.share()),
		report.One("connections", "", float64(o.Connections)),
		report.One("connections of deleted tokens ended in time", "", float64(ended)).Want(report.AtLeast, float64(o.Revoked)),
		report.One("other connections lost", "", float64(counts.Lost-ended)).Want(report.AtMost, 0),
		report.One("rechecks", "1/s", done/idle.wall.Seconds()),
		report.One("server CPU per recheck, with all that is done meanwhile", "us", float64(idle.server)/1e3/done),
		report.One("rechecks per query", "", done/float64(max(now-asked, 1))),
	}), nil
}

// open starts a server with these keys in its route and opens the connections. The caller closes the stage.
func (o Recheck) open(ctx context.Context, b *Bench, django *Django, tokens []string, keys string) (s *stage, c *crowd.Client, err error) {
	s, err = b.set(ctx, Setup{
		Settings: map[string]string{"limits.ping_interval": noPings}, Tables: tokenTables(django.DSN) + authRoute(keys),
	})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			s.close(&err)
		}
	}()
	if c, err = s.crowd(ctx); err != nil {
		return nil, nil, err
	}
	b.Say("opening %d connections", o.Connections)
	_, err = s.open(c, crowd.Open{
		Connections: o.Connections, Path: authPath, Via: wire.ViaHeader, Window: 256, Sources: 8, Reading: crowd.Parse, Tokens: tokens,
	})
	return s, c, err
}

// rest measures a server that does not look again.
func (o Recheck) rest(ctx context.Context, b *Bench, django *Django, tokens []string) (rest cost, err error) {
	s, _, err := o.open(ctx, b, django, tokens, "")
	if err != nil {
		return cost{}, err
	}
	defer s.close(&err)
	if err := settle(ctx, s.server.PID); err != nil {
		return cost{}, err
	}
	return measure(s.server.PID, func() error { return sleep(ctx, o.Rest) })
}

// share returns the server's time as a share of a core, in percent.
func (c cost) share() float64 { return 100 * float64(c.server) / float64(c.wall) }
