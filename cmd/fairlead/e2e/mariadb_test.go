//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A loopback address of its own for the database: no client's socket can take the port.
const mariadbHost, mariadbPort = "127.0.0.11", "3306"

// mariadbDSN is the database that startMariaDB makes, and a user who may do everything.
var mariadbDSN = "mysql://django:django-pw@" + net.JoinHostPort(mariadbHost, mariadbPort) + "/django"

// mariadbProgram returns where a program of MariaDB's is: in PATH, or where Debian has those of servers.
func mariadbProgram(t *testing.T, name string) string {
	t.Helper()
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	p := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("no MariaDB here: want %s in PATH or in /usr/sbin (Debian: apt-get install mariadb-server)", name)
	}
	return p
}

// startMariaDB starts a MariaDB server of the test's own at mariadbDSN, in which Django could work (utf8mb4), and returns
// what runs SQL there. Nothing is left behind: not the server, not its files.
func startMariaDB(t *testing.T) (execute func(sql string)) {
	t.Helper()
	as := serverUser(t)
	dir, err := os.MkdirTemp("", "fairlead-mariadb-") //nolint:usetesting // what is above t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "socket")
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(mariadbProgram(t, name), args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
		cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
		return cmd
	}
	if out, err := command("mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve").CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}

	var log bytes.Buffer
	server := command("mariadbd", "--no-defaults", "--datadir="+data, "--socket="+socket, "--pid-file="+filepath.Join(dir, "pid"),
		"--bind-address="+mariadbHost, "--port="+mariadbPort, "--skip-name-resolve", "--skip-log-bin", "--skip-ssl",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--character-set-server=utf8mb4")
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatalf("mariadbd: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Wait()
	}()
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			server.Process.Kill()
			<-done
		}
	})
	run := func(sql string) error {
		cmd := command("mariadb", "--no-defaults", "--socket="+socket, "--user=root", "--default-character-set=utf8mb4", "--batch")
		cmd.Stdin = strings.NewReader(sql)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("mariadb: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}
	eventually(t, 30*time.Second, func() error {
		select {
		case <-done:
			t.Fatalf("mariadbd has ended: %s", log.String())
		default:
		}
		return run("SELECT 1")
	})
	execute = func(sql string) {
		t.Helper()
		if err := run(sql); err != nil {
			t.Fatal(err)
		}
	}
	execute(`CREATE DATABASE django CHARACTER SET utf8mb4;
		CREATE USER django@'%' IDENTIFIED BY 'django-pw'; GRANT ALL ON *.* TO django@'%'`)
	return execute
}

// TestAuthnOnMariaDB runs those tests of package authn that need a MySQL or a MariaDB: it is here that one is started.
func TestAuthnOnMariaDB(t *testing.T) {
	startMariaDB(t)
	cmd := exec.Command("go", "test", "-tags=e2e", "-count=1", "-run=MySQL", "-v", "../../../authn")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "FAIRLEAD_TEST_MYSQL="+mariadbDSN) // as the program is built
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("--- PASS: Test")); n == 0 {
		t.Errorf("no test ran:\n%s", out)
	} else {
		t.Logf("%d tests passed", n)
	}
}
