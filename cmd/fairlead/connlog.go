package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

type connLogCmd struct {
	apiFlags
	sessionArg
}

// Help implements [kong.HelpProvider].
func (connLogCmd) Help() string {
	return `A line for each event: when, the how-manieth, what. The events of a node itself, such as the handshakes that it refused,
are those of its session number 0: EPOCH-0.`
}

// eventPages is a session's life, read page by page. The events are as they came.
type eventPages struct {
	Session   string            `json:"session"`
	Events    []json.RawMessage `json:"events"`
	Next      string            `json:"next,omitempty"`
	Truncated bool              `json:"truncated"`
}

// Run reads and prints it.
func (cmd connLogCmd) Run(ctx context.Context, c *console) error {
	client, err := cmd.client(c)
	if err != nil {
		return err
	}
	path, err := cmd.path("/events")
	if err != nil {
		return err
	}
	all := eventPages{Session: cmd.Session, Events: []json.RawMessage{}}
	for query := (url.Values{"limit": {strconv.Itoa(apiPage)}}); ; query.Set("after", all.Next) {
		page := eventPages{}
		if err := client.get(ctx, path, query, &page); err != nil {
			return err
		}
		all.Events, all.Next = append(all.Events, page.Events...), page.Next
		all.Truncated = all.Truncated || page.Truncated
		if page.Next == "" {
			break
		}
	}
	if cmd.Output == "json" {
		return printJSON(c.stdout, all)
	}
	if all.Truncated {
		fmt.Fprintln(c.stderr, "fairlead: the first events are no longer kept")
	}
	for _, raw := range all.Events {
		var r session.Record
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("an event is not understood: %w", err)
		}
		_, err := fmt.Fprintf(c.stdout, "%s  %d  %s\n", r.Time.Format("2006-01-02T15:04:05.000Z07:00"), r.Seq, inLine(describeEvent(r.Event)))
		if err != nil {
			return err
		}
	}
	return nil
}

// describeEvent says an event in a line.
func describeEvent(e session.Event) string {
	text := string(e.Kind())
	switch e := e.(type) {
	case session.Opened:
		who := "anonymous"
		if !e.Identity.Anonymous {
			who = "user " + e.Identity.Subject + " by " + e.Identity.Source
		}
		text += "  " + who + ", route " + e.Route
		if e.Remote.IsValid() {
			text += ", from " + e.Remote.String()
		}
		if !e.Identity.Expires.IsZero() {
			text += ", until " + e.Identity.Expires.Format(time.RFC3339)
		}
		for i, g := range e.Groups {
			if i == 0 {
				text += ", groups"
			}
			text += " " + g.String()
		}
		if e.By != "" {
			text += "; by " + e.By
		}
		if e.Rule != "" {
			text += "; rule " + e.Rule
		}
	case session.Joined:
		text += "  " + e.Group.String()
	case session.Left:
		text += "  " + e.Group.String()
	case session.Refreshed:
		if e.Expires.IsZero() {
			text += "  no end"
		} else {
			text += "  until " + e.Expires.UTC().Format(time.RFC3339)
		}
	case session.Closed:
		text += fmt.Sprintf("  %d %s; received %d messages (%d bytes), sent %d (%d bytes)", e.Code, e.Reason,
			e.MessagesReceived, e.BytesReceived, e.MessagesSent, e.BytesSent)
	case session.Refused:
		text += fmt.Sprintf("  %d %s", e.Status, e.Reason)
		if e.Route != "" {
			text += ", route " + e.Route
		}
		if e.Remote.IsValid() {
			text += ", from " + e.Remote.String()
		}
		if e.By != "" {
			text += ", by " + e.By
		}
		if e.Count > 1 {
			text += fmt.Sprintf(", %d times", e.Count)
		}
	case session.NodeStarted:
		text += "  " + e.Node + ", version " + e.Version
	case session.NodeDraining:
		text += fmt.Sprintf("  %d connections over %v", e.Connections, e.Window)
	case session.NodeSealed:
		text += "  " + e.Reason
	case session.Gap:
		text += fmt.Sprintf("  %d events are missing since %s: %s", e.Lost, e.Since.UTC().Format(time.RFC3339), e.Reason)
	case session.Unknown: // of a later version
		if string(e.Data) != "{}" {
			text += "  " + string(e.Data)
		}
	}
	return text
}

type connKickCmd struct {
	apiFlags
	Sessions []string `arg:"" optional:"" name:"session" help:"The sessions' ids."`
	User     string   `placeholder:"SUBJECT" help:"All connections of this user, on all nodes."`
	Code     int      `default:"4403" help:"The close code: 4403 tells the client not to come back, 1012 to connect again."`
	Reason   string   `placeholder:"TEXT" help:"What the client is told."`
}

// Help implements [kong.HelpProvider].
func (connKickCmd) Help() string {
	return `It is done when the command ends: on every node that could be reached. Exit code 1 if one could not, or if a session was not
open. It is no ban: who has a good credential can connect again.`
}

// kicked is what the API says of a disconnect.
type kicked struct {
	Disconnected int          `json:"disconnected"`
	Silent       int          `json:"silent"`
	Missing      []absentNode `json:"missing"`
}

// Run closes them.
func (cmd connKickCmd) Run(ctx context.Context, c *console) error {
	if (len(cmd.Sessions) == 0) == (cmd.User == "") {
		return &exitError{exitUsage, errors.New("whom? Want the ids of sessions, or --user SUBJECT")}
	}
	client, err := cmd.client(c)
	if err != nil {
		return err
	}
	paths := []string{"/api/v1/users/" + url.PathEscape(cmd.User) + "/disconnect"}
	if cmd.User == "" {
		paths = paths[:0]
		for _, id := range cmd.Sessions {
			path, err := sessionArg{id}.path("/disconnect")
			if err != nil {
				return err
			}
			paths = append(paths, path)
		}
	}
	body := map[string]any{"code": cmd.Code}
	if cmd.Reason != "" {
		body["reason"] = cmd.Reason
	}
	sum := kicked{Missing: []absentNode{}}
	var failed []error
	for i, path := range paths {
		var k kicked
		if err := client.post(ctx, path, body, &k); err != nil {
			if cmd.User == "" {
				err = fmt.Errorf("%s: %w", cmd.Sessions[i], err)
			}
			failed = append(failed, err)
			continue
		}
		sum.Disconnected += k.Disconnected
		sum.Silent += k.Silent
		sum.Missing = append(sum.Missing, k.Missing...)
	}
	if len(failed) == len(paths) {
		return errors.Join(failed...)
	}
	return errors.Join(append(failed, cmd.tell(c, sum))...)
}

// tell prints what was done. The error is that it is not all.
func (cmd connKickCmd) tell(c *console, sum kicked) error {
	var err error
	if len(sum.Missing) > 0 {
		var names []string
		for _, m := range sum.Missing {
			names = append(names, inLine(m.Name+": "+m.Why))
		}
		err = fmt.Errorf("not done everywhere: %s", strings.Join(names, "; "))
	}
	if cmd.Output == "json" {
		return errors.Join(printJSON(c.stdout, sum), err)
	}
	fmt.Fprintf(c.stdout, "closed %d\n", sum.Disconnected)
	if sum.Silent > 0 {
		fmt.Fprintf(c.stdout, "%d more will be closed when their handler returns\n", sum.Silent)
	}
	return err
}
