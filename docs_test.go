package fairlead_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are the Markdown files that people read.
func pages(t *testing.T) map[string]string {
	t.Helper()
	top, err1 := filepath.Glob("*.md")
	below, err2 := filepath.Glob("*/*.md")
	examples, err3 := filepath.Glob("examples/*/*.md")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for _, file := range slices.Concat(top, below, examples) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text[file] = string(b)
	}
	return text
}

// TestQuotedFiles: a block that begins with "# file: PATH" is that file, to the letter; one that begins with
// "// part of PATH" is a part of it.
func TestQuotedFiles(t *testing.T) {
	block := regexp.MustCompile("(?ms)^```\\w+\n(# file:|// part of) (\\S+)\n(.*?)^```$")
	seen := 0
	for page, text := range pages(t) {
		for _, m := range block.FindAllStringSubmatch(text, -1) {
			seen++
			b, err := os.ReadFile(m[2])
			if err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			whole := strings.TrimPrefix(string(b), "# file: "+m[2]+"\n")
			if m[1] == "# file:" && m[3] != whole || !strings.Contains(whole, m[3]) {
				t.Errorf("%s quotes %s, but the file has\n%s", page, m[2], whole)
			}
		}
	}
	if seen < 6 {
		t.Errorf("%d quoted files: want the four seed cases, the example of the configuration and that of embedding", seen)
	}
}

// TestLinks: a link inside the repository leads to a file, and one to a heading to a heading.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	anchor := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, heading, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			b, err := os.ReadFile(target)
			if info, serr := os.Stat(target); serr == nil && info.IsDir() && heading == "" {
				continue
			} else if err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			found := heading == ""
			for line := range strings.Lines(string(b)) {
				if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
					title = anchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
					found = found || strings.ReplaceAll(title, " ", "-") == heading
				}
			}
			if !found {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
}

// TestMetricsAreDocumented: docs/metrics.md has the names that there are, with their labels, and no others.
func TestMetricsAreDocumented(t *testing.T) {
	page, golden := pages(t)["docs/metrics.md"], "cmd/fairlead/testdata/metrics.golden"
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(fairlead_\w+)\{([\w,]*)\} `).FindAllStringSubmatch(string(b), -1) {
		want[m[1]] = true
		row := regexp.MustCompile("(?m)^\\|.*`" + m[1] + "`.*$").FindString(page)
		if row == "" {
			t.Errorf("%s is not in docs/metrics.md", m[1])
			continue
		}
		for label := range strings.SplitSeq(m[2], ",") {
			if label != "" && !strings.Contains(row, "`"+label+"`") {
				t.Errorf("%s has the label %s, which docs/metrics.md does not say", m[1], label)
			}
		}
	}
	if len(want) == 0 {
		t.Fatalf("no metrics in %s", golden)
	}
	for _, name := range regexp.MustCompile(`fairlead_[a-z_]+`).FindAllString(page, -1) {
		if !want[name] {
			t.Errorf("docs/metrics.md has %s, which is no metric", name)
		}
	}
}

// TestReasonsAreDocumented: docs/refusals.md has each reason that the gateway has, with its status.
func TestReasonsAreDocumented(t *testing.T) {
	page := pages(t)["docs/refusals.md"]
	b, err := os.ReadFile("gateway/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadFile("authn/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`name: (?:"(\w+)"|string\(authn\.(\w+)\)), status: (\d+)`).FindAllStringSubmatch(string(b), -1)
	if len(found) < 30 {
		t.Fatalf("gateway/reason.go has %d reasons: it is written otherwise than this test reads it", len(found))
	}
	for _, m := range found {
		name, status := m[1], m[3]
		if m[2] != "" {
			value := regexp.MustCompile(m[2] + ` +Reason = "(\w+)"`).FindStringSubmatch(string(names))
			if value == nil {
				t.Fatalf("authn/errors.go has no %s", m[2])
			}
			name = value[1]
		}
		if status == "101" {
			continue
		}
		if !regexp.MustCompile("(?m)^\\| " + status + " \\|.*`" + name + "`").MatchString(page) {
			t.Errorf("docs/refusals.md does not have %s with %s", name, status)
		}
	}
}
