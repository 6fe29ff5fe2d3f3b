package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guided starts serve --dev and returns the lines of its guide that are to be pasted.
func guided(t *testing.T) (*serving, []string) {
	t.Helper()
	s := startServe(t, nil, "--dev", "--nats-listen", "127.0.0.1:0")
	var lines []string
	eventually(t, func() error {
		if !strings.Contains(s.stdout.String(), "Ctrl-C stops.") {
			return errors.New("no guide yet")
		}
		return nil
	})
	for line := range strings.Lines(s.stdout.String()) {
		if rest, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, strings.TrimSpace(rest))
		}
	}
	return s, lines
}

// TestDevGuide pastes what serve --dev prints into a shell.
func TestDevGuide(t *testing.T) {
	s, lines := guided(t)
	if len(lines) != 7 {
		t.Fatalf("the guide has %d lines to paste: %q", len(lines), lines)
	}
	shell := func(line string) (*exec.Cmd, *output) {
		out := &output{}
		cmd := exec.Command("sh", "-c", "exec "+line)
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}
	var typists []*os.File
	var outputs []*output
	for i, name := range []string{"alice", "bob"} {
		cmd, out := shell(lines[i])
		stdin, typist, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = stdin
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stdin.Close()
		t.Cleanup(func() {
			typist.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		})
		typists, outputs = append(typists, typist), append(outputs, out)
		eventually(t, has(out, `"name":"`+name+`"`))
	}
	if _, err := typists[0].WriteString("hello bob\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, has(outputs[1], "\nhello bob\n"))
	eventually(t, has(outputs[0], "\nhello bob\n"))

	publish, out := shell(lines[2])
	if err := publish.Run(); err != nil {
		t.Fatalf("%s: %v: %s", lines[2], err, out)
	}
	for _, o := range outputs {
		eventually(t, has(o, "\nhello from outside\n"))
	}

	url := regexp.MustCompile(`^wscat -c '(.+)'$`).FindStringSubmatch(lines[3])
	if url == nil {
		t.Fatalf("the line for wscat is %q", lines[3])
	}
	greeted(t, url[1]).send("hello from wscat")
	eventually(t, has(outputs[1], "\nhello from wscat\n"))

	if want := "curl -s http://" + s.internal + "/metrics | grep ^fairlead"; lines[4] != want {
		t.Errorf("the line for metrics is %q, want %q", lines[4], want)
	}
	if _, err := exec.LookPath("curl"); err == nil {
		curl, out := shell(lines[5])
		if err := curl.Run(); err != nil {
			t.Errorf("%s: %v: %s", lines[5], err, out)
		}
		eventually(t, has(outputs[1], "\nhello from curl\n"))
	}
	ls, out := shell(lines[6])
	if err := ls.Run(); err != nil || !strings.Contains(out.String(), "(alice)") || !strings.Contains(out.String(), "(bob)") {
		t.Errorf("%s: %v: %s", lines[6], err, out)
	}
	for _, secret := range regexp.MustCompile(`eyJ[\w.-]+`).FindAllString(s.stdout.String(), -1) {
		if strings.Contains(s.stderr.String(), secret) {
			t.Error("a token is in the log")
		}
	}
}

// has returns an error until the output has the text.
func has(o *output, text string) func() error {
	return func() error {
		if s := "\n" + o.String(); !strings.Contains(s, text) {
			return errors.New("no " + text + " in " + s)
		}
		return nil
	}
}

func TestDevRefusesStrangers(t *testing.T) {
	s, _ := guided(t)
	if _, err := tryDial(t, "ws://"+s.public+"/ws/demo", nil); !errors.Is(err, refused(401)) {
		t.Errorf("without a token: %v, want 401", err)
	}
	other, _ := guided(t)
	token := regexp.MustCompile(`\?token=([^']+)`).FindStringSubmatch(other.stdout.String())[1]
	if _, err := tryDial(t, "ws://"+s.public+"/ws/demo?token="+token, nil); !errors.Is(err, refused(401)) {
		t.Errorf("with the token of another start: %v, want 401", err)
	}
}

// TestDevDefaults: what the guide says without --nats-url is what publish --dev does, and nobody else can connect.
func TestDevDefaults(t *testing.T) {
	c := devConfig()
	for _, address := range []string{c.Listen.Public, c.Listen.Internal, c.NATS.Listen} {
		if host, _, err := net.SplitHostPort(address); err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("it listens on %s, want loopback", address)
		}
	}
	guide, err := devGuide(c, "fairlead", devPublic, devInternal, "nats://"+devNATS)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"    fairlead publish --dev demo 'hello from outside'\n", "    fairlead connect --token eyJ", " ws://127.0.0.1:8000/ws/demo\n",
		"    wscat -c 'ws://127.0.0.1:8000/ws/demo?token=eyJ", "    curl -s http://127.0.0.1:9000/metrics | grep ^fairlead\n",
		" http://127.0.0.1:9000/api/v1/publish\n", "    fairlead conn ls\n",
	} {
		if !strings.Contains(guide, want) {
			t.Errorf("there is no %q in\n%s", want, guide)
		}
	}
	if strings.Contains(guide, c.Verifiers[0].Secret) {
		t.Error("the guide shows the secret")
	}
	if other := devConfig(); other.Verifiers[0].Secret == c.Verifiers[0].Secret {
		t.Error("two starts have the same secret")
	}
	if got := natsAddress(c); got != "nats://"+devNATS {
		t.Errorf("publish goes to %s", got)
	}
}

func TestStartedAs(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	for program, want := range map[string]string{
		"fairlead": "fairlead", "/usr/bin/fairlead": "/usr/bin/fairlead", "./bin/fair lead": "'./bin/fair lead'",
		"/tmp/go-build1/b001/exe/fairlead": "go run ./cmd/fairlead",
	} {
		if got := startedAs(program); got != want {
			t.Errorf("startedAs(%q) is %q, want %q", program, got, want)
		}
	}
	t.Chdir(t.TempDir())
	if got := startedAs("/tmp/go-build1/b001/exe/fairlead"); got != "/tmp/go-build1/b001/exe/fairlead" {
		t.Errorf("elsewhere it is %q", got)
	}
}

func TestLoopback(t *testing.T) {
	for _, tt := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, "127.0.0.1:1"},
		{&net.TCPAddr{IP: net.IPv6zero, Port: 2}, "127.0.0.1:2"},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 3}, "[::1]:3"},
		{&net.UnixAddr{Name: "/s", Net: "unix"}, "/s"},
	} {
		if got := loopback(tt.addr); got != tt.want {
			t.Errorf("loopback(%v) is %s, want %s", tt.addr, got, tt.want)
		}
	}
}
