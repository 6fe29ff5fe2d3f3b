//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// operate runs a command of the program against the node.
func (n *node) operate(args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command(programs.fairlead, args...)
	cmd.Env = append(os.Environ(), "FAIRLEAD_API=http://"+n.internal)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), e.ExitCode()
	} else if err != nil {
		return "", err.Error(), -1
	}
	return out.String(), errs.String(), 0
}

// sessions returns what conn ls lists of the user, and what it says is missing.
func (n *node) sessions(user string) (ids []string, missing string) {
	out, missing, _ := n.operate("conn", "ls", "--user", user)
	for line := range strings.Lines(out) {
		if id, _, _ := strings.Cut(line, " "); id != "SESSION" {
			ids = append(ids, id)
		}
	}
	return ids, missing
}

// An operator asks any node for all, also while one of them is stuck, and when one was killed.
func TestOperator(t *testing.T) {
	a, b := cluster(t, startNATS(t))
	onA := dial(t, a.public, "/ws/app_1?token="+token(t, "42"))
	onB := dial(t, b.public, "/ws/app_1?token="+token(t, "42"))
	kept := dial(t, b.public, "/ws/app_1?token="+token(t, "43"))
	meet(t, 10*time.Second, onA, onB, kept)
	for _, n := range []*node{a, b} {
		eventually(t, 10*time.Second, func() error {
			if ids, missing := n.sessions("42"); len(ids) != 2 || missing != "" {
				return fmt.Errorf("%v, %q", ids, missing)
			}
			return nil
		})
	}
	ids, _ := a.sessions("43")
	if len(ids) != 1 {
		t.Fatalf("user 43 has %v", ids)
	}

	// One node stands still: what it has is missing, and nobody waits for it for long.
	b.signal(t, syscall.SIGSTOP)
	start := time.Now()
	found, missing := a.sessions("42")
	if took := time.Since(start); len(found) != 1 || !strings.Contains(missing, "is missing in this: it does not answer in time") || took > 8*time.Second {
		t.Errorf("with a node that stands still: %v, %q, after %v", found, missing, took)
	}
	if out, errs, code := a.operate("conn", "kick", "--user", "42"); code != 1 || out != "closed 1\n" || !strings.Contains(errs, "not done everywhere") {
		t.Errorf("a kick: %d %q %q", code, out, errs)
	}
	if status, _ := onA.wait(t, 5*time.Second); status != 4403 {
		t.Errorf("the connection that was kicked ends with %d", status)
	}
	// The journal is shared: a session's life can be read without its node.
	if out, errs, code := a.operate("conn", "log", ids[0]); code != 0 || !strings.Contains(out, "opened  user 43 by jwt") {
		t.Errorf("the life of a session whose node stands still: %d %q %q", code, out, errs)
	}
	b.signal(t, syscall.SIGCONT)
	eventually(t, 10*time.Second, func() error {
		if ids, missing := a.sessions("43"); len(ids) != 1 || missing != "" {
			return fmt.Errorf("%v, %q", ids, missing)
		}
		return nil
	})
	if out, errs, code := a.operate("conn", "kick", "--user", "42", "--code", "1012"); code != 0 {
		t.Errorf("a kick on the other node: %d %q %q", code, out, errs)
	}
	onB.wait(t, 5*time.Second) // with the first kick or the second: the node may have heard both

	// It is killed: its sessions are lost as soon as it is not heard of any more.
	b.signal(t, syscall.SIGKILL)
	eventually(t, 20*time.Second, func() error {
		if out, errs, _ := a.operate("conn", "show", ids[0]); !strings.Contains(out, "lost") {
			return fmt.Errorf("%q %q", out, errs)
		}
		return nil
	})
	if ids, missing := a.sessions("43"); len(ids) != 0 || missing != "" {
		t.Errorf("of a node that is gone: %v, %q", ids, missing)
	}
}

// While NATS is away a node answers for itself, and says for whom it does not.
func TestOperatorWithoutNATS(t *testing.T) {
	s := startNATS(t)
	a, b := cluster(t, s)
	onA := dial(t, a.public, "/ws/app_1?token="+token(t, "42"))
	onB := dial(t, b.public, "/ws/app_1?token="+token(t, "42"))
	meet(t, 10*time.Second, onA, onB)
	eventually(t, 10*time.Second, func() error {
		if ids, _ := a.sessions("42"); len(ids) != 2 {
			return fmt.Errorf("%v", ids)
		}
		return nil
	})
	s.kill()
	eventually(t, 10*time.Second, func() error {
		if ids, missing := a.sessions("42"); len(ids) != 1 || !strings.Contains(missing, "NATS is away, so it cannot be asked") {
			return fmt.Errorf("%v, %q", ids, missing)
		}
		return nil
	})
	if _, body, err := a.get("/api/v1/groups/app_1"); err != nil || !strings.Contains(body, `"members":1`) {
		t.Errorf("%s, %v", body, err)
	}
}
