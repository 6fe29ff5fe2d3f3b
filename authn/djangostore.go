package authn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/authn/django"
	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// newSessionStore returns what the configured engine does. db is for the engines that keep sessions in it.
func newSessionStore(db *database.DB, c DjangoSessionConfig) (sessionStore, error) {
	if c.Location == nil {
		c.Location = time.UTC
	}
	switch c.Engine {
	case "", EngineDB, EngineCachedDB:
		return newSessionTable(db, c)
	case EngineFile:
		return newSessionFiles(c)
	case EngineSignedCookies:
		return cookieSessions{c.CookieAge}, nil
	}
	return nil, fmt.Errorf("the engine is %.40q: want %s, %s, %s or %s", c.Engine, EngineDB, EngineCachedDB, EngineFile, EngineSignedCookies)
}

// maxSessionKey is the longest session key that is looked up, in bytes. Django's have 32, and its column 40.
const maxSessionKey = 128

// sessionTable is django_session.
type sessionTable struct{ rows *database.Lookup[sessionRow] }

type sessionRow struct {
	data string
	ends time.Time // zero: never
}

func newSessionTable(db *database.DB, c DjangoSessionConfig) (*sessionTable, error) {
	if c.Table == "" {
		c.Table = "django_session"
	}
	d := db.Dialect()
	table, err := d.Name(c.Table)
	if err != nil {
		return nil, fmt.Errorf("session table: %w", err)
	}
	date := d.Text("expire_date")
	if d == database.PostgreSQL { // which knows the time zone of its times
		date = d.Text("EXTRACT(EPOCH FROM expire_date)")
	}
	query := "SELECT session_key, session_data, " + date + " FROM " + table + " WHERE session_key = "
	return &sessionTable{database.NewLookup(db, database.LookupConfig[sessionRow]{
		One: query + d.Param(1), Many: query + "any($1)",
		Scan: func(scan func(dest ...any) error) (key string, row sessionRow, err error) {
			var date string
			if err = scan(&key, &row.data, &date); err != nil {
				return key, row, err
			}
			if d == database.PostgreSQL {
				row.ends, err = parseEpoch(date)
			} else {
				row.ends, err = parseDate(date, c.Location)
			}
			return key, row, err
		},
	})}, nil
}

// parseEpoch reads what EXTRACT(EPOCH …) makes of a time.
func parseEpoch(s string) (time.Time, error) {
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || math.IsNaN(f):
		return time.Time{}, errors.New("expire_date is no time")
	case f > maxYear9999: // infinity, too
		return time.Time{}, nil
	case f < 0: // the first of the year 1 is Go's zero time, which never comes
		return time.Unix(0, 0), nil
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// parseDate reads the text in which SQLite and MySQL keep a time: of no zone, so Django writes UTC where USE_TZ is True, and
// TIME_ZONE where it is False.
func parseDate(s string, zone *time.Location) (time.Time, error) {
	t, err := time.ParseInLocation("2006-01-02 15:04:05", s, zone) // a fraction may follow
	if err != nil {
		return time.Time{}, errors.New("expire_date is no time such as 2006-01-02 15:04:05")
	}
	if t.Unix() < 0 { // the first of the year 1 is Go's zero time, which never comes
		t = time.Unix(0, 0)
	}
	return t, nil
}

func (t *sessionTable) load(ctx context.Context, key string) (keptSession, bool, error) {
	if len(key) > maxSessionKey || strings.IndexByte(key, 0) >= 0 {
		return keptSession{}, false, nil
	}
	row, found, err := t.rows.Get(ctx, key)
	if err != nil || !found {
		if errors.Is(err, database.ErrValue) { // not in the database's character set, so not in the table
			err = nil
		}
		return keptSession{}, false, err
	}
	return keptSession{data: []byte(row.data), ends: func(django.Session) (time.Time, bool) { return row.ends, true }}, true, nil
}

func (t *sessionTable) check(ctx context.Context) error {
	_, _, err := t.rows.Get(ctx, "a key that nobody has")
	return err
}

// cookieSessions are in the cookie itself.
type cookieSessions struct{ age time.Duration }

func (c cookieSessions) load(_ context.Context, key string) (keptSession, bool, error) {
	return keptSession{data: []byte(key), ends: func(s django.Session) (time.Time, bool) {
		switch at := s.Signed.Unix(); {
		case at > maxYear9999: // Django has no check for the future
			return time.Time{}, true
		case at < 0: // it may be further away than a Duration is long
			return time.Time{}, false
		}
		return s.Signed.Add(c.age), true
	}}, true, nil
}

func (cookieSessions) check(context.Context) error { return nil }
