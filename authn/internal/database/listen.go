package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Listening is a connection to PostgreSQL that hears what is notified on one channel. It belongs to one goroutine.
type Listening struct {
	conn *pgconn.PgConn
	// heard are notifications that came with another answer.
	heard []string
}

// Listener makes them. It may be used by many goroutines.
type Listener struct {
	// Fixed after NewListener.
	config  *pgconn.Config
	channel string // trusted
}

// NewListener checks the DSN, which is that of a PostgreSQL. channel is a plain name, and not a stranger's. Errors hold no
// password of the DSN.
func NewListener(dsn, channel string) (*Listener, error) {
	if d, err := DialectOf(dsn); err != nil {
		return nil, err
	} else if d != PostgreSQL {
		return nil, fmt.Errorf("only PostgreSQL tells of changes, and this is %s", d)
	}
	c, err := parsePostgres(dsn)
	if err != nil {
		return nil, err
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = DefaultTimeout
	}
	return &Listener{config: &c.ConnConfig.Config, channel: channel}, nil
}

// Connect returns a connection that hears what is notified from now on. It blocks until ctx ends or the timeout of
// connections has passed, for the connection and once more for its first answer. The caller closes it.
func (l *Listener) Connect(ctx context.Context) (*Listening, error) {
	c := &Listening{}
	config := l.config.Copy()
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		if n.Channel == l.channel {
			c.heard = append(c.heard, n.Payload)
		}
	}
	var err error
	if c.conn, err = pgconn.ConnectConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("postgres: no connection: %w", err)
	}
	// A pooler may let us in before there is a server behind it.
	ask, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
	defer cancel()
	if _, err := c.Ask(ask, "LISTEN "+l.channel); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Ask returns the first column of the rows that a trusted query gives. It blocks until ctx ends, which ends the connection.
func (c *Listening) Ask(ctx context.Context, query string) ([]string, error) {
	results, err := c.conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	var rows []string
	for _, r := range results {
		for _, row := range r.Rows {
			rows = append(rows, string(row[0]))
		}
	}
	return rows, nil
}

// Wait returns what was notified since it was last called, or waits until something is, or until idle has passed, when it
// asks the server whether it is there. It blocks until then or until ctx ends, and is at an end with an error.
func (c *Listening) Wait(ctx context.Context, idle, patience time.Duration) ([]string, error) {
	if len(c.heard) == 0 {
		wait, cancel := context.WithTimeout(ctx, idle)
		err := c.conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case c.conn.IsClosed() || !errors.Is(err, context.DeadlineExceeded):
			return nil, fmt.Errorf("postgres: %w", err)
		default:
			ask, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			if _, err := c.Ask(ask, "SELECT 1"); err != nil {
				return nil, err
			}
		}
	}
	heard := c.heard
	c.heard = nil
	return heard, nil
}

// Close ends the connection. It waits a second at most for the server to be told.
func (c *Listening) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.conn.Close(ctx)
}
