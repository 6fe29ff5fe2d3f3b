//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// builder makes and runs images with buildah, which needs no daemon. What it makes goes with the test.
type builder struct{ dir string }

func newBuilder(t *testing.T) *builder {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Fatalf("%v (Debian: apt-get install buildah busybox-static)", err)
	}
	// Not t.TempDir: the image's user has to reach it.
	dir, err := os.MkdirTemp("", "fairlead-image-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{dir}
	t.Cleanup(func() {
		if out, err := b.command("rm", "--all").CombinedOutput(); err != nil {
			t.Errorf("buildah rm: %v\n%s", err, out)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *builder) command(args ...string) *exec.Cmd {
	cmd := exec.Command("buildah", append([]string{
		"--storage-driver", "vfs", "--root", filepath.Join(b.dir, "root"), "--runroot", filepath.Join(b.dir, "run"),
	}, args...)...)
	cmd.Dir = repository
	return cmd
}

func (b *builder) run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := b.command(args...).CombinedOutput(); err != nil {
		t.Fatalf("buildah %s: %v\n%s", args[0], err, out)
	}
}

// goEnv asks the go command.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// standIn makes the image that the Dockerfile begins with, of what is on this machine: a shell, certificates, and (mounted
// while it is used) this machine's Go with what it has downloaded and built.
func (b *builder) standIn(t *testing.T, name string) (mounts []string) {
	t.Helper()
	dir := filepath.Join(b.dir, "go")
	for from, to := range map[string]string{"/bin/busybox": "bin/sh", "/etc/ssl/certs/ca-certificates.crt": "etc/ssl/certs/ca-certificates.crt"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatalf("%v (Debian: apt-get install busybox-static ca-certificates)", err)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := "FROM scratch\nCOPY . /\nARG GOPROXY\nARG GOSUMDB\n" +
		"ENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOCACHE=/cache GOTOOLCHAIN=local GOPROXY=$GOPROXY GOSUMDB=$GOSUMDB\n"
	containerfile := filepath.Join(b.dir, "Containerfile")
	if err := os.WriteFile(containerfile, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	b.run(t, "bud", "--isolation", "chroot", "-t", name, "-f", containerfile,
		"--build-arg", "GOPROXY="+goEnv(t, "GOPROXY"), "--build-arg", "GOSUMDB="+goEnv(t, "GOSUMDB"), dir)
	for name, path := range map[string]string{"GOROOT": "/usr/local/go:ro", "GOMODCACHE": "/go/pkg/mod", "GOCACHE": "/cache"} {
		mounts = append(mounts, "--volume", goEnv(t, name)+":"+path)
	}
	return mounts
}

// TestImage builds the image of deploy/Dockerfile and runs it: it answers, is healthy, runs as nobody in particular, and
// stops when it is told to.
func TestImage(t *testing.T) {
	b := newBuilder(t)
	mounts := b.standIn(t, "docker.io/library/golang:1.26")
	b.run(t, append(append([]string{"bud", "--isolation", "chroot", "--pull-never", "-f", "deploy/Dockerfile", "-t", "fairlead"}, mounts...), ".")...)
	b.run(t, "from", "--pull-never", "--name", "node", "localhost/fairlead")

	config := filepath.Join(b.dir, "fairlead.toml")
	if err := os.WriteFile(config, []byte(configHead+jwtRoutes), 0o644); err != nil {
		t.Fatal(err)
	}
	b.run(t, "run", "--isolation", "chroot", "--volume", config+":/etc/fairlead.toml:ro", "node", "--", "/fairlead", "config", "check", "--config", "/etc/fairlead.toml")
	p := startProcess(t, "buildah", b.command("run", "--isolation", "chroot", "--volume", config+":/etc/fairlead.toml:ro",
		"node", "--", "/fairlead", "serve", "--config", "/etc/fairlead.toml"))
	n := &node{done: p.done}
	eventually(t, 20*time.Second, func() error {
		if err := p.running(); err != nil {
			t.Fatalf("%v\n%s", err, p.logged())
		}
		n.mu.Lock()
		n.log.Reset()
		n.log.WriteString(p.logged())
		n.mu.Unlock()
		if n.findAddresses(); n.public == "" {
			return fmt.Errorf("no addresses in the log")
		}
		return n.ready()
	})
	b.run(t, "run", "--isolation", "chroot", "node", "--", "/healthcheck", "http://"+n.internal+"/readyz")
	if err := b.command("run", "--isolation", "chroot", "node", "--", "/healthcheck", "http://"+n.internal+"/no-such").Run(); err == nil {
		t.Error("the health check takes any answer")
	}
	c := dial(t, n.public, "/ws/app_1?token="+token(t, "1"))
	meet(t, 5*time.Second, c)

	pid := serving(t, config)
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid != 65532 || s.Gid != 65532 {
		t.Errorf("the node runs as %d:%d, want 65532:65532", s.Uid, s.Gid)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, _ := c.wait(t, 10*time.Second); code != 1012 {
		t.Errorf("the client is closed with %d, want 1012", code)
	}
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Fatal("the node runs on")
	}
	if !p.cmd.ProcessState.Success() {
		t.Errorf("the node ends with %v", p.cmd.ProcessState)
	}
}

// serving returns the process of the node in the image, which has nothing else in its file system: its program is the
// /fairlead of a mount of this builder, and its file with the configuration is this one's.
func serving(t *testing.T, config string) int {
	t.Helper()
	want, err := os.Stat(config)
	if err != nil {
		t.Fatal(err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || !bytes.HasPrefix(line, []byte("/fairlead\x00serve\x00")) {
			continue
		}
		if got, err := os.Stat(filepath.Join(p, "root/etc/fairlead.toml")); err == nil && os.SameFile(got, want) {
			var pid int
			if _, err := fmt.Sscanf(filepath.Base(p), "%d", &pid); err == nil {
				return pid
			}
		}
	}
	t.Fatal("no process is the node in the image")
	return 0
}
