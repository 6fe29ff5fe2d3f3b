// Package tools_test checks files of the repository that need a library which the server does not: docker-compose.yml,
// what it builds and mounts, and what watches the nodes.
package tools_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// root is the repository, seen from this package's folder.
const root = ".."

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// secrets runs the commands at the head of docker-compose.yml that make its secrets, in a folder of the test's own, and
// returns that and the variables.
func secrets(t *testing.T) (dir string, env []string) {
	t.Helper()
	head, _, _ := strings.Cut(readFile(t, "docker-compose.yml"), "docker compose up")
	_, head, ok := strings.Cut(head, "#\n")
	if !ok {
		t.Fatal("the head of docker-compose.yml has no commands")
	}
	script := regexp.MustCompile(`(?m)^#`).ReplaceAllString(head, "")
	dir = t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, ".env"))
	if err != nil {
		t.Fatal(err)
	}
	env = strings.Fields(string(b))
	for _, v := range env {
		if _, value, ok := strings.Cut(v, "="); !ok || len(value) != 64 {
			t.Errorf("the secret %.20q… is not 64 digits", v)
		}
	}
	return dir, env
}

// compose loads docker-compose.yml as Docker Compose does: with its schema, and with the secrets that its head makes.
func compose(t *testing.T) *types.Project {
	t.Helper()
	_, env := secrets(t)
	p, err := load(t, env)
	if err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return p
}

func load(t *testing.T, env []string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")},
		cli.WithWorkingDirectory(root), cli.WithName("fairlead"), cli.WithEnv(env), cli.WithInterpolation(true))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(t.Context())
}

// TestComposeSecrets: each variable is asked for, and each that the head makes is used.
func TestComposeSecrets(t *testing.T) {
	_, env := secrets(t)
	if _, err := load(t, env); err != nil {
		t.Fatal(err)
	}
	for i := range env {
		if _, err := load(t, slices.Delete(slices.Clone(env), i, i+1)); err == nil {
			t.Errorf("docker-compose.yml loads without %s", strings.SplitN(env[i], "=", 2)[0])
		}
	}
	// Any value that looks like a secret comes from there.
	for _, s := range compose(t).Services {
		for name, value := range s.Environment {
			if regexp.MustCompile(`SECRET|PASSWORD|DSN`).MatchString(name) && !regexp.MustCompile(`[0-9a-f]{64}`).MatchString(*value) {
				t.Errorf("%s: %s has its value in the file: want it from the environment", s.Name, name)
			}
		}
	}
	ignored := readFile(t, ".gitignore") + readFile(t, ".dockerignore")
	for _, name := range []string{".env", "api-keys"} {
		if !strings.Contains(ignored, "\n/"+name+"\n") || !strings.Contains(ignored, "\n"+name+"\n") {
			t.Errorf("%s is in git or in the image: want it in .gitignore and .dockerignore", name)
		}
	}
}

func TestComposeServices(t *testing.T) {
	p := compose(t)
	want := []string{
		"fairlead-1", "fairlead-2", "fairlead-3", "grafana", "loadbalancer", "nats-1", "nats-2", "nats-3", "postgres", "prometheus",
	}
	if got := p.ServiceNames(); !slices.Equal(got, want) {
		t.Errorf("the services are %q, want %q", got, want)
	}
	for _, s := range p.Services {
		h := s.HealthCheck
		if h == nil || len(h.Test) < 2 || h.Test[0] != "CMD" || h.Interval == nil || h.Timeout == nil || h.Retries == nil {
			t.Errorf("%s: healthcheck %+v: want a command, an interval, a timeout and retries", s.Name, h)
		}
		for on, d := range s.DependsOn {
			if d.Condition != types.ServiceConditionHealthy {
				t.Errorf("%s: depends_on %s with condition %q: want one that is healthy", s.Name, on, d.Condition)
			}
		}
		if s.Build == nil && !regexp.MustCompile(`:v?\d+\.?\d*`).MatchString(s.Image) {
			t.Errorf("%s: image %q: want a version", s.Name, s.Image)
		}
		if s.Restart != "unless-stopped" {
			t.Errorf("%s: restart is %q", s.Name, s.Restart)
		}
	}
}

