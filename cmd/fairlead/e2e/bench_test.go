//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBenchAuth runs the trials of credentials, small, with the parts that they need: PostgreSQL, and Django Channels on both
// its servers. What they cost is no matter here: the machine is busy.
func TestBenchAuth(t *testing.T) {
	program := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", program, "../../../bench").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, args := range [][]string{
		{"auth", "-n", "20", "-rounds", "1", "-cases", "RS256, JWKS; drf_token, cached; django_session, cached; callback, cached; ticket"},
		{"storm", "-n", "500"},
		{"recheck", "-n", "200", "-every", "3s", "-rest", "100ms", "-revoked", "10"},
	} {
		t.Run(args[0], func(t *testing.T) {
			var said strings.Builder
			cmd := exec.CommandContext(t.Context(), program, append(args, "-json", "-server", programs.fairlead)...)
			cmd.Stderr = &said
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			cmd.WaitDelay = 5 * time.Second
			out, err := cmd.Output()
			var report struct {
				Figures []struct {
					Trial, Name string
					Value       float64
					Target      float64
					Met         *bool
				}
				Notes []string
			}
			if bad := json.Unmarshal(out, &report); bad != nil || len(report.Figures) == 0 {
				t.Fatalf("%v, %v\n%s", err, bad, said.String())
			}
			for _, n := range report.Notes {
				t.Errorf("%s\n%s", n, said.String())
			}
			trials := map[string]bool{}
			for _, f := range report.Figures {
				trials[f.Trial] = true
				// What counts something holds on a busy machine too; what measures time need not.
				if counted := strings.Contains(f.Name, "queries") || strings.Contains(f.Name, "connections"); counted && f.Met != nil && !*f.Met {
					t.Errorf("%s: %s is %v, want %v", f.Trial, f.Name, f.Value, f.Target)
				}
			}
			if want := map[string]int{"auth": 9, "storm": 2, "recheck": 1}[args[0]]; len(trials) != want {
				t.Errorf("figures of %d trials, want %d: %v", len(trials), want, fmt.Sprint(trials))
			}
		})
	}
}
