package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/floor"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/server"
	"github.com/fairlead-ws/fairlead/bench/internal/tlscrowd"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Target is a running server.
type Target struct {
	PID      int
	Address  string // of the public port
	Internal string // base URL of the internal one
	Secret   string // the HS256 key that signs tokens for it
	Metrics  func(context.Context) (server.Metrics, error)
	Stop     func() error
	Ended    func() error // waits for the end of a server that was told to stop, in place of Stop
}

// NATS is a NATS server that a trial can take away, at once, and bring back.
type NATS interface {
	URL() string
	Kill() error
	Again() error
}

// Bench is where trials run: how to get a server and clients. All fields are needed.
type Bench struct {
	// Server starts a server.
	Server func(ctx context.Context, s Setup) (*Target, error)
	// NATS starts a NATS server, for trials that set nats.url to it.
	NATS  func(ctx context.Context) (NATS, error)
	Crowd func(ctx context.Context) (*crowd.Client, error)
	// TLS starts clients over TLS.
	TLS  func(ctx context.Context, c tlscrowd.Clients) (*tlscrowd.Crowd, error)
	Loop func(ctx context.Context, connections, size int) (*floor.Loop, error)
	Say  func(format string, args ...any) // one line of progress
	// Django returns the database of a Django site, the same for all trials of a run.
	Django func(ctx context.Context) (*Django, error)
	// Channels starts the peer for comparison with that database: Django Channels on a server of that name.
	Channels func(ctx context.Context, server string) (*Target, error)
}

// Setup is what a trial chooses of a server's configuration.
type Setup struct {
	Settings map[string]string // keys, such as limits.write_timeout, with their values as in the file
	Tables   string            // further verifiers and routes, as in the file
}

// Django is the database of a Django site with its people.
type Django struct {
	DSN     string
	Secret  string   // SECRET_KEY of the site
	Tokens  []string // a key of Django REST framework for each user
	Cookies []string // a session for each user, engine db
	// Queries returns how many queries of a table the database has answered so far.
	Queries func(ctx context.Context, table string) (int64, error)
	// Revoke deletes tokens.
	Revoke func(ctx context.Context, tokens []string) error
}

// Dir stands for a folder of the server's own, in its settings and tables.
const Dir = "{dir}"

// Times that no trial waits longer than.
const (
	stuck = 20 * time.Second // without any progress
	quiet = 10 * time.Second // for the server to finish what it does
)

// noPings keeps the server from pinging clients that throw everything away, and so would never answer.
const noPings = `"10m"`

// stage is one server with crowds. close ends them in order.
type stage struct {
	*Bench
	server *Target
	crowds []*crowd.Client
	ended  bool
}

func (b *Bench) stage(ctx context.Context, settings map[string]string) (*stage, error) {
	return b.set(ctx, Setup{Settings: settings})
}

func (b *Bench) set(ctx context.Context, setup Setup) (*stage, error) {
	s, err := b.Server(ctx, setup)
	if err != nil {
		return nil, err
	}
	return &stage{Bench: b, server: s}, nil
}

// crowd starts another crowd.
func (s *stage) crowd(ctx context.Context) (*crowd.Client, error) {
	c, err := s.Crowd(ctx)
	if err != nil {
		return nil, err
	}
	c.Progress = func(line string) { s.Say("%s", line) }
	s.crowds = append(s.crowds, c)
	return c, nil
}

// close ends the clients and the server, and adds what goes wrong then to err. It is for defer, and idempotent.
func (s *stage) close(err *error) {
	if s.ended {
		return
	}
	s.ended = true
	for _, c := range s.crowds {
		*err = errors.Join(*err, c.Quit())
	}
	*err = errors.Join(*err, s.server.Stop())
}

// open has a crowd connect, and insists on every connection.
func (s *stage) open(c *crowd.Client, o crowd.Open) (crowd.Opened, error) {
	o.Address, o.Secret, o.Timeout = s.server.Address, s.server.Secret, stuck
	if o.Via == "" {
		o.Via = wire.ViaHeader
	}
	got, err := c.Open(o)
	switch {
	case err != nil:
		return got, err
	case o.Forge && got.Refused != o.Connections:
		return got, fmt.Errorf("of %d bad tokens %d were refused, %d let in, %d not answered: %s",
			o.Connections, got.Refused, got.Open, got.Failed, got.Error)
	case !o.Forge && got.Open != o.Connections:
		return got, fmt.Errorf("of %d connections %d are open, %d were refused (%v), %d failed: %s",
			o.Connections, got.Open, got.Refused, got.Status, got.Failed, got.Error)
	}
	return got, nil
}

// cost is processor time, and the time that passed, of one step.
type cost struct{ server, machine, wall time.Duration }

// each divides the server's time, in microseconds.
func (c cost) each(n int64) float64 { return float64(c.server) / 1e3 / float64(n) }

// measure returns what a step costs the process.
func measure(pid int, step func() error) (cost, error) {
	cpu0, err := proc.CPU(pid)
	if err != nil {
		return cost{}, err
	}
	busy0, err := proc.Busy()
	if err != nil {
		return cost{}, err
	}
	begin := time.Now()
	if err := step(); err != nil {
		return cost{}, err
	}
	wall := time.Since(begin)
	cpu1, err := proc.CPU(pid)
	if err != nil {
		return cost{}, err
	}
	busy1, err := proc.Busy()
	return cost{server: cpu1 - cpu0, machine: busy1 - busy0, wall: wall}, err
}

// settle waits until the process does next to nothing: what clients wait for is done then, and what the server does behind
// it as well. After [quiet] it goes on anyway.
func settle(ctx context.Context, pid int) error {
	const step, little = 50 * time.Millisecond, time.Millisecond
	still := 0
	for deadline := time.Now().Add(quiet); still < 3 && time.Now().Before(deadline); {
		c, err := measure(pid, func() error { return sleep(ctx, step) })
		if err != nil {
			return err
		}
		if still++; c.server > little {
			still = 0
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// goroutines reads the server's number of goroutines.
func (s *stage) goroutines(ctx context.Context) (float64, error) {
	m, err := s.server.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	n := m.Sum("go_goroutines")
	if n == 0 {
		return 0, errors.New("the server's metrics have no go_goroutines")
	}
	return n, nil
}

// losses are figures that say whether the server dropped anything or cut anybody, by its own account.
func losses(before, after server.Metrics) []report.Figure {
	var all float64
	for _, v := range after.Grown(before, "dropped", "slow") {
		all += v
	}
	return []report.Figure{report.One("dropped or slow, by the server's metrics", "", all).Want(report.AtMost, 0)}
}

// named sets the trial of figures.
func named(trial string, figures []report.Figure) []report.Figure {
	for i := range figures {
		figures[i].Trial = trial
	}
	return figures
}
