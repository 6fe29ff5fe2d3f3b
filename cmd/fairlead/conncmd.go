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

type connCmd struct {
	Ls   connLsCmd   `cmd:"" help:"List open connections, of all nodes."`
	Show connShowCmd `cmd:"" help:"Show one, also after its end."`
	Log  connLogCmd  `cmd:"" help:"Read its life from the journal."`
	Kick connKickCmd `cmd:"" help:"Close it, or all of a user."`
}

// Help implements [kong.HelpProvider].
func (connCmd) Help() string {
	return `Any node can be asked; it asks the others.

Examples:

    fairlead conn ls --group app_1234
    fairlead conn ls --user 42 -o json
    fairlead conn log dc2nog01081g81860s40-7
    fairlead conn kick --user 42 --reason 'account closed'
    fairlead conn ls --api http://10.0.0.7:9000 --key-file /etc/fairlead/ops-key`
}

// connection is a session, as the API shows it.
type connection struct {
	ID        string    `json:"id"`
	Node      string    `json:"node"`
	Phase     string    `json:"phase"`
	Subject   string    `json:"subject"`
	Name      string    `json:"name"`
	Source    string    `json:"source"`
	Anonymous bool      `json:"anonymous"`
	Expires   time.Time `json:"expires"`
	Silent    bool      `json:"silent"`
	Route     string    `json:"route"`
	Opened    time.Time `json:"opened"`
	Groups    []string  `json:"groups"`
	Heard     time.Time `json:"heard"`
	Paused    bool      `json:"paused"`
	Queued    int       `json:"queued_bytes"`
	Closed    time.Time `json:"closed"`
	Code      int       `json:"code"`
	Reason    string    `json:"reason"`

	MessagesReceived uint64 `json:"messages_received"`
	MessagesSent     uint64 `json:"messages_sent"`
	BytesReceived    uint64 `json:"bytes_received"`
	BytesSent        uint64 `json:"bytes_sent"`
}

// user returns who it is, for people.
func (v *connection) user() string {
	switch {
	case v.Anonymous:
		return "(anonymous)"
	case v.Name != "":
		return v.Subject + " (" + v.Name + ")"
	}
	return v.Subject
}

type connLsCmd struct {
	apiFlags
	User  string `placeholder:"SUBJECT" help:"Only this user's."`
	Group string `placeholder:"NAME" help:"Only members of this group."`
	Route string `placeholder:"PATH" help:"Only of this route: its path, as in the configuration."`
	Limit int    `default:"100" help:"How many at most; 0: all."`
}

// connectionPages is a list that was read page by page. The sessions are as they came.
type connectionPages struct {
	Sessions []json.RawMessage `json:"sessions"`
	Next     string            `json:"next,omitempty"`
	Silent   int               `json:"silent"`
	Missing  []absentNode      `json:"missing"`
}

// Run lists them.
func (cmd connLsCmd) Run(ctx context.Context, c *console) error {
	if cmd.Limit < 0 {
		return &exitError{exitUsage, errors.New("--limit is negative; want 0 for all, or more")}
	}
	client, err := cmd.client(c)
	if err != nil {
		return err
	}
	query := url.Values{"user": {cmd.User}, "group": {cmd.Group}, "route": {cmd.Route}}
	all := connectionPages{Sessions: []json.RawMessage{}, Missing: []absentNode{}}
	for {
		page := connectionPages{}
		n := apiPage
		if cmd.Limit > 0 {
			n = min(n, cmd.Limit-len(all.Sessions))
		}
		query.Set("limit", strconv.Itoa(n))
		if err := client.get(ctx, "/api/v1/sessions", query, &page); err != nil {
			return err
		}
		all.Sessions = append(all.Sessions, page.Sessions...)
		all.Silent, all.Missing, all.Next = max(all.Silent, page.Silent), addMissing(all.Missing, page.Missing), page.Next
		if page.Next == "" || cmd.Limit > 0 && len(all.Sessions) >= cmd.Limit {
			break
		}
		query.Set("after", page.Next)
	}
	if cmd.Output == "json" {
		return printJSON(c.stdout, all)
	}
	return all.print(c)
}

