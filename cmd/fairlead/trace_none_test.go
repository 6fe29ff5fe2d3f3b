//go:build !otel

package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNoTraces: a program that traces nothing has nothing of OpenTelemetry in it, and says so to whoever counts on it.
func TestNoTraces(t *testing.T) {
	list := func(tags string) string {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-tags="+tags, "-deps", ".").Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		return string(out)
	}
	if strings.Contains(list(""), "go.opentelemetry.io/") {
		t.Error("OpenTelemetry is in the program")
	}
	if !strings.Contains(list("otel"), "go.opentelemetry.io/otel/sdk/trace\n") {
		t.Error("OpenTelemetry is not in the program with the tag otel")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", anyone))
	if log := s.stderr.String(); !strings.Contains(log, "-tags otel") {
		t.Errorf("the log does not say that there are no traces:\n%s", log)
	}
}
