package main

import (
	"os"
	"path/filepath"
	"regexp"
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
