package authn

import (
	"context"

	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// Databases lets verifiers and authorizers that name the same DSN share connections: MaxConns is then what all of them hold
// together. The zero value is ready; it may be used by many goroutines, and is done with when all that opened a database
// with it are closed.
type Databases struct{ registry database.Registry }

// open opens a database. Without Databases its connections are its own.
func (d *Databases) open(ctx context.Context, c database.Config) (*database.DB, error) {
	if d == nil {
		return database.Open(ctx, c)
	}
	return d.registry.Open(ctx, c)
}
