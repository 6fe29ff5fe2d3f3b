package authn

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-ws/fairlead/session"
)

// Check asks the database for a key that nobody has, and returns what keeps it from answering, such as tables that are
// missing. It blocks as Verify does, and counts as no verification.
func (v *DRFToken) Check(ctx context.Context) error {
	var key string
	var active bool
	var id session.Identity
	if _, err := v.db.first(ctx, []any{"a key that nobody has"}, &key, &id.Subject, &id.Name, &active); err != nil {
		return fmt.Errorf("%s: %w", v.name, err)
	}
	return nil
}

// Check asks the query with values that are likely to be nobody's, and returns what keeps the database from answering, such
// as a column that is missing. It blocks as Authorize does.
func (a *SQL) Check(ctx context.Context) error {
	values := map[string]string{"text": "0", "int": "0", "uuid": "00000000-0000-0000-0000-000000000000"}
	args := make([]any, len(a.bindings))
	for i, b := range a.bindings {
		args[i], _ = a.bind(values[b.kind], b.kind)
	}
	// A value that a column cannot hold is the value's fault.
	if _, err := a.db.first(ctx, args); err != nil && !errors.Is(err, errValue) {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	return nil
}
