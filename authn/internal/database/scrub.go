package database

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// Scrub returns err, or a stand-in when its text holds the secret: servers like to quote what they choke on. What says that no
// server could be asked stays: it holds no secret of a client, who could else blank it with a credential such as "refused".
func Scrub(err error, secret string) error {
	if secret == "" || unasked(err) || !strings.Contains(err.Error(), secret) {
		return err
	}
	return fmt.Errorf("the database's error is left out, since it holds the credential (%T)", err)
}

// unasked reports whether err came before any question, or instead of its answer.
func unasked(err error) bool {
	for _, plain := range []error{ErrClosed, mysql.ErrInvalidConn, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, plain) {
			return true
		}
	}
	_, net := errors.AsType[*net.OpError](err)
	_, connect := errors.AsType[*pgconn.ConnectError](err)
	return net || connect
}
