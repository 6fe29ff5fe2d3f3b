package authn

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// ErrAllowsEverybody is what [SQL.Check] says of a query that allows a user and a group which are likely to be nobody's.
var ErrAllowsEverybody = errors.New(`the query allows user "0" and group "0", which are likely to be nobody's, so it may allow everybody`)

// Check asks the query with values that are likely to be nobody's, and returns what keeps the database from answering, such
// as a column that is missing, or [ErrAllowsEverybody]. It blocks as Authorize does.
func (a *SQL) Check(ctx context.Context) error {
	values := map[string]string{"text": "0", "int": "0", "uuid": "00000000-0000-0000-0000-000000000000"}
	args := make([]any, len(a.bindings))
	for i, b := range a.bindings {
		args[i], _ = a.bind(values[b.kind], b.kind)
	}
	switch allowed, err := a.query.Holds(ctx, args); {
	case errors.Is(err, database.ErrValue): // a value that a column cannot hold is the value's fault
	case err != nil:
		return fmt.Errorf("%s: %w", a.name, err)
	case allowed && len(args) > 0:
		return fmt.Errorf("%s: %w", a.name, ErrAllowsEverybody)
	}
	return nil
}
