package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/floor"
	"github.com/fairlead-ws/fairlead/bench/internal/proc"
	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/tlscrowd"
	"github.com/fairlead-ws/fairlead/bench/internal/trial"
)

// command is one word of the command line. define adds its flags and returns what they make: its trials.
type command struct {
	name, summary string
	define        func(*flag.FlagSet) func() ([]runner, error)
}

// runner is a trial with its settings.
type runner interface {
	Run(ctx context.Context, b *trial.Bench) ([]report.Figure, error)
}

// The words by which bench starts itself again, for the processes of its clients.
const (
	crowdWord = "crowd"
	tlsWord   = "tlscrowd"
	loopWord  = "sendloop"
)

var (
	errUsage  = errors.New("want a command: `bench help` lists them")
	errMissed = errors.New("targets missed")
)

func run(ctx context.Context, args []string, in io.Reader, out, stderr io.Writer) error {
	if len(args) == 0 {
		usage(stderr)
		return errUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(out)
		return nil
	case crowdWord:
		return runCrowd(in, out)
	case tlsWord:
		return tlscrowd.Serve(in, out)
	case loopWord:
		return runLoop(args[1:], in, out)
	}
	c, rest, err := choose(args)
	if err != nil {
		return err
	}
	return runTrials(ctx, c, rest, out, stderr)
}

// choose returns the command that stands first and the words behind it. Several commands are one with the trials of all, in
// that order and with the settings that the targets are for.
func choose(args []string) (c command, rest []string, err error) {
	var chosen []command
	for rest = args; len(rest) > 0; rest = rest[1:] {
		i := slices.IndexFunc(commands, func(c command) bool { return c.name == rest[0] })
		if i < 0 {
			break
		}
		chosen = append(chosen, commands[i])
	}
	switch len(chosen) {
	case 0:
		return command{}, nil, fmt.Errorf("no command %q: %w", args[0], errUsage)
	case 1:
		return chosen[0], rest, nil
	}
	c.name, c.summary = strings.Join(args[:len(chosen)], " "), "one after the other"
	c.define = func(*flag.FlagSet) func() ([]runner, error) {
		return func() (all []runner, err error) {
			for _, one := range chosen {
				runners, err := one.define(flag.NewFlagSet(one.name, flag.ContinueOnError))()
				if err != nil {
					return nil, err
				}
				all = append(all, runners...)
			}
			return all, nil
		}
	}
	return c, rest, nil
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "bench measures a Fairlead server from outside.\n\nusage: bench COMMAND [flags]     (bench COMMAND -help lists the flags)\n       bench COMMAND COMMAND…   (one after the other)\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\nThe exit status is 1 when a target is missed. Linux only.\n")
}

// runCrowd is the process of a crowd.
func runCrowd(in io.Reader, out io.Writer) error {
	c, err := crowd.New()
	if err != nil {
		return err
	}
	return c.Serve(in, out)
}

// runLoop is the process of the send loop in Go.
func runLoop(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("%s: want connections and bytes", loopWord)
	}
	n, err1 := strconv.Atoi(args[0])
	size, err2 := strconv.Atoi(args[1])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if _, err := proc.RaiseFileLimit(); err != nil {
		return err
	}
	return floor.Serve(n, size, in, out)
}

func runTrials(ctx context.Context, c command, args []string, out, stderr io.Writer) (err error) {
	var p place
	flags := flag.NewFlagSet("bench "+c.name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "write the report as JSON")
	flags.StringVar(&p.program, "server", "", "server program; empty: build ./cmd/fairlead")
	flags.StringVar(&p.nats, "nats", "", "URL of a NATS server for it; empty: its embedded one")
	quiet := flags.Bool("q", false, "no progress on standard error")
	trials := c.define(flags)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "bench %s: %s\n\n", c.name, c.summary)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s: unexpected %q", c.name, flags.Arg(0))
	}
	runners, err := trials()
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	began := time.Now()
	p.say = func(format string, args ...any) {
		if !*quiet {
			fmt.Fprintf(stderr, "%7.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		}
	}
	if _, err := proc.RaiseFileLimit(); err != nil {
		return err
	}
	if err := p.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close(context.WithoutCancel(ctx))) }()

	r := report.Report{
		Command: strings.Join(append([]string{"bench", c.name}, args...), " "), Time: began.UTC().Format(time.RFC3339),
		Server: p.version(ctx), Machine: proc.ReadMachine(),
	}
	var failed error
	for _, t := range runners {
		figures, err := t.Run(ctx, p.bench())
		r.Figures = append(r.Figures, figures...)
		if err != nil {
			failed = errors.Join(failed, err)
			p.note(fmt.Sprintf("ended early: %v", err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if failed != nil && len(r.Figures) == 0 {
		return failed
	}
	r.Notes = p.notes
	write := r.WriteText
	if *asJSON {
		write = r.WriteJSON
	}
	if err := errors.Join(failed, write(out)); err != nil {
		return err
	}
	if n := r.Missed(); n > 0 {
		return fmt.Errorf("%w: %d", errMissed, n)
	}
	return nil
}
