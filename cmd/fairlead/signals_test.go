package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a `fairlead serve` in a process of its own, with some clients.
func process(t *testing.T, window string) (cmd *exec.Cmd, out *output, clients []*client) {
	t.Helper()
	out = &output{}
	cmd = exec.Command("fairlead", "serve", "--config", writeFile(t, "fairlead.toml", anyone), "--log-format", "json",
		"--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0")
	cmd.Env = append(cmd.Environ(), "FAIRLEAD_DRAIN_WINDOW="+window)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, has(out, `"msg":"serving"`))
	s := &serving{stderr: out}
	s.findAddresses()
	eventually(t, func() error { return s.ready(200) })
	for range 10 {
		clients = append(clients, dial(t, "ws://"+s.public+"/ws/a"))
	}
	return cmd, out, clients
}

func TestSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd, out, clients := process(t, "100ms")
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			for _, c := range clients {
				c.wantClosed(1012)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v:\n%s", err, out)
			}
			if !strings.Contains(out.String(), `"msg":"stopped"`) {
				t.Errorf("it did not stop in order:\n%s", out)
			}
		})
	}
}

func TestSecondSignal(t *testing.T) {
	cmd, out, _ := process(t, "10m")
	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, has(out, `"msg":"stopping`))
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGINT) {
		t.Errorf("the exit code is %d, want %d", code, 128+int(syscall.SIGINT))
	}
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	if !strings.Contains(out.String(), "a second signal (interrupt): not waiting for the drain") {
		t.Errorf("it does not say why it ended:\n%s", out)
	}
}
