package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/bench/channels"
	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/trial"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// The trials with the settings that the targets are for.
var (
	idle = trial.Idle{Connections: 15000, Wait: 20 * time.Second, Via: wire.ViaHeader}

	handshake = trial.Handshake{Connections: 2000, Rounds: 15, Window: 64, Via: wire.ViaHeader}

	fanout = trial.Fanout{Members: 5000, Size: 128, Rate: 10, Warm: 18, Messages: 20, Pairs: 11, Reading: crowd.Discard}

	flood = trial.Flood{
		Members: 5000, Size: 128, Senders: 1, Window: 256, Duration: 3 * time.Second, Runs: 5, Reading: crowd.Discard,
	}

	// Messages come so fast that the outbox is full before the write timeout is over.
	stallFull = trial.Stall{
		Name: "outbox full", Healthy: 250, Stalled: 50, Size: 8192, Rate: 50, Messages: 500,
		WriteTimeout: 10 * time.Second, Outbox: 1 << 20,
	}

	// They come so slowly that it never is.
	stallSlow = trial.Stall{
		Name: "write timeout", Healthy: 250, Stalled: 50, Size: 1024, Rate: 40, Messages: 400,
		WriteTimeout: 2 * time.Second, Outbox: 1 << 20,
	}

	drain = trial.Drain{Connections: 15000, Window: 30 * time.Second, Bound: 600, Acquainted: 10 * time.Second, Via: wire.ViaHeader}

	journal = trial.Journal{Connections: 2000, Rounds: 15, Window: 64, Via: wire.ViaHeader}

	outage = trial.Outage{
		Standing: 2000, Rate: 500, Before: 10 * time.Second, Away: time.Minute, After: 20 * time.Second, Grown: 96, Via: wire.ViaHeader,
	}

	overTLS = trial.TLS{Connections: 4000, Wait: 20 * time.Second, Pinged: 40 * time.Second, Window: 16}

	compressed = trial.Compress{Members: 5000, Size: 1024, Rate: 10, Messages: 20, Rounds: 7}

	auth = trial.Auth{
		Connections: 1000, Rounds: 9, Window: 64, Peers: []string{channels.Daphne, channels.Uvicorn}, Gentle: 200,
	}

	storm = trial.Storm{Connections: 15000, Window: 4096, Queries: 1500}

	recheck = trial.Recheck{Connections: 15000, Every: time.Minute, Rest: 20 * time.Second, Revoked: 100, Share: 2}

	cycle = trial.Cycle{Connections: 10000, Warm: 3, Rounds: 6, Window: 64, Via: wire.ViaHeader}
)

var commands = []command{
	{"idle", "resident memory and goroutines of connections that do nothing", defineIdle},
	{"handshake", "server CPU per authenticated handshake and per refusal", defineHandshake},
	{"fanout", "server CPU per delivery at a low rate, beside a plain send loop in the same run", defineFanout},
	{"flood", "deliveries a second and server CPU per delivery to clients that only discard", defineFlood},
	{"stall", "clients that stop reading: when they are cut, and what the others notice", defineStall},
	{"drain", "a node that stops: how its connections come to another", defineDrain},
	{"journal", "server CPU per event in the journal", defineJournal},
	{"outage", "NATS and the journal away under load: who is let in, and what grows (three minutes)", defineOutage},
	{"tls", "resident memory of connections over TLS that do nothing, and what their handshakes cost", defineTLS},
	{"compress", "server CPU per delivery of a message that is compressed, beside one that is not", defineCompress},
	{"cycle", "what connections leave behind that came and went", defineCycle},
	{"auth", "server CPU per handshake by the kind of credential, beside Django Channels with the same database", defineAuth},
	{"storm", "queries of the database when everybody comes back at once, and is not known", defineStorm},
	{"recheck", "server CPU for verifying again who is connected", defineRecheck},
	{"all", "everything above, with the settings that the targets are for (twenty minutes)", defineAll},
}

// via adds the flag for the token's place.
func via(flags *flag.FlagSet, v *wire.Via) {
	flags.Func("via", "where the token travels: header, query, cookie or subprotocol (default header)", func(s string) (err error) {
		*v, err = wire.ParseVia(s)
		if *v == wire.ViaNone {
			err = errors.New("the server wants a token")
		}
		return err
	})
}

// reading adds the flag for how clients throw away what they hear.
func reading(flags *flag.FlagSet, r *crowd.Reading) {
	flags.Func("client", "discard (epoll) or sweep (a timer: the sender wakes nobody) (default discard)", func(s string) error {
		switch *r = crowd.Reading(s); *r {
		case crowd.Discard, crowd.Sweep:
			return nil
		}
		return fmt.Errorf("want %s or %s", crowd.Discard, crowd.Sweep)
	})
}

// positive refuses settings that measure nothing.
func positive(numbers ...int) error {
	for _, n := range numbers {
		if n < 1 {
			return fmt.Errorf("%d is too few", n)
		}
	}
	return nil
}

