package authn

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// Check asks the query with values that are likely to be nobody's, and returns what keeps the database from answering, such
// as a column that is missing. It blocks as Authorize does.
func (a *SQL) Check(ctx context.Context) error {
	values := map[string]string{"text": "0", "int": "0", "uuid": "00000000-0000-0000-0000-000000000000"}
	args := make([]any, len(a.bindings))
	for i, b := range a.bindings {
		args[i], _ = a.bind(values[b.kind], b.kind)
	}
	// A value that a column cannot hold is the value's fault.
	if _, err := a.query.First(ctx, args); err != nil && !errors.Is(err, database.ErrValue) {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	return nil
}
