package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
	"github.com/fairlead-ws/fairlead/session"
)

type publishCmd struct {
	configFile
	Group   string        `arg:"" help:"The group's name."`
	Text    string        `arg:"" help:"The message; - reads it from standard input."`
	Dev     bool          `help:"To the node that fairlead serve --dev runs on this machine."`
	NATSURL string        `name:"nats-url" placeholder:"URL" help:"The NATS server of the nodes, instead of the configured one."`
	Cluster string        `placeholder:"NAME" help:"The nodes' nats.cluster, instead of the configured one."`
	Binary  bool          `help:"Send it as a binary message, even if it is a text."`
	Timeout time.Duration `default:"5s" help:"For all of it."`
}

// Help implements [kong.HelpProvider].
func (publishCmd) Help() string {
	return `The message goes to every client that is a member of the group at this moment, on every node. Nothing says whether there
is one.

Examples:

    fairlead publish --dev demo 'hello from outside'
    fairlead publish --config fairlead.toml app_1234 '{"price": 3}'
    fairlead publish --nats-url nats://127.0.0.1:4222 app_1234 - < message.json`
}

// Run publishes the message and waits until NATS has taken it.
func (cmd publishCmd) Run(ctx context.Context, c *console) error {
	ctx, cancel := context.WithTimeout(ctx, cmd.Timeout)
	defer cancel()
	group, err := session.ParseGroup(cmd.Group)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	l, err := cmd.load(c)
	if err != nil {
		return err
	}
	cluster, err := bus.ParseCluster(l.NATS.Cluster)
	if err != nil {
		return l.At("nats.cluster", err)
	}
	url := natsAddress(l.Config)
	if url == "" {
		return errors.New("there is no NATS to publish to: the configuration has no nats.url, and a NATS inside the serving process is out of reach; " +
			"give --nats-url URL, or --dev for `fairlead serve --dev`, or set nats.listen for the embedded server")
	}
	msg := nats.NewMsg(bus.Subject(cluster, group))
	if msg.Data, err = cmd.payload(c.stdin); err != nil {
		return err
	}
	if cmd.Binary {
		msg.Header.Set("Fairlead-Type", "binary")
	}
	if err := publish(ctx, url, l.NATS, msg); err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "published %d bytes to %s\n", len(msg.Data), msg.Subject)
	return nil
}

// load returns the configuration, with the flags on top.
func (cmd publishCmd) load(c *console) (*config.Loaded, error) {
	var flags []config.Flag
	if cmd.NATSURL != "" {
		flags = append(flags, config.Flag{Name: "--nats-url", Key: "nats.url", Value: cmd.NATSURL})
	}
	if cmd.Cluster != "" {
		flags = append(flags, config.Flag{Name: "--cluster", Key: "nats.cluster", Value: cmd.Cluster})
	}
	if !cmd.Dev {
		return cmd.configFile.load(c, flags...)
	}
	base := config.Default()
	if cmd.NATSURL == "" {
		base.NATS.Listen = devNATS
	}
	return config.Load(config.Source{Base: base, Getenv: c.getenv, Flags: flags})
}

// natsAddress returns the URL of the NATS that a node with this configuration uses, or "" where only the node itself
// reaches it.
func natsAddress(c *config.Config) string {
	if c.NATS.URL != "" || c.NATS.Listen == "" {
		return c.NATS.URL
	}
	host, port, _ := net.SplitHostPort(c.NATS.Listen) // checked by config
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "nats://" + net.JoinHostPort(host, port)
}

// payload returns the message: the argument, or all of standard input.
func (cmd publishCmd) payload(stdin io.Reader) ([]byte, error) {
	if cmd.Text != "-" {
		return []byte(cmd.Text), nil
	}
	b, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return b, nil
}

// publish sends one message, and returns when the server has it.
func publish(ctx context.Context, url string, c config.NATS, msg *nats.Msg) error {
	options := []nats.Option{nats.Name("fairlead publish"), nats.NoReconnect()}
	if deadline, ok := ctx.Deadline(); ok {
		options = append(options, nats.Timeout(time.Until(deadline)))
	}
	if c.Creds != "" {
		options = append(options, nats.UserCredentials(c.Creds))
	}
	if c.User != "" {
		options = append(options, nats.UserInfo(c.User, c.Password))
	}
	if c.TLSCA != "" {
		options = append(options, nats.RootCAs(c.TLSCA))
	}
	if c.TLSCert != "" {
		options = append(options, nats.ClientCert(c.TLSCert, c.TLSKey))
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return fmt.Errorf("cannot reach NATS at %s: %w", withoutUser(url), err)
	}
	defer nc.Close()
	if err := nc.PublishMsg(msg); err != nil {
		return fmt.Errorf("NATS does not take the message: %w", err)
	}
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("NATS did not confirm the message: %w", err)
	}
	return nc.LastError()
}

// withoutUser cuts the user and password out of a list of URLs.
func withoutUser(list string) string {
	parts := strings.Split(list, ",")
	for i, p := range parts {
		if scheme, rest, ok := strings.Cut(strings.TrimSpace(p), "://"); ok {
			parts[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
		}
	}
	return strings.Join(parts, ",")
}