func (p *connectionPages) print(c *console) error {
	rows, now := [][]string{{"SESSION", "USER", "NODE", "ROUTE", "GROUPS", "OPEN", "HEARD", "IN", "OUT", "NOTES"}}, time.Now()
	for _, raw := range p.Sessions {
		var v connection
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("a session of the answer is not understood: %w", err)
		}
		groups := v.Groups[:min(len(v.Groups), 3)]
		text := strings.Join(groups, ",")
		if more := len(v.Groups) - len(groups); more > 0 {
			text += fmt.Sprintf(",… (%d more)", more)
		}
		rows = append(rows, []string{
			v.ID, v.user(), v.Node, v.Route, text, ago(now, v.Opened), ago(now, v.Heard),
			strconv.FormatUint(v.MessagesReceived, 10), strconv.FormatUint(v.MessagesSent, 10), strings.Join(v.notes(), ", "),
		})
	}
	if err := printTable(c.stdout, rows); err != nil {
		return err
	}
	warnMissing(c, p.Missing)
	if p.Silent > 0 {
		fmt.Fprintf(c.stderr, "fairlead: %d connections did not answer in time: their handler does not return\n", p.Silent)
	}
	if p.Next != "" {
		fmt.Fprintln(c.stderr, "fairlead: there are more; --limit 0 lists all")
	}
	return nil
}

// notes are what is out of the ordinary.
func (v *connection) notes() (list []string) {
	if v.Silent {
		list = append(list, "silent")
	}
	if v.Phase != "open" {
		list = append(list, v.Phase)
	}
	if v.Paused {
		list = append(list, "paused")
	}
	if v.Queued > 0 {
		list = append(list, fmt.Sprintf("%d bytes queued", v.Queued))
	}
	return list
}

// sessionArg is the argument of the commands about one session.
type sessionArg struct {
	Session string `arg:"" help:"The session's id, as fairlead conn ls and the log have it."`
}

// path returns the path of the API, with what comes behind the session.
func (a sessionArg) path(behind string) (string, error) {
	if _, err := session.ParseID(a.Session); err != nil {
		return "", &exitError{exitUsage, err}
	}
	return "/api/v1/sessions/" + a.Session + behind, nil
}

type connShowCmd struct {
	apiFlags
	sessionArg
}

// Run shows it.
func (cmd connShowCmd) Run(ctx context.Context, c *console) error {
	client, err := cmd.client(c)
	if err != nil {
		return err
	}
	path, err := cmd.path("")
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := client.get(ctx, path, nil, &raw); err != nil {
		return err
	}
	if cmd.Output == "json" {
		return printJSON(c.stdout, raw)
	}
	var v connection
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("the session is not understood: %w", err)
	}
	return printTable(c.stdout, v.table())
}

func (v *connection) table() [][]string {
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	rows := [][]string{{"session", v.ID}, {"phase", v.Phase}, {"node", v.Node}, {"user", v.user()}, {"verifier", v.Source}, {"expires", stamp(v.Expires)}}
	if v.Silent {
		return append(rows, []string{"silent", "its handler does not return; the rest is not known"})
	}
	rows = append(rows, []string{"route", v.Route}, []string{"opened", stamp(v.Opened)}, []string{"groups", strings.Join(v.Groups, " ")},
		[]string{"received", fmt.Sprintf("%d messages, %d bytes", v.MessagesReceived, v.BytesReceived)},
		[]string{"sent", fmt.Sprintf("%d messages, %d bytes", v.MessagesSent, v.BytesSent)})
	if v.Code != 0 {
		return append(rows, []string{"closed", stamp(v.Closed)}, []string{"code", strconv.Itoa(v.Code)}, []string{"reason", v.Reason})
	}
	rows = append(rows, []string{"heard", stamp(v.Heard)}, []string{"queued", fmt.Sprintf("%d bytes", v.Queued)})
	if v.Paused {
		rows = append(rows, []string{"paused", "it is not read until the bus has room"})
	}
	return rows
}
