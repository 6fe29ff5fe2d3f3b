package authn

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// NotifyChannel is where PostgreSQL tells of changes: see [Triggers].
const NotifyChannel = "fairlead_auth"

const (
	listenIdle     = 15 * time.Second // so often the server is asked whether it is there
	listenPatience = 5 * time.Second  // for its answer
	listenFirst    = 100 * time.Millisecond
	listenMost     = 15 * time.Second // between two attempts to connect, but for a quarter more or less
)

// ListenerConfig says to whom to listen, and who wants to know.
type ListenerConfig struct {
	Name   string   // a metric's label: the verifier whose database it is
	DSN    string   // postgres://…; not by way of a pooler in transaction mode, which drops notifications
	Tables []string // that must have triggers, quoted where need be; see [Triggers.Tables]
	// OnChange is told of each change, and of ChangeAll where changes may have been missed. OnListening is told whether
	// changes are heard: false is what it is before the first time. Both are called by the goroutine of Serve, and must not
	// block. Nil: nobody is told.
	OnChange    func(Change)
	OnListening func(bool)
	Logger      *slog.Logger // nil logs nothing
	Registerer  prometheus.Registerer
}

// Listener hears of changes in a PostgreSQL that has the triggers of [Triggers]. What it hears is news and no proof: one
// who may connect to the database can send anything, and all that it does is that something is asked once more.
type Listener struct {
	// Fixed after NewListener.
	c         ListenerConfig
	database  *database.Listener
	lacking   string // asks for the tables without a trigger
	listening prometheus.Gauge
	failures  prometheus.Counter
	changes   [ChangeSession + 1]prometheus.Counter
	malformed prometheus.Counter

	// Owned by Serve's goroutine.
	heard bool // as OnListening was told last
	quiet bool // the failure was logged
}

// NewListener checks the configuration and returns a listener, which connects when it serves.
func NewListener(c ListenerConfig) (*Listener, error) {
	name, err := verifierName(c.Name, "listener")
	if err != nil {
		return nil, err
	}
	l := &Listener{c: c}
	if l.database, err = database.NewListener(c.DSN, NotifyChannel); err != nil {
		return nil, fmt.Errorf("authn: verifier %s: listen: %w", name, err)
	}
	if l.c.Logger == nil {
		l.c.Logger = slog.New(slog.DiscardHandler)
	}
	if l.c.OnChange == nil {
		l.c.OnChange = func(Change) {}
	}
	if l.c.OnListening == nil {
		l.c.OnListening = func(bool) {}
	}
	l.lacking = lackingTriggers(c.Tables)
	return l, l.register(c.Registerer, name)
}

func (l *Listener) register(r prometheus.Registerer, name string) error {
	listening, err := registered(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "fairlead_auth_listening", Help: "1 while PostgreSQL tells of changes (LISTEN), 0 while it does not.",
	}, []string{"verifier"}))
	if err != nil {
		return err
	}
	changes, err := registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_auth_changes_total", Help: "Changes that PostgreSQL told of, by what they are about.",
	}, []string{"verifier", "kind"}))
	if err != nil {
		return err
	}
	failures, err := registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_auth_listen_failures_total", Help: "Times that listening for changes ended or could not begin; it is tried again.",
	}, []string{"verifier"}))
	if err != nil {
		return err
	}
	l.listening, l.failures = listening.WithLabelValues(name), failures.WithLabelValues(name)
	for kind, word := range map[ChangeKind]string{ChangeAll: "all", ChangeUser: "user", ChangeToken: "token", ChangeSession: "session"} {
		l.changes[kind] = changes.WithLabelValues(name, word)
	}
	l.malformed = changes.WithLabelValues(name, "malformed")
	return nil
}

// Serve listens until ctx ends, and connects again whenever the connection is lost. It returns nil after ctx has ended, and
// tells OnListening so before.
func (l *Listener) Serve(ctx context.Context) error {
	for wait := listenFirst; ; {
		err := l.listen(ctx)
		if l.heard {
			wait = listenFirst
		}
		l.tell(false)
		if ctx.Err() == nil {
			l.failed(err)
		}
		timer := time.NewTimer(wait*3/4 + rand.N(wait/2)) // nodes that lost one server do not come back as one
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		wait = min(2*wait, listenMost)
	}
}

// listen connects, and hands on what it hears until that ends. What was kept before it could hear is of no worth.
func (l *Listener) listen(ctx context.Context) error {
	c, err := l.database.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := l.check(ctx, c); err != nil {
		return err
	}
	l.c.OnChange(Change{Kind: ChangeAll})
	l.tell(true)
	for {
		payloads, err := c.Wait(ctx, listenIdle, listenPatience)
		if err != nil {
			return err
		}
		for _, p := range payloads {
			l.hear(p)
		}
	}
}

// check says which tables have no trigger.
func (l *Listener) check(ctx context.Context, c *database.Listening) error {
	if l.lacking == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listenPatience)
	defer cancel()
	tables, err := c.Ask(ctx, l.lacking)
	if err == nil && len(tables) > 0 {
		err = fmt.Errorf("no trigger tells of changes of %s: run what `fairlead authn trigger-sql` prints as their owner", strings.Join(tables, ", "))
	}
	return err
}

// hear hands on one notification. Of one that cannot be read, such as a later version's, anything may be the matter.
func (l *Listener) hear(payload string) {
	c, err := ParseChange(payload)
	if err != nil {
		l.malformed.Inc()
		l.c.Logger.Warn("PostgreSQL told of a change that cannot be read: everything that was kept is forgotten", "verifier", l.c.Name, "error", err)
	} else {
		l.changes[c.Kind].Inc()
	}
	l.c.OnChange(c)
}

func (l *Listener) tell(listening bool) {
	if l.heard == listening {
		return
	}
	l.heard = listening
	if listening {
		l.quiet = false
		l.listening.Inc() // when a configuration is read again, two may share the gauge for a moment
		l.c.Logger.Info("PostgreSQL tells of changes", "verifier", l.c.Name)
	} else {
		l.listening.Dec()
	}
	l.c.OnListening(listening)
}

// failed counts each failure, and logs the first in a row.
func (l *Listener) failed(err error) {
	l.failures.Inc()
	if l.quiet {
		return
	}
	l.quiet = true
	l.c.Logger.Warn("PostgreSQL does not tell of changes: what is revoked may be let in for a while; trying again", "verifier", l.c.Name, "error", err)
}

// Check connects and returns what keeps the database from telling of changes. It blocks until ctx ends.
func (l *Listener) Check(ctx context.Context) error {
	c, err := l.database.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return l.check(ctx, c)
}

// lackingTriggers returns the query for those of the tables that have no trigger which tells, "" where there are none.
func lackingTriggers(tables []string) string {
	if len(tables) == 0 {
		return ""
	}
	var names []string
	for _, t := range tables {
		names = append(names, literal(t))
	}
	return "SELECT n FROM unnest(ARRAY[" + strings.Join(names, ", ") + "]::text[]) AS n WHERE NOT EXISTS (SELECT FROM pg_trigger t " +
		"JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = to_regclass(n) AND p.proname = '" + triggerFunction +
		"' AND t.tgenabled IN ('O', 'A'))"
}
