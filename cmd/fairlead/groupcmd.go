package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

type groupCmd struct {
	Ls groupLsCmd `cmd:"" help:"List the groups that have members, of all nodes."`
}

// Help implements [kong.HelpProvider].
func (groupCmd) Help() string {
	return `Examples:

    fairlead group ls
    fairlead group ls --prefix app_ -o json`
}

type groupLsCmd struct {
	apiFlags
	Prefix string `placeholder:"TEXT" help:"Only names that begin so."`
	Limit  int    `default:"100" help:"How many at most; 0: all."`
}

// groupPages is a list that was read page by page.
type groupPages struct {
	Groups []struct {
		Group   string `json:"group"`
		Members int    `json:"members"`
	} `json:"groups"`
	Next    string       `json:"next,omitempty"`
	Missing []absentNode `json:"missing"`
}

// Run lists them.
func (cmd groupLsCmd) Run(ctx context.Context, c *console) error {
	if cmd.Limit < 0 {
		return &exitError{exitUsage, errors.New("--limit is negative; want 0 for all, or more")}
	}
	client, err := cmd.client(c)
	if err != nil {
		return err
	}
	query, all := url.Values{"prefix": {cmd.Prefix}}, groupPages{Missing: []absentNode{}}
	for {
		page := groupPages{}
		n := apiPage
		if cmd.Limit > 0 {
			n = min(n, cmd.Limit-len(all.Groups))
		}
		query.Set("limit", strconv.Itoa(n))
		if err := client.get(ctx, "/api/v1/groups", query, &page); err != nil {
			return err
		}
		page.Groups, page.Missing = append(all.Groups, page.Groups...), addMissing(all.Missing, page.Missing)
		if all = page; all.Next == "" || cmd.Limit > 0 && len(all.Groups) >= cmd.Limit {
			break
		}
		query.Set("after", all.Next)
	}
	if cmd.Output == "json" {
		return printJSON(c.stdout, all)
	}
	rows := [][]string{{"GROUP", "MEMBERS"}}
	for _, g := range all.Groups {
		rows = append(rows, []string{g.Group, strconv.Itoa(g.Members)})
	}
	if err := printTable(c.stdout, rows); err != nil {
		return err
	}
	warnMissing(c, all.Missing)
	if all.Next != "" {
		fmt.Fprintln(c.stderr, "fairlead: there are more; --limit 0 lists all")
	}
	return nil
}
