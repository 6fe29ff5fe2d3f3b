package authn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
	"github.com/fairlead-ws/fairlead/session"
)

// SQLConfig says what to ask whom.
type SQLConfig struct {
	Name string // of the authorizer, for errors; "" is "sql"
	DSN  string // sqlite:PATH, postgres://… or mysql://…; give it a role that may only read
	// Query is one SELECT. A row means yes, unless its first column is NULL, false or zero (also of JSON), so that SELECT
	// EXISTS(…) and SELECT count(*) say what they seem to say. Only the first row is looked at: LIMIT 1 spares a long answer.
	// Its placeholders are :user (Identity.Subject), :name (Identity.Name), :group (the group to join), :category and :id
	// (the path's parameter of that name, or its group.category and group.id, or those of the group to join) and the
	// PathParams.
	Query string
	// Params says how the texts are bound: "text" (also where nothing is said), "int" or "uuid". With MySQL all of them must
	// be named, since it takes the text 1x for the number 1: "int" for columns of numbers. Mind that most of its collations
	// take a for A, and that groups and users are told apart by case: add AND BINARY name = :group behind name = :group.
	Params map[string]string
	// PathParams are the further path parameters of the routes that use this authorizer.
	PathParams []string
	Databases  *Databases            // to share connections with; nil: with nobody
	Timeout    time.Duration         // for one question; 0 is two seconds
	MaxConns   int                   // 0 is eight
	Registerer prometheus.Registerer // gets the metrics; nil: nobody
}

// SQL is the authorizer that asks the application's own tables. It may be used by many goroutines.
type SQL struct {
	// Fixed after NewSQL.
	name     string
	bindings []binding // in the order of the query's placeholders
	asksWho  bool      // the query has :user or :name
	db       *database.DB
	query    *database.Query
	seconds  latency
}

// binding is one placeholder.
type binding struct{ name, kind string }

var (
	ownPlaceholders = []string{"user", "name", "group", "category", "id"}
	kinds           = []string{"text", "int", "uuid"}
)

// NewSQL checks the configuration and returns the authorizer. It does not fail because a server is down; the file of
// SQLite must be there. Errors hold no password of the DSN. Close releases what it holds.
func NewSQL(c SQLConfig) (*SQL, error) {
	a := &SQL{name: orDefault(c.Name, "sql")}
	if err := a.prepare(c); err != nil {
		return nil, fmt.Errorf("authn: authorizer %s: %w", a.name, err)
	}
	return a, nil
}

