package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

type serveCmd struct {
	configFile
	Dev        bool   `help:"Try it: an embedded NATS, a demo route and tokens that are printed; only this machine can connect. Needs no configuration."`
	Listen     string `placeholder:"ADDRESS" help:"Where to take WebSockets (listen.public). Port 0 takes a free one."`
	Internal   string `placeholder:"ADDRESS" help:"Where to answer health, metrics and the API (listen.internal)."`
	NATSURL    string `name:"nats-url" placeholder:"URL" help:"The NATS server that joins the nodes (nats.url)."`
	NATSListen string `name:"nats-listen" placeholder:"ADDRESS" help:"Where the embedded NATS server lets other programs in (nats.listen)."`
	LogLevel   string `placeholder:"LEVEL" help:"debug, info, warn or error (log.level)."`
	LogFormat  string `placeholder:"FORMAT" help:"text or json (log.format)."`
}

// Help implements [kong.HelpProvider].
func (serveCmd) Help() string {
	return `SIGTERM or Ctrl-C stops: no new connections, then the others are closed with 1012, spread over drain.window. A second
signal ends at once. SIGHUP reads the configuration again: see docs/config.md for what counts at once.

Examples:

    fairlead serve --dev
    fairlead serve --config fairlead.toml
    fairlead serve --config fairlead.toml --listen 127.0.0.1:0 --log-format json`
}

// Run serves until ctx ends or a signal comes, and then until the drain is over.
func (cmd serveCmd) Run(ctx context.Context, c *console) error {
	l, err := cmd.load(c)
	if err != nil {
		return err
	}
	tuneGC(c.getenv)
	ctx, s := listen(ctx)
	defer s.stop()
	var reload chan os.Signal
	if !cmd.Dev { // which has no file, and ends with its terminal
		reload = hangups()
		defer signal.Stop(reload)
	}
	level := new(slog.LevelVar)
	level.Set(logLevel(l.Log))
	logger := leveledLogger(c.stderr, l.Log, level)
	defer takeLibraryLogs(logger)()
	n, err := newNode(ctx, l, logger)
	if err != nil {
		return explain(err)
	}
	n.reloader.level = level
	if err := n.begin(); err != nil {
		return errors.Join(err, n.close())
	}
	if cmd.Dev {
		if err := guide(c, n); err != nil {
			return errors.Join(err, n.close())
		}
	}
	if reload != nil {
		defer n.reloadOn(ctx, reload, func() (*config.Loaded, error) { return cmd.load(c) })()
	}
	served := make(chan error, 1)
	go func() { served <- n.serve(ctx) }()
	select {
	case err := <-served:
		return err
	case sig := <-s.second:
		fmt.Fprintf(c.stderr, "fairlead: a second signal (%v): not waiting for the drain\n", sig)
		return &exitError{code: exitCode(sig)}
	}
}

// load returns the configuration with the flags on top.
func (cmd serveCmd) load(c *console) (*config.Loaded, error) {
	var flags []config.Flag
	for _, f := range []config.Flag{
		{Name: "--listen", Key: "listen.public", Value: cmd.Listen},
		{Name: "--internal", Key: "listen.internal", Value: cmd.Internal},
		{Name: "--nats-url", Key: "nats.url", Value: cmd.NATSURL},
		{Name: "--nats-listen", Key: "nats.listen", Value: cmd.NATSListen},
		{Name: "--log-level", Key: "log.level", Value: cmd.LogLevel},
		{Name: "--log-format", Key: "log.format", Value: cmd.LogFormat},
	} {
		if f.Value != "" {
			flags = append(flags, f)
		}
	}
	if !cmd.Dev {
		return cmd.configFile.load(c, flags...)
	}
	if cmd.Config != "" {
		return nil, &exitError{exitUsage, errors.New("--dev brings a configuration of its own; want --dev or --config, not both")}
	}
	base := devConfig()
	if cmd.NATSURL != "" || c.getenv("FAIRLEAD_NATS_URL") != "" {
		base.NATS.Listen = ""
	}
	return config.Load(config.Source{Base: base, Getenv: c.getenv, Flags: flags})
}

// explain adds to a failed start what would help.
func explain(err error) error {
	var where *listenError
	if !errors.As(err, &where) {
		return err
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is taken by another program; choose another address with %s or the key %s (port 0 takes a free one)", where.address, where.flag, where.key)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; ports below 1024 need a privilege: choose another with %s or the key %s", err, where.flag, where.key)
	default:
		return fmt.Errorf("%w; the address is that of %s or the key %s", err, where.flag, where.key)
	}
}

// listenError says which address could not be listened on, and how it is changed.
type listenError struct {
	address, flag, key string
	err                error
}

func (e *listenError) Error() string { return fmt.Sprintf("cannot listen on %s: %v", e.address, e.err) }
func (e *listenError) Unwrap() error { return e.err }