func defineIdle(flags *flag.FlagSet) func() ([]runner, error) {
	o := idle
	groups := flags.String("groups", "both", "common (all in one group), each (one group each) or both, one after the other")
	flags.IntVar(&o.Connections, "n", o.Connections, "connections")
	flags.DurationVar(&o.Wait, "wait", o.Wait, "how long to wait after the last")
	via(flags, &o.Via)
	return func() ([]runner, error) {
		apart := o
		apart.Apart = true
		chosen, ok := map[string][]runner{"common": {o}, "each": {apart}, "both": {o, apart}}[*groups]
		if !ok {
			return nil, fmt.Errorf("-groups %q: want common, each or both", *groups)
		}
		return chosen, positive(o.Connections)
	}
}

func defineHandshake(flags *flag.FlagSet) func() ([]runner, error) {
	o := handshake
	flags.IntVar(&o.Connections, "n", o.Connections, "handshakes, and refusals, in each round")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "rounds, after one to warm up")
	flags.IntVar(&o.Window, "window", o.Window, "handshakes at once")
	via(flags, &o.Via)
	return func() ([]runner, error) { return []runner{o}, positive(o.Connections, o.Rounds, o.Window) }
}

func defineFanout(flags *flag.FlagSet) func() ([]runner, error) {
	o := fanout
	flags.IntVar(&o.Members, "n", o.Members, "members")
	flags.IntVar(&o.Size, "size", o.Size, "bytes of a message")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "messages a second")
	flags.IntVar(&o.Warm, "warm", o.Warm, "messages at the beginning of each turn that do not count")
	flags.IntVar(&o.Messages, "messages", o.Messages, "messages in each turn that do")
	flags.IntVar(&o.Pairs, "pairs", o.Pairs, "turns of the server, and as many of the send loop")
	reading(flags, &o.Reading)
	return func() ([]runner, error) {
		if o.Rate <= 0 {
			return nil, fmt.Errorf("-rate %v: want more than 0", o.Rate)
		}
		return []runner{o}, positive(o.Members, o.Size, o.Warm, o.Messages, o.Pairs)
	}
}

func defineFlood(flags *flag.FlagSet) func() ([]runner, error) {
	o := flood
	flags.IntVar(&o.Members, "n", o.Members, "members")
	flags.IntVar(&o.Size, "size", o.Size, "bytes of a message")
	flags.IntVar(&o.Senders, "senders", o.Senders, "members that publish")
	flags.IntVar(&o.Window, "window", o.Window, "messages on their way")
	flags.DurationVar(&o.Duration, "duration", o.Duration, "how long each run publishes")
	flags.IntVar(&o.Runs, "runs", o.Runs, "runs, after one to warm up")
	reading(flags, &o.Reading)
	return func() ([]runner, error) {
		if o.Duration <= 0 {
			return nil, fmt.Errorf("-duration %v: want more than 0", o.Duration)
		}
		return []runner{o}, positive(o.Members, o.Size, o.Senders, o.Window, o.Runs)
	}
}

func defineStall(flags *flag.FlagSet) func() ([]runner, error) {
	full, slow := stallFull, stallSlow
	healthy := flags.Int("healthy", full.Healthy, "connections that read")
	stalled := flags.Int("stalled", full.Stalled, "connections that do not")
	flags.DurationVar(&slow.WriteTimeout, "write-timeout", slow.WriteTimeout, "the server's, for the run that waits for it")
	return func() ([]runner, error) {
		full.Healthy, full.Stalled, slow.Healthy, slow.Stalled = *healthy, *stalled, *healthy, *stalled
		return []runner{full, slow}, positive(*healthy, *stalled, int(slow.WriteTimeout))
	}
}

func defineDrain(flags *flag.FlagSet) func() ([]runner, error) {
	o := drain
	flags.IntVar(&o.Connections, "n", o.Connections, "connections")
	flags.DurationVar(&o.Window, "window", o.Window, "over which the node spreads its closes")
	flags.IntVar(&o.Bound, "bound", o.Bound, "connections a second that the other node may be given")
	via(flags, &o.Via)
	return func() ([]runner, error) { return []runner{o}, positive(o.Connections, int(o.Window), o.Bound) }
}

func defineJournal(flags *flag.FlagSet) func() ([]runner, error) {
	o := journal
	flags.IntVar(&o.Connections, "n", o.Connections, "connections that come and go, in each round and at each server")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "rounds, after one to warm up")
	flags.IntVar(&o.Window, "window", o.Window, "connections at once")
	via(flags, &o.Via)
	return func() ([]runner, error) { return []runner{o}, positive(o.Connections, o.Rounds, o.Window) }
}

// outages are the trial in both modes of the journal.
func outages(o trial.Outage) []runner {
	degrade, require := o, o
	degrade.Mode, require.Mode = "degrade", "require"
	return []runner{degrade, require}
}