func (a *SQL) prepare(c SQLConfig) (err error) {
	d, err := database.DialectOf(c.DSN)
	if err != nil {
		return err
	}
	query, err := parseQuery(c.Query, d)
	if err != nil {
		return fmt.Errorf("the query: %w", err)
	}
	for _, name := range c.PathParams {
		if name == "user" || name == "name" {
			return fmt.Errorf("a path parameter called %q would hide the placeholder :%s", name, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Params)) {
		if !slices.Contains(query.names, name) {
			return fmt.Errorf("params has %q, and the query has no :%s", name, name)
		}
		if !slices.Contains(kinds, c.Params[name]) {
			return fmt.Errorf("params binds %q as %q: want %s", name, c.Params[name], strings.Join(kinds, ", "))
		}
	}
	for _, name := range query.names {
		if !slices.Contains(ownPlaceholders, name) && !slices.Contains(c.PathParams, name) {
			known := append(slices.Clone(ownPlaceholders), c.PathParams...)
			return fmt.Errorf("the query has :%s, which is nothing here: want :%s", name, strings.Join(known, ", :"))
		}
		if _, said := c.Params[name]; !said && d == database.MySQL {
			return fmt.Errorf(`params does not say how :%s is bound, and MySQL takes the text 1x for the number 1: want params = { %s = "int" }, or "text", or "uuid"`, name, name)
		}
		a.asksWho = a.asksWho || name == "user" || name == "name"
		a.bindings = append(a.bindings, binding{name, orDefault(c.Params[name], "text")})
	}
	if a.seconds, err = newDecisionSeconds(c.Registerer, a.name); err != nil {
		return err
	}
	a.db, err = c.Databases.open(context.Background(), database.Config{DSN: c.DSN, Timeout: c.Timeout, MaxConns: c.MaxConns})
	if err == nil {
		a.query = a.db.Query(query.text)
	}
	return err
}

// Authorize implements [Authorizer]. It blocks until the database has answered, for the configured timeout at most. A value
// that is missing or cannot be bound as its type is forbidden with [ReasonBadParameter] and without a question, and so is
// one that the column's type cannot hold. An anonymous client is forbidden where the query asks who it is.
// The rule is the authorizer's name.
func (a *SQL) Authorize(ctx context.Context, q *Question) (rule string, err error) {
	if err := a.ask(ctx, q.Identity, q.Group, q.Params); err != nil {
		return "", err
	}
	return a.name, nil
}

func (a *SQL) ask(ctx context.Context, id *session.Identity, g session.Group, p Params) error {
	if a.asksWho && id.Anonymous {
		return a.forbid(ReasonForbidden, "the client is anonymous, and the query asks for a user")
	}
	args := make([]any, len(a.bindings))
	for i, b := range a.bindings {
		value, ok := lookUp(b.name, id, g, p)
		if !ok {
			return a.forbid(ReasonBadParameter, "the path has no :"+b.name)
		}
		if args[i], ok = a.bind(value, b.kind); !ok {
			return a.forbid(ReasonBadParameter, ":"+b.name+" is no "+b.kind)
		}
	}
	start := time.Now()
	allowed, err := a.query.Holds(ctx, args)
	a.seconds.since(start)
	switch {
	case errors.Is(err, database.ErrValue):
		return &Error{Kind: ErrForbidden, Reason: ReasonBadParameter, Err: fmt.Errorf("%s: %w", a.name, err), By: a.name}
	case err != nil:
		return &Error{Kind: ErrUnavailable, Reason: ReasonAuthorizerUnavailable, Err: fmt.Errorf("%s: %w", a.name, err), By: a.name}
	case !allowed:
		return a.forbid(ReasonForbidden, "no row allows group "+g.String())
	}
	return nil
}

func (a *SQL) forbid(r Reason, cause string) error {
	return &Error{Kind: ErrForbidden, Reason: r, Err: errors.New(a.name + ": " + cause), By: a.name}
}

// lookUp returns what a placeholder stands for.
func lookUp(name string, id *session.Identity, g session.Group, p Params) (value string, ok bool) {
	switch name {
	case "user":
		return id.Subject, true
	case "name":
		return id.Name, true
	case "group":
		return g.String(), true
	}
	if value, ok = p.Get(name); ok || name != "category" && name != "id" {
		return value, ok
	}
	if value, ok = p.Get("group." + name); ok {
		return value, true
	}
	category, number, ok := g.Split()
	if name == "category" {
		return category, ok
	}
	return number, ok
}

// bind returns the argument for the driver. PostgreSQL gets texts and infers their types; SQLite compares by storage class
// and MySQL takes 1x for 1, so they get integers, and a UUID in the form in which Django stores it there.
func (a *SQL) bind(value, kind string) (arg any, ok bool) {
	switch kind {
	case "int":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || value[0] == '+' {
			return nil, false
		}
		if a.db.Dialect() != database.PostgreSQL {
			return n, true
		}
		return strconv.FormatInt(n, 10), true
	case "uuid":
		return parseUUID(value, a.db.Dialect().DashedUUID())
	default:
		return value, utf8.ValidString(value) && strings.IndexByte(value, 0) < 0
	}
}

// parseUUID reads 32 hexadecimal digits, with dashes as RFC 9562 section 4 puts them or without any, and returns them in
// lower case.
func parseUUID(s string, dashed bool) (uuid string, ok bool) {
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		s = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	}
	if len(s) != 32 {
		return "", false
	}
	for i := range len(s) {
		if _, ok := unhex(s[i]); !ok {
			return "", false
		}
	}
	s = strings.ToLower(s)
	if dashed {
		s = s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
	}
	return s, true
}

// Close waits for the questions under way and releases the connections. Later ones are [ErrUnavailable]. It may be called
// again.
func (a *SQL) Close() error { return a.db.Close() }
