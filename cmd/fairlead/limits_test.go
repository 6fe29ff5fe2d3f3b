package main

import (
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

func TestConnectionLimit(t *testing.T) {
	const handshakes = 256
	for name, tt := range map[string]struct {
		configured int
		files      uint64
		want       int
		warning    bool
		err        string
	}{
		"from the limit":       {files: 10_000, want: 10_000 - reservedFiles - handshakes - 10_000/16 - 16},
		"no limit":             {files: math.MaxUint64, want: maxConnections},
		"too small":            {files: 656, err: "the open-file limit of 656 leaves no room for connections: 656 are reserved"},
		"configured":           {configured: 5, files: 10_000, want: 5},
		"more than there is":   {configured: 9_999, files: 10_000, want: 9_999, warning: true},
		"configured, too few":  {configured: 1, files: 10, want: 1, warning: true},
		"configured, no limit": {configured: 2_000_000, files: math.MaxUint64, want: 2_000_000, warning: false},
	} {
		t.Run(name, func(t *testing.T) {
			c := config.Default()
			c.Limits.Connections, c.Limits.Handshakes = tt.configured, handshakes
			c.Verifiers = []config.Verifier{{DSN: "sqlite:x"}, {}}
			c.Authorizers = []config.Authorizer{{}}
			var log output
			got, err := connectionLimit(c, tt.files, slog.New(slog.NewTextHandler(&log, nil)))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %q", err, tt.err)
				}
				return
			}
			if got != tt.want || err != nil {
				t.Errorf("%d, %v; want %d", got, err, tt.want)
			}
			if warned := strings.Contains(log.String(), "level=WARN"); warned != tt.warning {
				t.Errorf("the log is %q", log.String())
			}
		})
	}
}

func TestOpenFiles(t *testing.T) {
	n, err := openFiles()
	if err != nil || n < 64 {
		t.Errorf("%d, %v", n, err)
	}
	if again, err := openFiles(); again != n || err != nil {
		t.Errorf("the second time %d, %v; want %d", again, err, n)
	}
}

// What verifiers and authorizers ask takes files, which clients cannot have.
func TestAuthnFiles(t *testing.T) {
	c := &config.Config{
		Verifiers: []config.Verifier{
			{Kind: config.KindDRFToken, DSN: "sqlite:a", Listen: true},
			{Kind: config.KindJWT, Users: "postgres://a"},
			{Kind: config.KindJWT},
			{Kind: config.KindCallback},
		},
		Authorizers: []config.Authorizer{{Kind: config.KindSQL, DSN: "sqlite:a"}, {Kind: config.KindGrants}, {Kind: config.KindCallback}},
	}
	if got, want := authnFiles(c), 3*16+1+2*authn.MaxCallbackConns; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}
