package authn

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	// DefaultTimeout is how long a question to a database may take, waiting for a connection included.
	DefaultTimeout = 2 * time.Second
	// DefaultMaxConns is how many connections one verifier or authorizer holds at most. Django, and the other nodes, want
	// some of the server's as well.
	DefaultMaxConns = 8
)

// database answers one fixed query. Its methods may be called by many goroutines.
type database interface {
	// first asks the query and scans the first row into dest, which may be empty; found is false where there is no row.
	// It blocks until ctx ends or the timeout has passed.
	first(ctx context.Context, args []any, dest ...any) (found bool, err error)
	// close releases the connections. Questions under way fail.
	close() error
}

// databaseConfig is what a verifier and an authorizer have in common.
type databaseConfig struct {
	dsn      string
	timeout  time.Duration // 0: DefaultTimeout
	maxConns int           // 0: DefaultMaxConns
}

// dialect is what SQL is not agreed upon.
type dialect struct {
	name       string
	numbered   bool // $1 rather than ?
	dashedUUID bool // Django stores 32 digits where there is no type for it
}

var (
	sqlite   = dialect{name: "sqlite"}
	postgres = dialect{name: "postgres", numbered: true, dashedUUID: true}
)

// dialectOf returns the dialect that a DSN asks for. Its error holds no more of the DSN than the scheme.
func dialectOf(dsn string) (dialect, error) {
	scheme, rest, ok := strings.Cut(dsn, ":")
	switch {
	case ok && scheme == "sqlite" && rest != "":
		return sqlite, nil
	case ok && (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(rest, "//"):
		return postgres, nil
	case !ok:
		return dialect{}, fmt.Errorf("the dsn has no scheme: want sqlite:PATH or postgres://USER@HOST/DATABASE")
	}
	return dialect{}, fmt.Errorf("the dsn begins with %.20q: want sqlite:PATH or postgres://USER@HOST/DATABASE", scheme+":")
}

// openDatabase checks the configuration and returns the database, which connects when it is first asked.
func openDatabase(ctx context.Context, c databaseConfig, query string) (database, error) {
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	switch {
	case c.timeout < 0:
		return nil, fmt.Errorf("the timeout is %v: want more than 0", c.timeout)
	case c.maxConns < 0:
		return nil, fmt.Errorf("the limit of connections is %d: want more than 0", c.maxConns)
	}
	d, err := dialectOf(c.dsn)
	if err != nil {
		return nil, err
	}
	if d == postgres {
		return openPostgres(ctx, c, query)
	}
	return openSQLite(c, query)
}

// scrub returns err, or a stand-in when its text holds the secret: servers like to quote what they choke on.
func scrub(err error, secret string) error {
	if secret != "" && strings.Contains(err.Error(), secret) {
		return fmt.Errorf("the database's error is left out, since it holds the credential (%T)", err)
	}
	return err
}
