package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/report"
	"github.com/fairlead-ws/fairlead/bench/internal/trial"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// bench runs a command line in this process.
func bench(t *testing.T, args ...string) (out, stderr string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	err = run(t.Context(), args, strings.NewReader(""), &o, &e)
	return o.String(), e.String(), err
}

func TestHelp(t *testing.T) {
	for _, arg := range []string{"help", "--help", "-h"} {
		out, _, err := bench(t, arg)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commands {
			if !strings.Contains(out, "\n  "+c.name+" ") || !strings.Contains(out, c.summary) {
				t.Errorf("%s does not name %s", arg, c.name)
			}
		}
		for _, hidden := range []string{crowdWord, loopWord} {
			if strings.Contains(out, hidden) {
				t.Errorf("%s names %s, which is nobody's business", arg, hidden)
			}
		}
	}
	for _, c := range commands {
		if _, stderr, err := bench(t, c.name, "--help"); !errors.Is(err, flag.ErrHelp) || !strings.Contains(stderr, "-json") {
			t.Errorf("%s --help: %v, %q", c.name, err, stderr)
		}
	}
}

func TestUsage(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{nil, errUsage.Error()},
		{[]string{"idel"}, `no command "idel"`},
		{[]string{"idle", "now"}, `unexpected "now"`},
		{[]string{"idle", "-n", "0"}, "0 is too few"},
		{[]string{"idle", "-groups", "all"}, `-groups "all"`},
		{[]string{"idle", "-via", "none"}, "wants a token"},
		{[]string{"handshake", "-via", "body"}, "no place for a token"},
		{[]string{"fanout", "-rate", "0"}, "-rate 0"},
		{[]string{"fanout", "-client", "parse"}, "want discard or sweep"},
		{[]string{"flood", "-duration", "0s"}, "-duration 0s"},
		{[]string{"flood", "-what"}, "not defined: -what"},
		{[]string{"stall", "-stalled", "-1"}, "-1 is too few"},
		{[]string{"tls", "-n", "0"}, "0 is too few"},
		{[]string{"compress", "-rate", "0"}, "-rate 0"},
		{[]string{"cycle", "-rounds", "0"}, "0 is too few"},
		{[]string{"cycle", "-rounds", "3"}, "even number"},
		{[]string{"auth", "-cases", "HS256; HS257"}, `"HS257" is none of them`},
		{[]string{"auth", "-peers", "gunicorn"}, `"gunicorn" is none of them`},
		{[]string{"auth", "-n", "0"}, "0 is too few"},
		{[]string{"storm", "-window", "0"}, "0 is too few"},
		{[]string{"recheck", "-every", "10ms"}, "0 is too few"},
		{[]string{"recheck", "-n", "10", "-revoked", "11"}, "-revoked 11"},
		{[]string{"auth", "storm", "now"}, `auth storm: unexpected "now"`},
		{[]string{"auth", "storm", "-n", "1"}, "not defined: -n"},
		{[]string{"all", "-server", "/nonexistent/server"}, "no such file"},
		{[]string{loopWord}, "want connections and bytes"},
		{[]string{loopWord, "a", "1"}, "invalid syntax"},
	}
	for _, tt := range tests {
		if out, _, err := bench(t, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("bench %q: %v with %q, want an error with %q", tt.args, err, out, tt.want)
		}
	}
}

// TestCommands runs each command, small, from its flags to its report: the server and the clients are processes.
func TestCommands(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	tests := []struct {
		args    []string
		figures int
		trials  []string
	}{
		{[]string{"idle", "-n", "20", "-wait", "10ms"}, 22, []string{"idle, one group", "idle, a group each"}},
		{[]string{"handshake", "-n", "20", "-rounds", "1"}, 9, []string{"handshake"}},
		{[]string{"fanout", "-n", "20", "-rate", "500", "-warm", "1", "-messages", "10", "-pairs", "1"}, 6, []string{"fanout"}},
		{[]string{"flood", "-n", "20", "-duration", "50ms", "-runs", "1", "-client", "sweep"}, 6, []string{"flood"}},
		{[]string{"cycle", "-n", "30", "-warm", "1", "-rounds", "2"}, 6, []string{"cycle"}},
		{[]string{"auth", "-n", "20", "-rounds", "1", "-cases", "HS256; ticket", "-peers", ""}, 6, []string{"auth, HS256", "auth, ticket"}},
	}
	for _, tt := range tests {
		t.Run(tt.args[0], func(t *testing.T) {
			out, stderr, err := bench(t, append(tt.args, "-server", os.Args[0], "-json")...)
			if err != nil && !errors.Is(err, errMissed) {
				t.Fatal(err)
			}
			var r report.Report
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%v in %q", err, out)
			}
			if (err != nil) != (r.Missed() > 0) {
				t.Errorf("%d targets missed, but the error is %v", r.Missed(), err)
			}
			if len(r.Figures) != tt.figures || r.Server != "peer 1.0" || !strings.HasPrefix(r.Command, "bench "+tt.args[0]+" -n") {
				t.Errorf("%d figures of %q by %q", len(r.Figures), r.Server, r.Command)
			}
			for _, want := range tt.trials {
				found := false
				for _, f := range r.Figures {
					found = found || f.Trial == want
				}
				if !found {
					t.Errorf("no figure of %q", want)
				}
			}
			if !strings.Contains(stderr, "s  ") {
				t.Errorf("no progress: %q", stderr)
			}
		})
	}
	if left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestEndsEarly has the second trial of two fail: what the first has measured is reported all the same.
func TestEndsEarly(t *testing.T) {
	first := trial.Idle{Connections: 5, Wait: time.Millisecond, Via: wire.ViaHeader}
	second := trial.Idle{Connections: 1 << 30, Wait: time.Millisecond, Via: wire.ViaHeader} // more than there are files
	c := command{"two", "two trials", func(*flag.FlagSet) func() ([]runner, error) {
		return func() ([]runner, error) { return []runner{first, second}, nil }
	}}
	var out, stderr bytes.Buffer
	err := runTrials(t.Context(), c, []string{"-server", os.Args[0]}, &out, &stderr)
	if err == nil || !strings.Contains(err.Error(), "open files") {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"resident bytes per connection", "note: ended early: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestText runs without progress, for people, and has no C compiler.
func TestText(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	out, stderr, err := bench(t, "fanout", "-q", "-n", "10", "-rate", "500", "-warm", "1", "-messages", "5", "-pairs", "1", "-server", os.Args[0])
	if err != nil && !errors.Is(err, errMissed) {
		t.Fatal(err)
	}
	if stderr != "" {
		t.Errorf("-q, but %q", stderr)
	}
	for _, want := range []string{"bench fanout -q -n 10", "peer 1.0; Linux", "send loop CPU per send", "at most 1.150: ", "note: the send loop is the one in Go"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestAllHasEveryTrial: whoever adds a command adds it to all.
func TestAllHasEveryTrial(t *testing.T) {
	var single int
	for _, c := range commands {
		runners, err := c.define(flag.NewFlagSet(c.name, flag.ContinueOnError))()
		if err != nil {
			t.Fatal(err)
		}
		if c.name == "all" {
			if len(runners) != single {
				t.Errorf("all has %d trials, the others have %d", len(runners), single)
			}
			return
		}
		single += len(runners)
	}
	t.Error("no command all")
}