func defineOutage(flags *flag.FlagSet) func() ([]runner, error) {
	o := outage
	flags.IntVar(&o.Standing, "n", o.Standing, "connections that are there all the time")
	flags.IntVar(&o.Rate, "rate", o.Rate, "connections a second that come and go")
	flags.DurationVar(&o.Away, "away", o.Away, "how long NATS is away")
	via(flags, &o.Via)
	return func() ([]runner, error) { return outages(o), positive(o.Standing, o.Rate, int(o.Away/time.Second)) }
}

func defineTLS(flags *flag.FlagSet) func() ([]runner, error) {
	o := overTLS
	flags.IntVar(&o.Connections, "n", o.Connections, "connections")
	flags.DurationVar(&o.Wait, "wait", o.Wait, "how long to wait after the last")
	flags.DurationVar(&o.Pinged, "pinged", o.Pinged, "how long to wait then, until all have had a ping (25 s to 50 s)")
	return func() ([]runner, error) { return []runner{o}, positive(o.Connections, o.Window) }
}

func defineCompress(flags *flag.FlagSet) func() ([]runner, error) {
	o := compressed
	flags.IntVar(&o.Members, "n", o.Members, "members that compress, and as many that do not")
	flags.IntVar(&o.Size, "size", o.Size, "bytes of a message")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "messages a second")
	flags.IntVar(&o.Messages, "messages", o.Messages, "messages in each turn")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "turns of each, after one to warm up")
	return func() ([]runner, error) {
		if o.Rate <= 0 {
			return nil, fmt.Errorf("-rate %v: want more than 0", o.Rate)
		}
		return []runner{o}, positive(o.Members, o.Size, o.Messages, o.Rounds)
	}
}

func defineCycle(flags *flag.FlagSet) func() ([]runner, error) {
	o := cycle
	flags.IntVar(&o.Connections, "n", o.Connections, "connections in each round")
	flags.IntVar(&o.Warm, "warm", o.Warm, "rounds before the first that counts")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "rounds, an even number")
	flags.IntVar(&o.Window, "window", o.Window, "connections at once")
	via(flags, &o.Via)
	return func() ([]runner, error) {
		if o.Rounds%2 != 0 {
			return nil, fmt.Errorf("-rounds %d: want an even number, half of them to compare with the other", o.Rounds)
		}
		return []runner{o}, positive(o.Connections, o.Warm, o.Rounds, o.Window)
	}
}

// list adds a flag for words with commas between them, each of which must be known.
func list(flags *flag.FlagSet, name string, words *[]string, known []string, usage string) {
	flags.Func(name, usage+": "+strings.Join(known, "; "), func(s string) error {
		*words = nil
		for w := range strings.SplitSeq(s, ";") {
			if w = strings.TrimSpace(w); w == "" {
				continue
			}
			if !slices.Contains(known, w) {
				return fmt.Errorf("%q is none of them", w)
			}
			*words = append(*words, w)
		}
		return nil
	})
}

func defineAuth(flags *flag.FlagSet) func() ([]runner, error) {
	o := auth
	flags.IntVar(&o.Connections, "n", o.Connections, "handshakes in each round")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "rounds, after one to warm up")
	flags.IntVar(&o.Window, "window", o.Window, "handshakes at once, where the case does not say otherwise")
	list(flags, "cases", &o.Cases, trial.AuthCases(), "what to measure, with ; between them (default all)")
	list(flags, "peers", &o.Peers, auth.Peers, `servers of Django Channels to compare with, "" for none (default both)`)
	return func() ([]runner, error) { return []runner{o}, positive(o.Connections, o.Rounds, o.Window) }
}

func defineStorm(flags *flag.FlagSet) func() ([]runner, error) {
	o := storm
	flags.IntVar(&o.Connections, "n", o.Connections, "connections")
	flags.IntVar(&o.Window, "window", o.Window, "handshakes at once")
	return func() ([]runner, error) { return []runner{o}, positive(o.Connections, o.Window) }
}

func defineRecheck(flags *flag.FlagSet) func() ([]runner, error) {
	o := recheck
	flags.IntVar(&o.Connections, "n", o.Connections, "connections")
	flags.DurationVar(&o.Every, "every", o.Every, "recheck of the route")
	flags.DurationVar(&o.Rest, "rest", o.Rest, "how long to look at a server that does not look again")
	flags.IntVar(&o.Revoked, "revoked", o.Revoked, "tokens that are deleted meanwhile")
	return func() ([]runner, error) {
		if o.Revoked > o.Connections {
			return nil, fmt.Errorf("-revoked %d: want no more than connections", o.Revoked)
		}
		return []runner{o}, positive(o.Connections, o.Revoked, int(o.Every/time.Second), int(o.Rest/time.Millisecond))
	}
}

func defineAll(*flag.FlagSet) func() ([]runner, error) {
	apart := idle
	apart.Apart = true
	return func() ([]runner, error) {
		trials := []runner{idle, apart, handshake, journal, fanout, flood, stallFull, stallSlow, overTLS, compressed, cycle, drain}
		return append(append(trials, outages(outage)...), auth, storm, recheck), nil
	}
}
