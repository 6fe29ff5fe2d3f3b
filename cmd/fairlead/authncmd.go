package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

type authnCmd struct {
	TriggerSQL triggerSQLCmd `cmd:"" name:"trigger-sql" help:"Print SQL for PostgreSQL: triggers that tell nodes of changes."`
}

type triggerSQLCmd struct {
	configFile
	Verifier   string   `placeholder:"NAME" help:"A verifier whose database it is. Needed where verifiers with listen = true have several."`
	Permission []string `placeholder:"TABLE.COLUMN" help:"A table that says what users may do, and its column with the user's primary key. May be given several times."`
	Drop       bool     `help:"Print SQL that takes the triggers away again."`
}

// Help implements [kong.HelpProvider].
func (triggerSQLCmd) Help() string {
	return `Nodes whose [[verifier]] has listen = true hear at once when a token is deleted, a session ends, a user is deactivated or
gets another password, and, with --permission, when rows of such a table come, change or go. Other nodes hear of it when
cache_ttl has passed. What is sent is a user's primary key, or the SHA-256 of a token or a session key.

The SQL may be run again, after each upgrade of Fairlead for example. It is for the tables' owner, in PostgreSQL 11 or later.

Examples:

    fairlead authn trigger-sql --config fairlead.toml | psql mysite
    fairlead authn trigger-sql --config fairlead.toml --permission gate_grant.user_id | psql mysite
    fairlead authn trigger-sql --config fairlead.toml --drop | psql mysite`
}

// Run prints the SQL, and nothing else, on standard output.
func (cmd triggerSQLCmd) Run(c *console) error {
	l, err := cmd.load(c)
	if err != nil {
		return err
	}
	dsn, err := cmd.dsn(l.Config)
	if err != nil {
		return err
	}
	t := triggersOf(l.Config, dsn)
	for _, p := range cmd.Permission {
		dot := strings.LastIndexByte(p, '.')
		if dot < 0 {
			return &exitError{exitUsage, fmt.Errorf("--permission %q: want TABLE.COLUMN, or SCHEMA.TABLE.COLUMN", p)}
		}
		t.Permissions = append(t.Permissions, authn.Permission{Table: p[:dot], UserColumn: p[dot+1:]})
	}
	write := t.SQL
	if cmd.Drop {
		write = t.DropSQL
	}
	sql, err := write()
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.stdout, sql)
	return err
}

// dsn returns the database that is meant.
func (cmd triggerSQLCmd) dsn(c *config.Config) (string, error) {
	if cmd.Verifier != "" {
		i := c.VerifierIndex(cmd.Verifier)
		if i < 0 {
			return "", fmt.Errorf("no verifier is called %q", cmd.Verifier)
		}
		if dsn := c.Verifiers[i].Database(); strings.HasPrefix(dsn, "postgres") {
			return dsn, nil
		}
		return "", fmt.Errorf("verifier %s asks no database whose dsn begins with postgres://, and only PostgreSQL tells of changes", cmd.Verifier)
	}
	dsn, first := "", ""
	for i := range c.Verifiers {
		v := &c.Verifiers[i]
		switch {
		case !v.Listen || v.Database() == dsn:
		case dsn != "":
			return "", fmt.Errorf("the verifiers %s and %s have different databases; choose one with --verifier", first, v.Name)
		default:
			dsn, first = v.Database(), v.Name
		}
	}
	if dsn == "" {
		return "", errors.New("no verifier has listen = true, so nobody would hear; set it for a [[verifier]] of kind drf_token, django_session or jwt, or choose one with --verifier")
	}
	return dsn, nil
}
