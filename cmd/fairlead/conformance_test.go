package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn/conformance"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/gateway"
)

var (
	conformanceFile  = flag.String("conformance.file", "", "another file of conformance cases (default: those of authn/testdata)")
	conformanceTable = flag.Bool("conformance.table", false, "print the table of what agreed, and by which rule what differs")
)

// variations are what the settings of the servers were: the environment that makes the same of the conformance routes.
var variations = map[string]func(t *testing.T) []string{
	"":               func(*testing.T) []string { return nil },
	"sess-cached_db": func(*testing.T) []string { return []string{"FAIRLEAD_VERIFIER_SESSION_ENGINE=cached_db"} },
	"sess-signed_cookies": func(*testing.T) []string {
		// One of the cases is a cookie of the day on which the cases were made: here the days go on.
		return []string{"FAIRLEAD_VERIFIER_SESSION_ENGINE=signed_cookies", "FAIRLEAD_VERIFIER_SESSION_COOKIE_AGE=87600h"}
	},
	"sess-file": func(t *testing.T) []string {
		return []string{"FAIRLEAD_VERIFIER_SESSION_ENGINE=file", "FAIRLEAD_VERIFIER_SESSION_SESSION_DIR=" + sessionFiles(t)}
	},
	// ALLOWED_HOSTS = ["*"]; none at all; none with DEBUG, which are then Django's own; one with a port, which matches nothing.
	"hosts-star":        allowedHosts("*"),
	"hosts-empty":       allowedHosts("none.invalid"),
	"hosts-empty-debug": allowedHosts("localhost", "127.0.0.1", "[::1]"),
	"hosts-port":        allowedHosts("none.invalid"),
}

func allowedHosts(hosts ...string) func(*testing.T) []string {
	return func(*testing.T) []string {
		list := strings.Join(hosts, ",")
		return []string{"FAIRLEAD_ROUTE_0_ORIGINS=" + list, "FAIRLEAD_ROUTE_1_ORIGINS=" + list}
	}
}

// subprotocols is the setting of what the route /s/proto speaks: what the servers' endpoint was seen to.
func subprotocols(cases []conformance.Case) string {
	return "FAIRLEAD_ROUTE_12_SUBPROTOCOLS=" + cmp.Or(strings.Join(conformance.Spoken(cases), ","), "v1.chat")
}

