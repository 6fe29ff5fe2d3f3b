//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// debian runs a program of a Debian package in the folder of the repository, and returns what it says.
func debian(t *testing.T, pkg, folder, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v (Debian: apt-get install %s)", err, pkg)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = filepath.Join(repository, folder)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestPrometheus lets promtool check what Prometheus is given, run the tests of the alerts, and read the dashboard's
// expressions.
func TestPrometheus(t *testing.T) {
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"}, // and the rules that it names
		{"test", "rules", "alerts_test.yml"},
	} {
		if out, err := debian(t, "prometheus", "deploy/prometheus", "promtool", args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}

	b, err := io.ReadAll(source(t, "deploy/grafana/dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	count := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("panel %q: %s has a variable that the dashboard does not have", p.Title, target.Expr)
			}
			fmt.Fprintf(&rules, "      - record: panel:%d\n        expr: %q\n", count, expr)
			count++
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := debian(t, "prometheus", ".", "promtool", "check", "rules", file); err != nil || !strings.Contains(out, fmt.Sprintf("%d rules found", count)) {
		t.Errorf("promtool check rules, with the %d expressions of the dashboard: %v\n%s", count, err, out)
	}
}

// TestSystemd lets systemd read the unit, with the program where it is here.
func TestSystemd(t *testing.T) {
	unit := adapted(t, "deploy/systemd/fairlead.service", "/usr/local/bin/fairlead", programs.fairlead)
	if out, err := debian(t, "systemd", ".", "systemd-analyze", "verify", "--man=no", unit); err != nil || strings.Contains(out, filepath.Base(unit)) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if out, err := debian(t, "systemd", ".", "systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit); err != nil {
		t.Errorf("systemd-analyze security: exposed by more than 2.0: %v\n%s", err, out)
	}
	broken := adapted(t, "deploy/systemd/fairlead.service", "/usr/local/bin/fairlead", programs.fairlead, "LimitNOFILE=", "LimitFiles=")
	if out, err := debian(t, "systemd", ".", "systemd-analyze", "verify", "--man=no", broken); err == nil && !strings.Contains(out, "LimitFiles") {
		t.Errorf("systemd-analyze verify takes anything: %s", out)
	}
}
