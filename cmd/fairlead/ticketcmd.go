package main

import (
	"context"
	"fmt"
	"time"
)

type ticketCmd struct {
	apiFlags
	Subject string        `required:"" help:"Who it is for: the user's primary key."`
	Route   string        `required:"" placeholder:"PATH" help:"The path of the route that it is for, as the configuration has it."`
	Name    string        `help:"The user's name."`
	Origin  string        `placeholder:"ORIGIN" help:"Only for pages of this origin."`
	Group   []string      `placeholder:"GROUP" help:"A group that the ticket allows, or with * at the end all that begin so. May be given several times."`
	TTL     time.Duration `default:"30s" placeholder:"30s" help:"How long it is good: 1s to 5m, whole seconds."`
}

// Help implements [kong.HelpProvider].
func (ticketCmd) Help() string {
	return `It asks a node for what a page's application asks for: a ticket that lets one connection in, soon.

Examples:

    fairlead ticket --subject 42 --route '/ws/{group}'
    fairlead connect --via query --name ticket --token "$(fairlead ticket --subject 42 --route '/ws/{group}')" ws://127.0.0.1:8000/ws/app_1`
}

// ticketBody is what the API wants and answers.
type ticketBody struct {
	Subject string   `json:"subject"`
	Route   string   `json:"route"`
	Name    string   `json:"name,omitempty"`
	Origin  string   `json:"origin,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	TTL     int      `json:"ttl_seconds"`
}

// Run prints the ticket, and nothing else, on standard output.
func (cmd ticketCmd) Run(ctx context.Context, c *console) error {
	if cmd.TTL%time.Second != 0 {
		return &exitError{exitUsage, fmt.Errorf("--ttl is %v; want whole seconds", cmd.TTL)}
	}
	client, err := cmd.client(c)
	if err != nil {
		return err
	}
	body := ticketBody{cmd.Subject, cmd.Route, cmd.Name, cmd.Origin, cmd.Group, int(cmd.TTL / time.Second)}
	var ticket struct {
		Ticket  string    `json:"ticket"`
		ID      string    `json:"id"`
		Expires time.Time `json:"expires"`
	}
	if err := client.post(ctx, "/api/v1/tickets", body, &ticket); err != nil {
		return err
	}
	if cmd.Output == "json" {
		return printJSON(c.stdout, ticket)
	}
	_, err = fmt.Fprintln(c.stdout, ticket.Ticket)
	return err
}
