package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// cli is the command line.
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Serve WebSockets. With --dev nothing else is needed to try it."`
	Config     configCmd     `cmd:"" help:"Check, print or begin a configuration."`
	Token      tokenCmd      `cmd:"" help:"Make and check tokens (JWT) with the configured keys."`
	Ticket     ticketCmd     `cmd:"" help:"Make a one-time ticket to connect with."`
	Authn      authnCmd      `cmd:"" help:"Prepare a database for what the configuration asks of it."`
	Publish    publishCmd    `cmd:"" help:"Send a message to every member of a group."`
	Connect    connectCmd    `cmd:"" help:"Talk to a WebSocket from the terminal."`
	Conn       connCmd       `cmd:"" help:"See, read and close connections, of all nodes."`
	Group      groupCmd      `cmd:"" help:"See groups, of all nodes."`
	Doctor     doctorCmd     `cmd:"" help:"Look for what is wrong around a node, and say what to change."`
	Version    versionCmd    `cmd:"" help:"Print what this program was built from."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
}

const description = `Fairlead accepts WebSockets, authenticates them in the handshake with tokens that your application
already issues, and brings each message to every member of a group, on every node.

To see it work, start

    fairlead serve --dev

and paste what it prints into a second terminal.`

// console is how a command talks with the person who started it.
type console struct {
	program string // as it was started: args[0]
	getenv  func(string) string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
}

// Exit codes beside 0. A second signal ends serve with 128 and the signal's number, as shells count.
const (
	exitFailed  = 1 // the command could not do what was asked, or the answer is no
	exitUsage   = 2 // the command line is wrong
	exitRefused = 3 // connect: the server refused the handshake
	exitClosed  = 4 // connect: the server closed with another code than 1000 or 1001
)

// exitError ends the program with a code. Without an err nothing is printed: the command has said it all.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// report prints err for people and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	code := exitFailed
	if e, ok := errors.AsType[*exitError](err); ok {
		code, err = e.code, e.err
	}
	if err != nil {
		fmt.Fprintf(w, "fairlead: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nfairlead: "))
	}
	return code
}

// run is the program. args[0] is the program's name. It returns nil, an [exitError], or any other error, which means
// exitFailed. Only serve and connect look at ctx and at signals; both end cleanly with ctx.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) error {
	c := &console{program: "fairlead", getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr}
	if len(args) > 0 {
		c.program, args = args[0], args[1:]
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	var grammar cli
	helped := false
	parser, err := newParser(&grammar, c, func(int) { helped = true })
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	switch {
	case helped: // kong goes on after its help, and misses arguments
		return nil
	case err != nil:
		return &exitError{exitUsage, usageError(err)}
	}
	command.BindTo(ctx, (*context.Context)(nil))
	return command.Run(c, parser)
}

func newParser(grammar *cli, c *console, exit func(int)) (*kong.Kong, error) {
	return kong.New(grammar,
		kong.Name("fairlead"), kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 120, NoExpandSubcommands: true}),
		kong.Writers(c.stdout, c.stderr), kong.Exit(exit))
}

// usageError adds to kong's error which help to read.
func usageError(err error) error {
	help := "fairlead --help"
	if e, ok := errors.AsType[*kong.ParseError](err); ok && e.Context != nil {
		if path := e.Context.Selected(); path != nil {
			help = path.FullPath() + " --help"
		}
	}
	return fmt.Errorf("%w; see `%s`", err, help)
}
