//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go"
)

// The addresses of what docker-compose.yml runs, instead of its containers' names.
const stackBalancer = "127.0.0.30"

var (
	stackNATS  = []string{"127.0.0.21", "127.0.0.22", "127.0.0.23"}
	stackNodes = []string{"127.0.0.31", "127.0.0.32", "127.0.0.33"}
)

// TestStack runs what docker-compose.yml runs, with its files, as processes: three NATS servers with JetStream, PostgreSQL,
// three nodes and HAProxy in front of them.
func TestStack(t *testing.T) {
	command := startPostgres(t)
	initial := command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", postgresDSN)
	initial.Env = append(initial.Env, "FAIRLEAD_DB_PASSWORD="+secret)
	initial.Stdin = source(t, "deploy/postgres/init.sql")
	if out, err := initial.CombinedOutput(); err != nil {
		t.Fatalf("init.sql: %v\n%s", err, out)
	}
	key := stackUser(t, command)

	servers := startStackNATS(t)
	keys := filepath.Join(t.TempDir(), "api-keys")
	if err := os.WriteFile(keys, []byte("ops:"+strings.Repeat("a1", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dsn := strings.Replace(postgresDSN, "django@", "fairlead:"+secret+"@", 1)
	config := adapted(t, "deploy/fairlead.toml", "nats-1:", stackNATS[0]+":", "nats-2:", stackNATS[1]+":", "nats-3:", stackNATS[2]+":",
		"172.30.5.10/32", "127.0.0.1/32") // from where HAProxy connects here
	env := func(host string) []string {
		return []string{
			"FAIRLEAD_LISTEN_PUBLIC=" + host + ":8000", "FAIRLEAD_LISTEN_INTERNAL=" + host + ":9000", "FAIRLEAD_API_KEYS_FILE=" + keys,
			"FAIRLEAD_NATS_PASSWORD=" + secret, "FAIRLEAD_VERIFIER_JWT_SECRET=" + secret, "FAIRLEAD_VERIFIER_DRF_DSN=" + dsn,
			"FAIRLEAD_AUTHORIZER_MEMBER_DSN=" + dsn,
		}
	}
	var nodes []*node
	for _, host := range stackNodes {
		nodes = append(nodes, startNodeFile(t, config, env(host)...))
	}
	proxy := stackBalancer + ":8000"
	startHAProxy(t, "deploy/haproxy/haproxy.cfg", stackBalancer,
		"fairlead-1:", stackNodes[0]+":", "fairlead-2:", stackNodes[1]+":", "fairlead-3:", stackNodes[2]+":")

	granted, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"user_id": "1", "exp": time.Now().Add(time.Hour).Unix(), "groups": []string{"app_*"},
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	// One connection for each node, and one more: whichever way they come in, they are in one group.
	clients := []*client{
		dial(t, proxy, "/ws/app_1234", "Authorization: Token "+key),
		dial(t, proxy, "/ws/app_1234?token="+key),
		dial(t, proxy, "/feed/app_1234", "Authorization: Bearer "+granted),
		dial(t, proxy, "/feed/app_1234?token="+granted),
	}
	meet(t, 10*time.Second, clients...)
	for _, n := range nodes {
		if got := n.metric(t, "fairlead_connections"); got < 1 || got > 2 {
			t.Errorf("the node at %s has %v of the four connections: want one or two", n.public, got)
		}
	}
	together := func() {
		t.Helper()
		for _, n := range nodes {
			eventually(t, 20*time.Second, func() error {
				if err := n.ready(); err != nil {
					return err
				}
				if log, others := n.metric(t, "fairlead_journal_connected"), n.metric(t, "fairlead_peers"); log != 1 || others != 2 {
					return fmt.Errorf("the node at %s: its journal is connected: %v, it knows %v other nodes", n.public, log, others)
				}
				return nil
			})
		}
	}
	together()
	for target, status := range map[string]int{
		"/ws/app_5678?token=" + key: http.StatusForbidden, "/ws/app_1234?token=no-such": http.StatusUnauthorized,
		"/feed/other?token=" + granted: http.StatusForbidden, "/elsewhere": http.StatusNotFound,
	} {
		_, err := tryDial(t, proxy, target)
		wantStatus(t, err, status)
	}

	wantDoctor(t, config, env(stackNodes[0]))

	status, body, err := fetch("http://" + stackBalancer + ":8404/metrics")
	if err != nil || status != http.StatusOK || !strings.Contains(body, `haproxy_server_status{proxy="fairlead",server="fairlead-3",state="UP"} 1`) {
		t.Errorf("the balancer's metrics: %d, %v", status, err)
	}

	// One NATS server of three may go.
	if err := servers[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-servers[0].done
	forget(clients...)
	meet(t, 20*time.Second, clients...)
	together()
}

// wantDoctor fails the test unless `fairlead doctor` finds what the node needs; about the machine it may say what it likes.
func wantDoctor(t *testing.T, config string, env []string) {
	t.Helper()
	doctor := exec.Command(programs.fairlead, "doctor", "--config", config)
	doctor.Env = append(os.Environ(), env...)
	out, err := doctor.CombinedOutput()
	for _, what := range []string{"configuration", "verifier drf", "authorizer member", "NATS", "JetStream", "API keys", "node"} {
		if !strings.Contains(string(out), "ok    "+what+": ") {
			t.Errorf("fairlead doctor does not find %s well: %v\n%s", what, err, out)
		}
	}
}

// stackUser makes a user who may join app_1234, with the command of docs/deploy.md, and returns the token that it prints.
func stackUser(t *testing.T, command func(string, ...string) *exec.Cmd) string {
	t.Helper()
	b, err := io.ReadAll(source(t, "docs/deploy.md"))
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`(?s)docker compose exec postgres psql -U postgres django -c "(.*?)"\n`).FindSubmatch(b)
	if said == nil {
		t.Fatal("docs/deploy.md does not say how to make a user")
	}
	out, err := command("psql", "-X", "-q", "-t", "-A", "-d", postgresDSN, "-c", string(said[1])).CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// startStackNATS starts the three servers, and waits for their JetStream to have a leader.
func startStackNATS(t *testing.T) (servers []*process) {
	t.Helper()
	data := t.TempDir()
	for i, host := range stackNATS {
		name := fmt.Sprintf("nats-%d", i+1)
		file := adapted(t, "deploy/nats/nats.conf", "0.0.0.0:", host+":", `"/data"`, `"`+filepath.Join(data, name)+`"`,
			"nats-1:", stackNATS[0]+":", "nats-2:", stackNATS[1]+":", "nats-3:", stackNATS[2]+":")
		cmd := exec.Command(programs.nats, "--config", file, "--name", name)
		cmd.Env = append(os.Environ(), "NATS_PASSWORD="+secret)
		servers = append(servers, startProcess(t, "nats-server", cmd))
	}
	for _, host := range stackNATS {
		eventually(t, 30*time.Second, func() error {
			status, body, err := fetch("http://" + host + ":8222/healthz")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("NATS at %s: %d: %s", host, status, body)
			}
			return err
		})
	}
	if nc, err := nats.Connect("nats://" + stackNATS[0] + ":4222"); err == nil {
		nc.Close()
		t.Error("NATS lets in whoever has no password")
	}
	return servers
}

// source opens a file of the repository.
func source(t *testing.T, file string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join(repository, file))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