// number returns the digits of the one place in the text that the pattern matches.
func number(t *testing.T, text, pattern string) int {
	t.Helper()
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	if len(found) != 1 {
		t.Fatalf("%q matches %d times, want once", pattern, len(found))
	}
	n, err := strconv.Atoi(found[0][1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestComposePorts: what is published is listened on, no host port is published twice, and only the balancer's is open to
// the network.
func TestComposePorts(t *testing.T) {
	config, balancer := readFile(t, "deploy/fairlead.toml"), readFile(t, "deploy/haproxy/haproxy.cfg")
	public, internal := number(t, config, `public += "0\.0\.0\.0:(\d+)"`), number(t, config, `internal += "0\.0\.0\.0:(\d+)"`)
	front, operation := number(t, balancer, `frontend websockets\n\tbind 0\.0\.0\.0:(\d+)`), number(t, balancer, `frontend operation\n\tbind 0\.0\.0\.0:(\d+)`)
	if check := number(t, balancer, `check port (\d+)`); check != internal {
		t.Errorf("the balancer checks port %d, the nodes answer on %d", check, internal)
	}
	listened := map[string][]int{
		"loadbalancer": {front, operation}, "prometheus": {9090}, "grafana": {3000}, "postgres": {5432},
		"nats-1": {number(t, readFile(t, "deploy/nats/nats.conf"), `\nlisten: "0\.0\.0\.0:(\d+)"`)},
	}
	p := compose(t)
	var nodes []string
	for _, name := range p.ServiceNames() {
		if strings.HasPrefix(name, "fairlead") {
			nodes = append(nodes, name)
			listened[name] = []int{public, internal}
			if !strings.Contains(balancer, "\tserver "+name+" "+name+":"+strconv.Itoa(public)+"\n") {
				t.Errorf("%s is not behind the balancer", name)
			}
			if !strings.Contains(readFile(t, "deploy/prometheus/prometheus.yml"), `"`+name+":"+strconv.Itoa(internal)+`"`) {
				t.Errorf("Prometheus does not ask %s", name)
			}
		}
	}
	hostPorts := map[string]string{}
	for _, s := range p.Services {
		for _, port := range s.Ports {
			if !slices.Contains(listened[s.Name], int(port.Target)) {
				t.Errorf("%s: port %d is published, it listens on %v", s.Name, port.Target, listened[s.Name])
			}
			if other, taken := hostPorts[port.Published]; taken {
				t.Errorf("%s and %s both publish host port %s", s.Name, other, port.Published)
			}
			hostPorts[port.Published] = s.Name
			if port.HostIP != "127.0.0.1" && (s.Name != "loadbalancer" || int(port.Target) != front) {
				t.Errorf("%s: port %d is open to the network: only the balancer's may be", s.Name, port.Target)
			}
		}
	}
	if len(nodes) != 3 || len(hostPorts) < 6 {
		t.Errorf("nodes %q, host ports %v", nodes, hostPorts)
	}
}

// TestComposeAddresses: the nodes believe the balancer, and nobody else, on who a client is.
func TestComposeAddresses(t *testing.T) {
	p := compose(t)
	seen := map[string]bool{}
	for _, s := range p.Services {
		for _, n := range s.Networks {
			if n == nil {
				continue
			}
			if seen[n.Ipv4Address] || !strings.HasPrefix(n.Ipv4Address, "172.30.5.") {
				t.Errorf("%s: address %s", s.Name, n.Ipv4Address)
			}
			seen[n.Ipv4Address] = true
		}
	}
	if subnet := p.Networks["default"].Ipam.Config[0].Subnet; subnet != "172.30.5.0/24" {
		t.Errorf("the network is %s", subnet)
	}
	want := `trusted_proxies = ["` + p.Services["loadbalancer"].Networks["default"].Ipv4Address + `/32"]`
	if !strings.Contains(readFile(t, "deploy/fairlead.toml"), "\n"+want) {
		t.Errorf("deploy/fairlead.toml has not %s", want)
	}
}

// TestComposeStop: a node has the time that its drain takes, and the balancer notices before the node stops accepting.
func TestComposeStop(t *testing.T) {
	config := readFile(t, "deploy/fairlead.toml")
	delay, window := number(t, config, `shutdown_delay = "(\d+)s"`), number(t, config, `window += "(\d+)s"`)
	for _, s := range compose(t).Services {
		if s.Build == nil {
			continue
		}
		if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < time.Duration(delay+window+20)*time.Second {
			t.Errorf("%s: stop_grace_period is %v, the drain takes %d s and up to 20 more", s.Name, s.StopGracePeriod, delay+window)
		}
	}
	balancer := readFile(t, "deploy/haproxy/haproxy.cfg")
	if needs := number(t, balancer, `inter (\d+)s`) * number(t, balancer, `fall (\d+)`); delay <= needs {
		t.Errorf("shutdown_delay is %d s, the balancer needs %d", delay, needs)
	}
}

// TestComposeFiles: what is mounted is there, cannot be written to, and is where the program looks for it.
func TestComposeFiles(t *testing.T) {
	names := map[string]string{ // where the images' programs look
		"fairlead":     readFile(t, "deploy/Dockerfile") + readFile(t, "deploy/fairlead.toml"),
		"nats":         "/etc/nats.conf " + readFile(t, "deploy/nats/nats.conf"),
		"loadbalancer": "/usr/local/etc/haproxy/haproxy.cfg",
		"postgres":     "/docker-entrypoint-initdb.d/init.sql /var/lib/postgresql/data",
		"prometheus":   "/etc/prometheus/prometheus.yml /etc/prometheus/alerts.yml /prometheus " + readFile(t, "deploy/prometheus/prometheus.yml"),
		"grafana":      "/etc/grafana/provisioning/datasources /etc/grafana/provisioning/dashboards /etc/grafana/dashboards /var/lib/grafana",
	}
	p := compose(t)
	used := map[string]bool{}
	for _, s := range p.Services {
		if s.Build != nil {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: build: %v", s.Name, err)
			}
		}
		kind, _, _ := strings.Cut(s.Name, "-")
		for _, v := range s.Volumes {
			if !strings.Contains(names[kind], v.Target) && !strings.Contains(names[kind], filepath.Dir(v.Target)) {
				t.Errorf("%s: nobody looks for %s", s.Name, v.Target)
			}
			if v.Type == types.VolumeTypeVolume {
				if _, ok := p.Volumes[v.Source]; !ok || used[v.Source] {
					t.Errorf("%s: volume %s is not declared, or another's", s.Name, v.Source)
				}
				used[v.Source] = true
				continue
			}
			info, err := os.Stat(v.Source)
			if filepath.Base(v.Source) != "api-keys" && (err != nil || !info.Mode().IsRegular()) || !v.ReadOnly {
				t.Errorf("%s: %s: %v: want a file, read-only", s.Name, v.Source, err)
			}
		}
	}
	if len(used) != len(p.Volumes) {
		t.Errorf("volumes %v are declared, %v are used", p.VolumeNames(), used)
	}
}

// TestComposeConfigs: the nodes' configuration is a good one, with the environment that the containers have.
func TestComposeConfigs(t *testing.T) {
	program := filepath.Join(t.TempDir(), "fairlead")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/fairlead")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dir, env := secrets(t)
	p, err := load(t, env)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Services {
		if s.Build == nil {
			continue
		}
		check := func(env ...string) (string, error) {
			cmd := exec.CommandContext(t.Context(), program, "config", "check", "--config", filepath.Join(root, "deploy", "fairlead.toml"))
			for name, value := range s.Environment {
				cmd.Env = append(cmd.Env, name+"="+*value)
			}
			cmd.Env = append(cmd.Env, env...)
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		if out, err := check("FAIRLEAD_API_KEYS_FILE=" + filepath.Join(dir, "api-keys")); err != nil {
			t.Errorf("%s: config check: %v\n%s", s.Name, err, out)
		}
		if out, err := check("FAIRLEAD_JOURNAL_REPLICAS=2"); err == nil { // it can fail
			t.Errorf("%s: config check takes anything:\n%s", s.Name, out)
		}
	}
}

// TestComposeNATS: the servers are of the version that the tests run against, and know each other.
func TestComposeNATS(t *testing.T) {
	want := regexp.MustCompile(`nats-server/v2 v(\d+\.\d+)\.`).FindStringSubmatch(readFile(t, "go.mod"))
	if want == nil {
		t.Fatal("go.mod does not name nats-server")
	}
	conf, config := readFile(t, "deploy/nats/nats.conf"), readFile(t, "deploy/fairlead.toml")
	for _, s := range compose(t).Services {
		if !strings.HasPrefix(s.Name, "nats") {
			continue
		}
		if !strings.HasPrefix(s.Image, "nats:"+want[1]) {
			t.Errorf("%s: image %s; the tests use nats-server %s", s.Name, s.Image, want[1])
		}
		if !slices.Equal(s.Command, []string{"--config", "/etc/nats.conf", "--name", s.Name}) {
			t.Errorf("%s: command %q", s.Name, s.Command)
		}
		if !strings.Contains(conf, `"nats://`+s.Name+`:6222"`) || !strings.Contains(config, "nats://"+s.Name+":4222") {
			t.Errorf("%s is not among the routes, or no node connects to it", s.Name)
		}
	}
}

// TestDockerfile: the last stage is empty but for the binaries, and does not run as root.
func TestDockerfile(t *testing.T) {
	_, last, ok := strings.Cut(readFile(t, "deploy/Dockerfile"), "\nFROM scratch\n")
	if !ok || strings.Contains(last, "\nFROM ") {
		t.Fatal("the last stage is not FROM scratch")
	}
	lines := strings.Split(last, "\n")
	user := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "USER ") })
	if user < 0 || !regexp.MustCompile(`^USER [1-9]\d*:[1-9]\d*$`).MatchString(lines[user]) {
		t.Error("the last stage runs as root, or as a user by name: want USER with two numbers")
	}
	for _, s := range compose(t).Services {
		if s.Build != nil && !strings.Contains(last, " /out/fairlead /out"+s.HealthCheck.Test[1]+" ") {
			t.Errorf("the health check %v is not in the image", s.HealthCheck.Test)
		}
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readFile(t, "go.mod"))
	if version == nil || !strings.Contains(readFile(t, "deploy/Dockerfile"), "\nFROM golang:"+version[1]+" AS build\n") {
		t.Errorf("deploy/Dockerfile does not build with Go %v", version)
	}
}
