package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestREADME: the first screen has the command and the test, and all four configurations are there to paste.
func TestREADME(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, m := range regexp.MustCompile("(?ms)^```toml\n# file: (\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(b), -1) {
		blocks[m[1]] = m[2]
	}
	files, err := filepath.Glob("testdata/seed/*.toml")
	if err != nil || len(files) != 4 {
		t.Fatalf("the seed cases are %q, %v", files, err)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := blocks["cmd/fairlead/"+filepath.ToSlash(file)]; got != string(want) {
			t.Errorf("README.md has for %s\n%s\nwant\n%s", file, got, want)
		}
	}
}

// TestREADMETour pastes the tour into a shell, in its order: publish, metric, list, log, kick, log, drain.
func TestREADMETour(t *testing.T) {
	for _, program := range []string{"curl", "awk"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("there is no " + program)
		}
	}
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tour, _ := strings.Cut(string(b), "\n## A tour\n")
	tour, _, _ = strings.Cut(tour, "\n## ")
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(tour, -1)
	if len(blocks) != 3 {
		t.Fatalf("the tour has %d blocks of commands, want three: to serve, to publish, to look and close", len(blocks))
	}
	if !strings.HasSuffix(blocks[0][1], "\nbin/fairlead serve --dev\n") {
		t.Errorf("the first block is %q, want it to end with serve --dev", blocks[0][1])
	}

	s, lines := guided(t)
	paste := func(text string) string {
		t.Helper()
		adapt := strings.NewReplacer("bin/fairlead", "fairlead", "127.0.0.1:9000", s.internal)
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", adapt.Replace(text))
		cmd.Env = append(os.Environ(), "FAIRLEAD_API=http://"+s.internal)
		out := &output{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v: %s", text, err, out)
		}
		return out.String()
	}
	connect := func() (out *output, ended func()) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "exec "+lines[0]+" --stay")
		out = &output{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, has(out, `"name":"alice"`))
		return out, func() { _ = cmd.Wait() } // with 4, as connect does when it is closed
	}
	metric := func(out, want string) {
		t.Helper()
		if !strings.HasSuffix(out, "\nfairlead_deliveries_total "+want+"\n") {
			t.Errorf("the metric is not %s in %s", want, out)
		}
	}

	alice, ended := connect()
	metric(paste(blocks[1][1]), "1")
	eventually(t, has(alice, "\nhello\n"))
	metric(paste(blocks[1][1]), "2")
	out := paste(blocks[2][1])
	ended()
	for text, count := range map[string]int{"1 (alice)": 1, "  opened  user 1 by dev": 2, "groups demo; by header Authorization, dev\n": 2, "closed 1\n": 1, "  closed  4403 bye": 1} {
		if got := strings.Count(out, text); got != count {
			t.Errorf("%q came %d times, want %d, in:\n%s", text, got, count, out)
		}
	}
	if err := has(alice, "closed with 4403: bye\n")(); err != nil {
		t.Error(err)
	}

	alice, ended = connect()
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	ended()
	if err := has(alice, "closed with 1012: the node restarts: connect again\n")(); err != nil {
		t.Error(err)
	}
}
