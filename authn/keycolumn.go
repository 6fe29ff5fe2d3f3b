package authn

import (
	"context"
	"sync/atomic"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// keyColumn is a primary key's column, whose values Django writes in another way than some databases do: where a database
// has no type for UUIDs, a UUIDField is declared as char(32) and holds 32 hexadecimal digits, and str(pk) has dashes. No
// other field of Django's is declared so (a CharField is a varchar), so the declaration decides, which the database is asked
// for once. It may be used by many goroutines.
type keyColumn struct {
	// Fixed after newKeyColumn.
	db            *database.DB
	table, column string

	// Atomic.
	form atomic.Uint32
}

// The values of form.
const (
	formUnknown uint32 = iota
	formPlain          // as Django writes them
	formDigits         // UUIDs without dashes
)

func newKeyColumn(db *database.DB, table, column string) *keyColumn {
	k := &keyColumn{db: db, table: table, column: column}
	if db.Dialect().DashedUUID() {
		k.form.Store(formPlain)
	}
	return k
}

// learn asks how the column is declared, where that is not known yet. A column that the database does not tell of is taken
// for plain, and asked about again. It blocks as a look-up does.
func (k *keyColumn) learn(ctx context.Context) error {
	if k.form.Load() != formUnknown {
		return nil
	}
	declared, found, err := k.db.ColumnType(ctx, k.table, k.column)
	switch {
	case err != nil:
		return err
	case found && declared == "char(32)":
		k.form.Store(formDigits)
	case found:
		k.form.Store(formPlain)
	}
	return nil
}

// django returns a stored value as Django writes it.
func (k *keyColumn) django(stored string) string {
	if k.form.Load() == formDigits {
		if uuid, ok := parseUUID(stored, true); ok {
			return uuid
		}
	}
	return stored
}

// stored undoes django. What is no UUID stays what it is.
func (k *keyColumn) stored(key string) string {
	if k.form.Load() == formDigits {
		if uuid, ok := parseUUID(key, false); ok {
			return uuid
		}
	}
	return key
}
