package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead-ws/fairlead/bench/internal/application"
	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Auth asks what letting a client in costs by the kind of its credential, and what the same costs with Django Channels.
type Auth struct {
	Connections int // in each round
	Rounds      int
	Window      int      // handshakes at once, where the case does not say otherwise
	Cases       []string // of AuthCases; none: all
	Peers       []string // servers that Channels runs on, to compare with; none: no comparison
	Gentle      int      // connections in a round of a peer
}

// The words in the names of cases. A peer decides what the cold case with the same word decides.
const (
	tokenCase   = "drf_token"
	sessionCase = "django_session"
)

// cheap is the target for a credential that needs no look-up, in microseconds.
const cheap = 60

// authCase is one kind of credential at a server of its own.
type authCase struct {
	name   string
	via    wire.Via
	window int     // 0: that of the trial
	target float64 // in microseconds; 0: none
	django bool    // it needs the database
	// tables makes the verifier "measured".
	tables func(w *authWorld) (string, error)
	// show makes the credentials of a round, one for each connection.
	show func(ctx context.Context, w *authWorld, s *stage, round int) ([]string, error)
	// asks returns how many look-ups there were so far. Nil: none are made.
	asks func(ctx context.Context, w *authWorld) (int64, error)
	// want checks the look-ups of n handshakes, those of all rounds that count.
	want func(asked, n int64) error
}

// authWorld is what cases are made from.
type authWorld struct {
	o      Auth
	django *Django
	app    *application.Application
	dir    string
	signed map[string][]string // tokens by algorithm, which take some time
}

// AuthCases are the names of the cases, in their order.
func AuthCases() (names []string) {
	for i := range authCases {
		names = append(names, authCases[i].name)
	}
	return names
}

// Run measures each case at a server of its own, and then the peers. A case that cannot be measured does not keep the
// others from it: what was measured is returned with the errors.
func (o Auth) Run(ctx context.Context, b *Bench) (figures []report.Figure, err error) {
	w := &authWorld{o: o, signed: map[string][]string{}}
	if w.dir, err = os.MkdirTemp("", "fairlead-bench-auth-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(w.dir)) }()
	if w.app, err = application.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.app.Close()) }()
	cold := map[string]float64{}
	for i := range authCases {
		c := &authCases[i]
		if len(o.Cases) > 0 && !slices.Contains(o.Cases, c.name) {
			continue
		}
		measured, failed := o.measure(ctx, b, w, c)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", c.name, failed))
			continue
		}
		if word, is := strings.CutSuffix(c.name, ", cold"); is {
			cold[word] = measured[0].Value
		}
		figures = append(figures, named("auth, "+c.name, measured)...)
	}
	for _, peer := range o.Peers {
		measured, failed := o.compare(ctx, b, w, peer, cold)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("channels on %s: %w", peer, failed))
		}
		figures = append(figures, measured...)
	}
	return figures, err
}

// needDjango gets the database for the cases that look something up.
func (w *authWorld) needDjango(ctx context.Context, b *Bench) (err error) {
	if w.django == nil {
		w.django, err = b.people(ctx, (w.o.Rounds+1)*max(w.o.Connections, w.o.Gentle))
	}
	return err
}

// measure does the rounds of one case: handshakes, which count, and the ends of these connections, which do not.
func (o Auth) measure(ctx context.Context, b *Bench, w *authWorld, c *authCase) (figures []report.Figure, err error) {
	if c.django {
		if err := w.needDjango(ctx, b); err != nil {
			return nil, err
		}
	}
	tables, err := c.tables(w)
	if err != nil {
		return nil, err
	}
	s, err := b.set(ctx, Setup{Tables: tables + authRoute("")})
	if err != nil {
		return nil, err
	}
	defer s.close(&err)
	b.Say("%s", c.name)
	open := crowd.Open{
		Connections: o.Connections, Path: authPath, Via: c.via, Window: max(c.window, 1), Sources: 8, Reading: crowd.Parse,
	}
	if c.window == 0 {
		open.Window = o.Window
	}
	var asked [2]int64 // before the first round, and before the first that counts
	r, err := o.rounds(ctx, s, open, func(round int) (_ []string, err error) {
		if c.asks != nil && round < len(asked) {
			if asked[round], err = c.asks(ctx, w); err != nil {
				return nil, err
			}
		}
		return c.show(ctx, w, s, round)
	})
	if err != nil {
		return nil, err
	}
	cpu := report.Median("server CPU per handshake", "us", r.cost.each)
	if c.target > 0 {
		cpu = cpu.Want(report.AtMost, c.target)
	}
	figures = append([]report.Figure{cpu}, r.figures()...)
	if c.asks == nil {
		return figures, nil
	}
	now, err := c.asks(ctx, w)
	if err != nil {
		return nil, err
	}
	if asked[0] == asked[1] {
		return nil, errors.New("nothing was looked up for credentials that were never seen before")
	}
	n, more := int64(o.Connections*o.Rounds), now-asked[1]
	if err := c.want(more, n); err != nil {
		return nil, err
	}
	return append(figures, report.One("look-ups per handshake", "", float64(more)/float64(n))), nil
}

