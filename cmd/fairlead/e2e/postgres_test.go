//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postgresBin returns the folder of PostgreSQL's server programs: that of initdb in PATH, or the newest of Debian's.
func postgresBin(t *testing.T) string {
	t.Helper()
	if p, err := exec.LookPath("initdb"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil { // its siblings are where it really is
			return filepath.Dir(p)
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("no PostgreSQL here: want initdb in PATH or in /usr/lib/postgresql/*/bin (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(found[len(found)-1])
}

// serverUser is whom PostgreSQL runs as: it refuses root. Nil: the user of the test.
func serverUser(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("running as root, and there is neither a user postgres nor nobody to run PostgreSQL as")
	return nil
}

// A loopback address of its own for the database: no client's socket can take the port.
const postgresHost, postgresPort = "127.0.0.10", "5432"

// postgresDSN is the database that startPostgres makes, and its superuser.
var postgresDSN = "postgres://django@" + net.JoinHostPort(postgresHost, postgresPort) + "/postgres?sslmode=disable"

// startPostgres starts a PostgreSQL server of the test's own at postgresDSN, and returns what makes commands of its
// programs. Nothing is left behind: not the server, not its files.
func startPostgres(t *testing.T) (command func(name string, args ...string) *exec.Cmd) {
	t.Helper()
	bin, as := postgresBin(t), serverUser(t)
	dir, err := os.MkdirTemp("", "fairlead-postgres-") //nolint:usetesting // what is above t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	command = func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGQUIT}
		cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
		return cmd
	}
	if out, err := command("initdb", "-D", data, "-U", "django", "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}

	var log bytes.Buffer
	server := command("postgres", "-D", data, "-h", postgresHost, "-p", postgresPort, "-k", dir, "-c", "fsync=off")
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatalf("postgres: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Wait()
	}()
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGINT) // the fast shutdown
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			server.Process.Signal(syscall.SIGQUIT) // the immediate one
			<-done
		}
	})
	eventually(t, 20*time.Second, func() error {
		select {
		case <-done:
			t.Fatalf("postgres has ended: %s", log.String())
		default:
		}
		return command("pg_isready", "-q", "-d", postgresDSN).Run()
	})
	return command
}

// startDjangoPostgres starts a server with the SQL dump of a Django's database in it.
func startDjangoPostgres(t *testing.T, dump string) {
	t.Helper()
	command := startPostgres(t)

	sql, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	load := command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", postgresDSN)
	load.Stdin = bytes.NewReader(sql)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, strings.TrimSpace(string(out)))
	}
}

// TestAuthnOnPostgres runs those tests of package authn that need a PostgreSQL: it is here that one is started.
func TestAuthnOnPostgres(t *testing.T) {
	startPostgres(t)
	cmd := exec.Command("go", "test", "-tags=e2e", "-count=1", "-run=Postgres", "-v", "../../../authn")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "FAIRLEAD_TEST_POSTGRES="+postgresDSN) // as the program is built
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("--- PASS: Test")); n == 0 {
		t.Errorf("no test ran:\n%s", out)
	} else {
		t.Logf("%d tests passed", n)
	}
	for line := range strings.Lines(string(out)) { // the figures
		if strings.Contains(line, "questions for") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
