package fairlead_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fairlead-ws/fairlead"

// floors is the table of docs/design.md, "Packages": a package imports only floors below its own. Siblings on one floor
// are blind to one another. A folder stands for all packages in it; the longest match decides (session/journal).
var floors = map[string]int{
	"session":         0,
	"metrics":         0,
	"actor/limit":     0,
	"authn":           1,
	"bus":             1,
	"session/journal": 1,
	"actor":           2,
	"gateway":         3,
	"api":             3,
	"bench":           4,
	"cmd/fairlead":    4,
	"deploy":          4,
	"examples":        4,
}

// goPackage is the part of a package of `go list -json` that the check reads.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// home returns the folder of floors that the import path stands in. ok is false for packages of other modules.
// name is "" for a package of this module that the table does not know.
func home(path string) (name string, ok bool) {
	rel, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return "", false
	}
	for folder := range floors {
		if (rel == folder || strings.HasPrefix(rel, folder+"/")) && len(folder) > len(name) {
			name = folder
		}
	}
	return name, true
}

// violations returns a line for each import that the table forbids, sorted.
func violations(packages []goPackage) []string {
	var found []string
	for _, p := range packages {
		from, ok := home(p.ImportPath)
		if ok && from == "" {
			found = append(found, fmt.Sprintf("%s has no floor: give it one in docs/design.md and in architecture_test.go", p.ImportPath))
			continue
		}
		for _, to := range p.Imports {
			if why := forbidden(from, to, false); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", p.ImportPath, to, why))
			}
		}
		for _, to := range slices.Concat(p.TestImports, p.XTestImports) {
			if why := forbidden(from, to, true); why != "" {
				found = append(found, fmt.Sprintf("a test of %s imports %s: %s", p.ImportPath, to, why))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// forbidden says why a package in the folder from ("" for the root package) may not import the path to, or returns "".
func forbidden(from, to string, inTest bool) string {
	if !inTest {
		std := !strings.Contains(strings.SplitN(to, "/", 2)[0], ".")
		http := to == "net/http" || strings.HasPrefix(to, "net/http/")
		switch {
		case from == "session" && !std && !strings.HasPrefix(to, module+"/"):
			return "session imports the standard library only"
		case (from == "gateway" || from == "actor") && http:
			return "handshakes and actors work on the raw connection, without net/http"
		}
	}
	target, ok := home(to)
	switch {
	case !ok || target == from && from != "":
		return ""
	case target == "":
		return "the imported package has no floor"
	case from == "" && !inTest: // its tests are examples
		return "the root package imports nothing of the module"
	case from == "":
		return ""
	case from == "bench":
		return "bench knows the wire, not the server"
	case target == "metrics" && from != "cmd/fairlead":
		return "only cmd/fairlead imports metrics; take a prometheus.Registerer in Config"
	case floors[target] >= floors[from]:
		return fmt.Sprintf("%s stands on floor %d and %s on floor %d; a package imports only floors below its own",
			from, floors[from], target, floors[target])
	}
	return ""
}

// listPackages asks the go command for every package of the module, the end-to-end tests included.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags=e2e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("output of go list: %v", err)
		}
		packages = append(packages, p)
	}
}

func TestImportDirection(t *testing.T) {
	packages := listPackages(t)
	for _, v := range violations(packages) {
		t.Error(v)
	}
	// A table that matches nothing would pass as well: each folder must hold a package.
	for folder := range floors {
		if !slices.ContainsFunc(packages, func(p goPackage) bool { h, _ := home(p.ImportPath); return h == folder }) {
			t.Errorf("no package in %s: the table in architecture_test.go names a folder that is not there", folder)
		}
	}
	if t.Failed() {
		t.Log("the table of floors is in docs/design.md, section Packages")
	}
}

// TestImportDirectionCheck shows that the check can fail, and on what.
func TestImportDirectionCheck(t *testing.T) {
	pkg := func(name string, imports ...string) goPackage {
		return goPackage{ImportPath: module + "/" + name, Imports: imports}
	}
	xtest := func(name string, imports ...string) goPackage {
		return goPackage{ImportPath: module + "/" + name, XTestImports: imports}
	}
	tests := []struct {
		name string
		give goPackage
		want string // a part of the one violation; "": none
	}{
		{"down one floor", pkg("actor", module+"/bus", "net", "github.com/gobwas/ws"), ""},
		{"down to the ground", pkg("gateway", module+"/session"), ""},
		{"inside one folder", pkg("bus/bustest", module+"/bus"), ""},
		{"cmd imports all", pkg("cmd/fairlead", module+"/metrics", module+"/gateway", "net/http"), ""},
		{"api speaks HTTP", pkg("api", "net/http"), ""},
		{"journal on session", pkg("session/journal/journaltest", module+"/session/journal", module+"/session"), ""},
		{"a test reads HTTP", xtest("gateway", "net/http"), ""},
		{"a test of session uses a library", xtest("session", "go.uber.org/goleak"), ""},
		{"the root imports nothing", goPackage{ImportPath: module, Imports: []string{"fmt"}}, ""},
		{"an example of the root", goPackage{ImportPath: module, XTestImports: []string{module + "/gateway"}}, ""},

		{"up", pkg("authn", module+"/gateway"), "authn stands on floor 1 and gateway on floor 3"},
		{"siblings: authn and bus", pkg("authn", module+"/bus"), "only floors below"},
		{"siblings: bus and journal", pkg("bus", module+"/session/journal"), "only floors below"},
		{"siblings: journal and authn", pkg("session/journal", module+"/authn"), "only floors below"},
		{"siblings: gateway and api", pkg("gateway", module+"/api"), "only floors below"},
		{"session and its journal", pkg("session", module+"/session/journal"), "only floors below"},
		{"a test looks up", xtest("bus", module+"/actor"), "a test of " + module + "/bus imports"},
		{"a library in session", pkg("session", "github.com/gobwas/ws"), "standard library only"},
		{"HTTP in the handshake", pkg("gateway", "net/http"), "without net/http"},
		{"HTTP in the actor", pkg("actor", "net/http/httptrace"), "without net/http"},
		{"metrics beside cmd", pkg("bus", module+"/metrics"), "only cmd/fairlead imports metrics"},
		{"metrics in a test", xtest("api", module+"/metrics"), "only cmd/fairlead imports metrics"},
		{"bench and the server", pkg("bench", module+"/session"), "bench knows the wire"},
		{"cmd and bench", pkg("cmd/fairlead", module+"/bench"), "only floors below"},
		{"a new folder", pkg("helpers", "fmt"), "has no floor"},
		{"a name that only begins alike", pkg("bustle", "fmt"), "has no floor"},
		{"an import of a new folder", pkg("gateway", module+"/helpers"), "the imported package has no floor"},
		{"the root imports a package", goPackage{ImportPath: module, Imports: []string{module + "/bus"}}, "root package imports nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := violations([]goPackage{tt.give})
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("refused: %s", got)
			case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("got %q, want one violation with %q", got, tt.want)
			}
		})
	}
}
