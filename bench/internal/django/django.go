package django

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Secret is SECRET_KEY of the site. It is no secret: the database lives as long as a run, on the loopback.
const Secret = "bench: the SECRET_KEY of a Django site"

// tables are Django's, by the migrations of Django 3.2 and Django REST framework 3.14, as far as this matters: the columns,
// the primary keys, and the indices by which is looked up.
const tables = `
CREATE TABLE auth_user (
	id serial PRIMARY KEY, password varchar(128) NOT NULL, last_login timestamptz, is_superuser boolean NOT NULL,
	username varchar(150) NOT NULL UNIQUE, first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL,
	email varchar(254) NOT NULL, is_staff boolean NOT NULL, is_active boolean NOT NULL, date_joined timestamptz NOT NULL);
CREATE TABLE authtoken_token (
	key varchar(40) PRIMARY KEY, created timestamptz NOT NULL, user_id integer NOT NULL UNIQUE REFERENCES auth_user);
CREATE INDEX ON authtoken_token (key varchar_pattern_ops);
CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date timestamptz NOT NULL);
CREATE INDEX ON django_session (session_key varchar_pattern_ops);
CREATE INDEX ON django_session (expire_date);
CREATE EXTENSION pg_stat_statements;`

// Site is the database of a Django site. Its methods are for one goroutine.
type Site struct {
	Tokens  []string // a key of Django REST framework for each user
	Cookies []string // the key of a session for each user

	conn *pgx.Conn
}

// Fill makes the tables in an empty database, and so many users with a token and a session each. The caller closes the site.
func Fill(ctx context.Context, dsn string, users int) (*Site, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	s := &Site{conn: conn}
	if err := s.fill(ctx, users); err != nil {
		return nil, errors.Join(fmt.Errorf("django: %w", err), conn.Close(ctx))
	}
	return s, nil
}

func (s *Site) fill(ctx context.Context, n int) error {
	if _, err := s.conn.PgConn().Exec(ctx, tables).ReadAll(); err != nil {
		return err
	}
	now := time.Now()
	var users, tokens, sessions [][]any
	for id := 1; id <= n; id++ {
		password := fmt.Sprintf("pbkdf2_sha256$260000$bench$%043d=", id)
		key, session := fmt.Sprintf("%040x", id*0x9E3779B9), fmt.Sprintf("benchsession%020d", id)
		s.Tokens, s.Cookies = append(s.Tokens, key), append(s.Cookies, session)
		users = append(users, []any{password, false, fmt.Sprintf("user%d", id), "", "", "", false, true, now})
		tokens = append(tokens, []any{key, now, id})
		sessions = append(sessions, []any{session, sessionData(fmt.Sprint(id), password, Secret, now), now.Add(14 * 24 * time.Hour)})
	}
	for _, t := range []struct {
		name    string
		columns []string
		rows    [][]any
	}{
		{"auth_user", []string{
			"password", "is_superuser", "username", "first_name", "last_name", "email", "is_staff", "is_active", "date_joined",
		}, users},
		{"authtoken_token", []string{"key", "created", "user_id"}, tokens},
		{"django_session", []string{"session_key", "session_data", "expire_date"}, sessions},
	} {
		if _, err := s.conn.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromRows(t.rows)); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	_, err := s.conn.Exec(ctx, "ANALYZE")
	return err
}

// Queries returns how many queries (SELECT) of a table the server has answered so far. Each counts once, whatever it fetches.
func (s *Site) Queries(ctx context.Context, table string) (n int64, err error) {
	err = s.conn.QueryRow(ctx, `SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
		WHERE query ILIKE 'select%' AND position($1 in query) > 0 AND position('pg_stat_statements' in query) = 0`, table).Scan(&n)
	return n, err
}

// Revoke deletes tokens, each of which must be there.
func (s *Site) Revoke(ctx context.Context, tokens []string) error {
	tag, err := s.conn.Exec(ctx, "DELETE FROM authtoken_token WHERE key = any($1)", tokens)
	if err == nil && tag.RowsAffected() != int64(len(tokens)) {
		err = fmt.Errorf("django: %d of %d tokens were there", tag.RowsAffected(), len(tokens))
	}
	return err
}

// Close ends the connection to the database, whose tables stay.
func (s *Site) Close(ctx context.Context) error { return s.conn.Close(ctx) }