// sessionFiles returns a folder with the session files of the fixtures, as young as Django kept them.
func sessionFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("authn/testdata/session_files/sessionid*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no session files: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(to, time.Time{}, time.Date(2096, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// goldens say which rule decided which case, by the file of the cases.
var goldens = map[string]string{
	"authn/testdata/conformance.json":     "cmd/fairlead/testdata/conformance/differs.golden",
	"authn/testdata/conformance_odd.json": "cmd/fairlead/testdata/conformance/differs_odd.golden",
}

// TestConformance sends what was sent to a real Django to nodes with the same routes, and wants the answers that Django
// gave, or those that the rules of docs/from-channels.md say. Which rule decided which case is in the goldens.
func TestConformance(t *testing.T) {
	t.Chdir(filepath.Join("..", "..")) // the configuration names the database as seen from there
	files := slices.Sorted(maps.Keys(goldens))
	if *conformanceFile != "" {
		files = []string{*conformanceFile}
	}
	facts, err := conformance.LoadFacts("authn/testdata/fixtures.json")
	if err != nil {
		t.Fatal(err)
	}
	c := &conformer{expecter: conformance.NewExpecter(facts), consumer: startConsumer(t), nodes: map[string]*serving{}}
	for _, file := range files {
		cases, err := conformance.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		differs, unknown := c.run(t, cases)
		checkDifferences(t, file, differs, unknown)
	}
	if *conformanceTable {
		if err := c.report.Write(os.Stdout); err != nil {
			t.Fatal(err)
		}
	}
}

// conformer runs cases, and counts what became of them.
type conformer struct {
	expecter *conformance.Expecter
	report   conformance.Report
	consumer string
	nodes    map[string]*serving // by the variation and the subprotocols
}

// run returns what differs, a case a line, and how many cases nobody could act out.
func (cf *conformer) run(t *testing.T, cases []conformance.Case) (differs string, unknown int) {
	t.Helper()
	var lines strings.Builder
	for i := range cases {
		c := &cases[i]
		if variations[c.Variation] == nil { // of settings that nobody here knows
			cf.report.Add(conformance.Result{Case: c, Verdict: conformance.Unknown})
			unknown++
			continue
		}
		a := &conformance.Actor{Node: cf.node(t, c.Variation, subprotocols(cases)), Consumer: cf.consumer, Tokens: []string{keys["alice"], keys["zoë"]}}
		r := conformance.Run(cf.expecter, a, c)
		cf.report.Add(r)
		switch r.Verdict {
		case conformance.Wrong:
			t.Error(r)
		case conformance.Differs:
			fmt.Fprintf(&lines, "%s | %s | %s | %s | %s\n", r.Rule, cmp.Or(c.Variation, "as it was"), c.Group, c.Name, r.Got)
		case conformance.Unknown:
			unknown++
		case conformance.Agreed:
		}
	}
	return lines.String(), unknown
}

// node returns the address of a node with the settings of the variation.
func (cf *conformer) node(t *testing.T, variation, protocols string) string {
	t.Helper()
	key := variation + " " + protocols
	if cf.nodes[key] == nil {
		cf.nodes[key] = startServe(t, append(variations[variation](t), "FAIRLEAD_DRAIN_WINDOW=10ms", protocols), "--config", "cmd/fairlead/testdata/conformance/fairlead.toml")
	}
	return cf.nodes[key].public
}

// checkDifferences compares what differs, and by which rule, with the golden of that very file of cases. Of other cases it
// can say nothing.
func checkDifferences(t *testing.T, file, differs string, unknown int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden, ok := goldens[file]
	if !ok { // other cases, or those of a golden under another name
		golden = goldens["authn/testdata/conformance.json"]
	}
	head := fmt.Sprintf("# the cases with the SHA-256 %x\n", sha256.Sum256(b))
	if *update && ok {
		if err := os.WriteFile(golden, []byte(head+differs), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	switch {
	case err != nil:
		t.Fatal(err)
	case !strings.HasPrefix(string(want), head):
		t.Logf("%s is about other cases than those of %s", golden, file)
	case string(want) != head+differs:
		t.Errorf("what differs, and by which rule, is not what %s has (-update writes it):\n%s", golden, differs)
	case unknown > 0:
		t.Errorf("%d cases were not acted out", unknown)
	}
}

// consumer does to each connection what its client says: "close CODE" or "panic".
type consumer struct{ actor.Handler }

func (consumer) Message(a *actor.Actor, m actor.Message) {
	word, arg, _ := strings.Cut(string(m.Payload), " ")
	code, err := strconv.ParseUint(arg, 10, 16)
	if word != "close" || err != nil {
		panic("as the case wants it")
	}
	a.Close(actor.CloseCode(code), "")
}

// startConsumer serves a program of Fairlead's packages at the address that it returns.
func startConsumer(t *testing.T) (addr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	rooms, err := bus.NewLocal(bus.LocalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- gateway.Run(ctx, l, 10*time.Millisecond, actor.Config{Bus: rooms, Logger: slog.New(slog.DiscardHandler)}, gateway.Config{
			Logger: slog.New(slog.DiscardHandler),
			Routes: []gateway.Route{{Path: "/consumer", Handler: consumer{actor.Ignore}, AllowAnonymous: true}},
		})
	}()
	t.Cleanup(func() {
		cancel()
		err := <-ended
		if closeErr := rooms.Close(context.Background()); err != nil || closeErr != nil {
			t.Error(fmt.Errorf("the consumer: %w, its bus: %w", err, closeErr))
		}
	})
	return l.Addr().String()
}

// TestDocumentedDifferences: the table of docs/from-channels.md has the rules, in their order, and no other.
func TestDocumentedDifferences(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "from-channels.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\n## Where Fairlead differs\n")
	var got [][2]string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| .* \\| (.*) \\|$").FindAllStringSubmatch(text, -1) {
		got = append(got, [2]string{m[1], m[2]})
	}
	if want := conformance.Words(); !slices.Equal(got, want) {
		t.Errorf("the table has\n%q\nwant\n%q", got, want)
	}
}
