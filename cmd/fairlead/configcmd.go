package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Find every mistake in a file, or in what standard input has. Exit code 1 if there is one."`
	Print   configPrintCmd   `cmd:"" help:"Print every value and where it comes from, without secrets."`
	Example configExampleCmd `cmd:"" help:"Print a complete configuration to begin with."`
}

// Help implements [kong.HelpProvider].
func (configCmd) Help() string {
	return `A value comes from the highest of these that sets it: default, file, environment, flag. The environment variable of a
key is FAIRLEAD_ and its path in capitals with _ between, such as FAIRLEAD_LIMITS_PING_INTERVAL.

Examples:

    fairlead config example > fairlead.toml
    fairlead config check fairlead.toml
    ssh node cat /etc/fairlead/fairlead.toml | fairlead config check -
    FAIRLEAD_LOG_LEVEL=debug fairlead config print --config fairlead.toml`
}

// configFile is the flag of every command that reads the configuration.
type configFile struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file (TOML). Else the one in the environment variable FAIRLEAD_CONFIG, else none."`
}

// load reads the configuration, with the values of flags on top.
func (f configFile) load(c *console, flags ...config.Flag) (*config.Loaded, error) {
	file := f.Config
	if file == "" {
		file = c.getenv("FAIRLEAD_CONFIG")
	}
	return config.Load(config.Source{File: file, Getenv: c.getenv, Flags: flags})
}

// loadOrRead is load, where - is standard input.
func (f configFile) loadOrRead(c *console) (*config.Loaded, error) {
	if f.Config != "-" {
		return f.load(c)
	}
	return config.Load(config.Source{File: "standard input", Reader: c.stdin, Getenv: c.getenv})
}

type configCheckCmd struct {
	configFile
	File string `arg:"" optional:"" help:"Configuration file (TOML), as with --config; - is standard input."`
}

// Help implements [kong.HelpProvider].
func (configCheckCmd) Help() string {
	return `With - the configuration comes from standard input. Files that it names are looked for from the working directory, and the
environment counts, as with a file.

Examples:

    fairlead config check fairlead.toml
    envsubst < fairlead.toml.in | fairlead config check -`
}

// Run loads the configuration and makes of it what serve would, without serving: databases are not asked.
func (cmd configCheckCmd) Run(ctx context.Context, c *console) error {
	switch {
	case cmd.File != "" && cmd.Config != "":
		return &exitError{exitUsage, errors.New("--config names a file as well; want one of them")}
	case cmd.File != "":
		cmd.Config = cmd.File
	}
	l, err := cmd.loadOrRead(c)
	if err != nil {
		return err
	}
	a, err := assemble(ctx, l, nil, quiet(), nil)
	if err != nil {
		return err
	}
	if err := errors.Join(a.Close(), a.checkValidity(l, time.Now())); err != nil {
		return err
	}
	_, err = io.WriteString(c.stdout, "ok\n"+l.Summary())
	return err
}

type configPrintCmd struct{ configFile }

// Run prints the effective configuration.
func (cmd configPrintCmd) Run(c *console) error {
	l, err := cmd.load(c)
	if err != nil {
		return err
	}
	return l.Print(c.stdout)
}

type configExampleCmd struct{}

// Run prints the example.
func (configExampleCmd) Run(c *console) error {
	_, err := fmt.Fprint(c.stdout, config.Example())
	return err
}
