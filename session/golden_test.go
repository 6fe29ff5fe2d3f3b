package session

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The files of testdata/v1 are what earlier versions wrote: journals hold such records. Files are added, for a new kind
// or a new field; none is ever changed or removed.

// goldens returns the texts of testdata/v1 by file name.
func goldens(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/v1/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	m := make(map[string]string)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m[filepath.Base(file)] = strings.TrimSuffix(string(b), "\n")
	}
	return m
}

func TestGoldens(t *testing.T) {
	seen := make(map[Kind]bool)
	for file, text := range goldens(t) {
		var r Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		b, err := json.Marshal(r)
		if err != nil || string(b) != text {
			t.Errorf("%s: encoded again it is\n%s (%v), want\n%s", file, b, err, text)
		}
		if kind := r.Event.Kind(); !strings.HasPrefix(file, string(kind)) && file != "unknown.json" {
			t.Errorf("%s holds a record of kind %s", file, kind)
		}
		if _, unknown := r.Event.(Unknown); unknown != (file == "unknown.json") {
			t.Errorf("%s holds a %T", file, r.Event)
		}
		seen[r.Event.Kind()] = true
	}
	for _, kind := range kinds(t) {
		if !seen[kind] {
			t.Errorf("kind %s has no golden", kind)
		}
	}
}

// kinds returns the constants of type Kind that event.go declares, so that a new one cannot go without its golden.
func kinds(t *testing.T) []Kind {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []Kind
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Kind" {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, Kind(text))
		}
		return true
	})
	if !slices.Contains(kinds, KindOpened) {
		t.Fatalf("event.go declares the kinds %v, without %q: this test reads it wrongly", kinds, KindOpened)
	}
	return kinds
}

// TestEveryKindIsKnown holds together what must be changed for a new kind: the list, the switch that decodes, the types.
func TestEveryKindIsKnown(t *testing.T) {
	if got, want := Kinds(), kinds(t); !slices.Equal(got, want) {
		t.Errorf("Kinds() = %v, but event.go declares %v", got, want)
	}
	for _, kind := range Kinds() {
		e, err := decodeEvent(kind, json.RawMessage("{}"))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if _, unknown := e.(Unknown); unknown || e.Kind() != kind {
			t.Errorf("%s is decoded to a %T of kind %s", kind, e, e.Kind())
		}
		r := Record{Seq: 1, Event: Unknown{Name: kind, Data: json.RawMessage("{}")}}
		if err := r.Check(); err == nil {
			t.Errorf("an Unknown named %s passes Check", kind)
		}
	}
}
