package channels

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRefuses has settings that are found before anything is started.
func TestRefuses(t *testing.T) {
	for _, tt := range []struct{ server, address, dsn, want string }{
		{"gunicorn", "127.0.0.1:1", "postgres://127.0.0.1:2/a", "want daphne or uvicorn"},
		{Daphne, "127.0.0.1", "postgres://127.0.0.1:2/a", "missing port"},
		{Daphne, "127.0.0.1:1", "postgres://%%", "no URL"},
	} {
		if _, err := Start(t.Context(), t.TempDir(), tt.server, tt.address, tt.dsn, "secret"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
