package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// openMySQL returns the database behind a URL, mysql://USER:PASSWORD@HOST:PORT/DATABASE?tls=true. It does not connect. The
// parameters are those of github.com/go-sql-driver/mysql; the path of a Unix socket stands in the parameter unix_socket, and
// pool_max_conns is how many connections there may be.
// Every session is read-only.
func openMySQL(c Config) (*sqlBackend, error) {
	mc, err := parseMySQL(c.DSN)
	if err != nil {
		return nil, err
	}
	if c.MaxConns, err = poolMaxConns(c); err != nil {
		return nil, err
	}
	if mc.Timeout == 0 {
		mc.Timeout = c.Timeout
	}
	connector, err := mysql.NewConnector(mc)
	if err != nil {
		return nil, fmt.Errorf("mysql: the dsn: %w", Scrub(err, mc.Passwd))
	}
	b := newSQLBackend("mysql", sql.OpenDB(readOnly{connector}), c)
	b.slots, b.failed = make(chan struct{}, c.MaxConns), mysqlFailed
	b.db.SetConnMaxLifetime(3 * time.Minute) // a server closes idle ones, and the driver asks for less than its wait_timeout
	return b, nil
}

// poolMaxConns returns the parameter pool_max_conns, which is called as in the URLs of PostgreSQL and wins over the
// configuration as it does there.
func poolMaxConns(c Config) (int, error) {
	u, err := url.Parse(c.DSN)
	if err != nil || !u.Query().Has("pool_max_conns") {
		return c.MaxConns, err
	}
	n, err := strconv.Atoi(u.Query().Get("pool_max_conns"))
	if err != nil || n < 1 || n > 1<<20 {
		return 0, errors.New("the dsn: pool_max_conns is not a number of connections: want 1 or more")
	}
	return n, nil
}

func parseMySQL(dsn string) (*mysql.Config, error) {
	if err := checkEscapes(dsn); err != nil {
		return nil, err
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("the dsn is no URL: want mysql://USER:PASSWORD@HOST:PORT/DATABASE, with % and two digits for what is special in a password")
	}
	name := strings.Trim(u.Path, "/")
	if name == "" || strings.Contains(name, "/") {
		return nil, errors.New("the dsn names no database: want mysql://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	password, _ := u.User.Password()
	params := u.Query()
	socket := params.Get("unix_socket")
	params.Del("unix_socket")
	params.Del("pool_max_conns") // see poolMaxConns
	// The driver knows what its parameters mean, and which it does not have it sends to the server as variables.
	mc, err := mysql.ParseDSN("/?" + params.Encode())
	if err != nil {
		return nil, fmt.Errorf("the dsn: %w", Scrub(err, password))
	}
	mc.User, mc.Passwd, mc.DBName = u.User.Username(), password, name
	mc.InterpolateParams, mc.MultiStatements = false, false // values never become a part of the text
	mc.Logger = &mysql.NopLogger{}                          // what it says comes back as an error as well
	mc.Net, mc.Addr = "tcp", u.Host
	if socket != "" {
		mc.Net, mc.Addr = "unix", socket
	} else if u.Port() == "" {
		mc.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	return mc, nil
}

// sessionMySQL begins a session. That nothing can be written is said by a statement, since the variable has another name in
// MariaDB than in MySQL. Backslashes escape in strings, as package authn reads them.
var sessionMySQL = [...]string{
	"SET SESSION TRANSACTION READ ONLY",
	"SET SESSION sql_mode = REPLACE(@@SESSION.sql_mode, 'NO_BACKSLASH_ESCAPES', '')",
}

// readOnly makes connections in which no query can write.
type readOnly struct{ driver.Connector }

// Connect implements [driver.Connector].
func (r readOnly) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, text := range sessionMySQL {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, text, nil); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// mysqlFailed marks the errors that say that a value is none of the column's kind: 1264, 1292, 1366 and 1367 of the
// server's error codes; and 3854 and 3988, a text that the column's character set does not have, for which older servers
// and MariaDB say 1267, mixed collations: where every value is ASCII that is a mistake in the query.
func mysqlFailed(err error, args []any) error {
	me, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return err
	}
	switch me.Number {
	case 1264, 1292, 1366, 1367, 3854, 3988:
		return fmt.Errorf("%w (error %d)", ErrValue, me.Number)
	case 1267:
		if slices.ContainsFunc(args, func(arg any) bool { s, ok := arg.(string); return ok && !isASCII(s) }) {
			return fmt.Errorf("%w (error %d)", ErrValue, me.Number)
		}
	}
	return err
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