// authRounds is what rounds of handshakes came to.
type authRounds struct {
	cost        steps
	rate, media []float64
}

func (r *authRounds) figures() []report.Figure {
	return []report.Figure{
		report.Median("handshakes", "1/s", r.rate),
		report.Median("median time of a handshake", "ms", r.media),
	}
}

// rounds opens the connections and ends them, again and again. The first round does not count: tables, pools and, where the
// same credentials come again, the cache have what they need after it.
func (o Auth) rounds(ctx context.Context, s *stage, open crowd.Open, show func(round int) ([]string, error)) (*authRounds, error) {
	c, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	r := &authRounds{}
	for round := range o.Rounds + 1 {
		if open.Tokens, err = show(round); err != nil {
			return nil, err
		}
		var got crowd.Opened
		err := s.step(ctx, &r.cost, open.Connections, func() (err error) { got, err = s.open(c, open); return err })
		if err != nil {
			return nil, err
		}
		if _, err := c.Close(crowd.Close{Leaving: crowd.Frame, Timeout: stuck}); err != nil {
			return nil, err
		}
		if err := settle(ctx, s.server.PID); err != nil {
			return nil, err
		}
		if round == 0 {
			*r = authRounds{}
			continue
		}
		r.rate = append(r.rate, float64(open.Connections)/got.Elapsed.Seconds())
		r.media = append(r.media, float64(got.Latency.P50)/1e6)
	}
	return r, nil
}

// compare measures a peer with the credentials that are looked up, each one for the first time.
func (o Auth) compare(ctx context.Context, b *Bench, w *authWorld, peer string, cold map[string]float64) (figures []report.Figure, err error) {
	if err := w.needDjango(ctx, b); err != nil {
		return nil, err
	}
	target, err := b.Channels(ctx, peer)
	if err != nil {
		return nil, err
	}
	s := &stage{Bench: b, server: target}
	defer s.close(&err)
	for _, k := range []struct {
		word        string
		via         wire.Via
		credentials []string
	}{{tokenCase, wire.ViaHeader, w.django.Tokens}, {sessionCase, wire.ViaCookie, w.django.Cookies}} {
		b.Say("Channels on %s, %s", peer, k.word)
		open := crowd.Open{
			Connections: o.Gentle, Path: authPath, Via: k.via, Window: o.Window, Sources: 8, Reading: crowd.Parse,
		}
		r, err := o.rounds(ctx, s, open, func(round int) ([]string, error) { return part(k.credentials, round, o.Gentle), nil })
		if err != nil {
			return figures, fmt.Errorf("%s: %w", k.word, err)
		}
		cpu := report.Median("server CPU per handshake", "us", r.cost.each)
		measured := append([]report.Figure{cpu}, r.figures()...)
		if one := cold[k.word]; one > 0 {
			measured = append(measured, report.One("times what it costs here, cold", "", cpu.Value/one))
		}
		figures = append(figures, named(fmt.Sprintf("auth, %s, Channels on %s", k.word, peer), measured)...)
	}
	return figures, nil
}

// part returns the credentials of a round, others in each.
func part(all []string, round, n int) []string { return all[round*n : (round+1)*n] }

// keyFile writes a public key for a verifier.
func (w *authWorld) keyFile(algorithm string) (string, error) {
	b, err := w.app.Public(algorithm)
	if err != nil {
		return "", err
	}
	file := filepath.Join(w.dir, algorithm+".pem")
	return file, os.WriteFile(file, b, 0o600)
}
