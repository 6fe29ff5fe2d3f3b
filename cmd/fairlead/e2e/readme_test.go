//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestREADMECases pastes what README.md says, case by case, and wants what it promises.
func TestREADMECases(t *testing.T) {
	b, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, cases, ok1 := strings.Cut(string(b), "\n## Four cases\n")
	cases, _, ok2 := strings.Cut(cases, "\n## ")
	sections := strings.Split(cases, "\n### ")
	want := []map[string]int{ // lines, and parts of lines, with how often they come
		{"ahoi\n": 1, "refused with 401": 1},
		{"ahoi\n": 1, "refused with 403": 1},
		{"ahoi from zoë\n": 2, "refused with 403": 1}, // zoë hears herself
		{"ahoi\n": 1, "refused with 403": 1},
	}
	if !ok1 || !ok2 || len(sections) != 1+len(want) {
		t.Fatalf("README.md has %d sections about the seed cases, want %d", len(sections)-1, len(want))
	}
	for i, section := range sections[1:] {
		title, _, _ := strings.Cut(section, "\n")
		t.Run(title, func(t *testing.T) {
			blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(section, -1)
			if len(blocks) != 2 {
				t.Fatalf("%d blocks of commands, want two: one to serve, one to connect", len(blocks))
			}
			file, ok := strings.CutPrefix(strings.TrimSpace(blocks[0][1]), "bin/fairlead serve --config ")
			if !ok {
				t.Fatalf("the first block is %q, want bin/fairlead serve --config FILE", blocks[0][1])
			}
			n := startNodeFile(t, file, "FAIRLEAD_LOG_FORMAT=json", "FAIRLEAD_LISTEN_PUBLIC=127.0.0.1:0", "FAIRLEAD_LISTEN_INTERNAL=127.0.0.1:0")
			script := strings.NewReplacer("bin/fairlead", programs.fairlead, "127.0.0.1:8000", n.public, "/tmp/", t.TempDir()+"/",
				"sleep 1", "sleep 3"). // a person waits a second for a client in the background; a busy machine may need more
				Replace(blocks[1][1])

			paste := exec.Command("bash", "-c", script+"wait\n")
			paste.Dir = repository
			out, err := paste.CombinedOutput()
			if err != nil {
				t.Errorf("%v", err)
			}
			for text, count := range want[i] {
				got := 0
				for line := range strings.Lines(string(out)) {
					if line == text || strings.HasPrefix(text, "refused") && strings.Contains(line, text) {
						got++
					}
				}
				if got != count {
					t.Errorf("%q came %d times, want %d, in:\n%s", text, got, count, out)
				}
			}
		})
	}
}
