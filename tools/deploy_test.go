// Package tools_test checks files of the repository that need a library which the server does not: docker-compose.yml and
// what it builds and mounts.
package tools_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// root is the repository, seen from this package's folder.
const root = ".."

// composeFile is the part of docker-compose.yml that is checked.
type composeFile struct {
	Services map[string]service `yaml:"services"`
}

type service struct {
	Image       string            `yaml:"image"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Build       struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
	} `yaml:"build"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Healthcheck struct {
		Test     []string `yaml:"test"`
		Interval string   `yaml:"interval"`
		Timeout  string   `yaml:"timeout"`
		Retries  int      `yaml:"retries"`
	} `yaml:"healthcheck"`
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	var c composeFile
	if err := yaml.Unmarshal([]byte(readFile(t, "docker-compose.yml")), &c); err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return c
}

func TestComposeServices(t *testing.T) {
	c := readCompose(t)
	for _, name := range []string{"nats", "fairlead-1", "fairlead-2"} {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
	for name, s := range c.Services {
		h := s.Healthcheck
		if len(h.Test) < 2 || h.Test[0] != "CMD" || h.Interval == "" || h.Timeout == "" || h.Retries == 0 {
			t.Errorf("%s: healthcheck %+v: want a command, an interval, a timeout and retries", name, h)
		}
		for on, d := range s.DependsOn {
			if _, ok := c.Services[on]; !ok || d.Condition != "service_healthy" {
				t.Errorf("%s: depends_on %s, condition %q: want a service of the file that is healthy", name, on, d.Condition)
			}
		}
		if s.Build.Context == "" && (!strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest")) {
			t.Errorf("%s: image %q: want a version", name, s.Image)
		}
		for variable, value := range s.Environment {
			if regexp.MustCompile(`SECRET|PASSWORD|DSN`).MatchString(variable) && !strings.HasPrefix(value, "${") {
				t.Errorf("%s: %s has its value in the file: want it from the environment", name, variable)
			}
		}
	}
}

// TestComposePorts: what is published is listened on, no host port is published twice, and only the public ports are
// published beyond loopback.
func TestComposePorts(t *testing.T) {
	listened := regexp.MustCompile(`(?m)^(?:public|internal) *= *"0\.0\.0\.0:(\d+)"`).FindAllStringSubmatch(readFile(t, "deploy/fairlead.toml"), -1)
	if len(listened) != 2 {
		t.Fatalf("deploy/fairlead.toml listens on %v: want a public and an internal port on all addresses", listened)
	}
	public, internal := listened[0][1], listened[1][1]
	hostPorts := map[string]string{}
	for name, s := range readCompose(t).Services {
		published := map[string]bool{}
		for _, p := range s.Ports {
			host, container := p[:strings.LastIndex(p, ":")], p[strings.LastIndex(p, ":")+1:]
			ip := ""
			if strings.Contains(host, ":") {
				var err error
				if ip, host, err = net.SplitHostPort(host); err != nil {
					t.Fatalf("%s: port %q: %v", name, p, err)
				}
			}
			for _, n := range []string{host, container} {
				if v, err := strconv.ParseUint(n, 10, 16); err != nil || v == 0 {
					t.Errorf("%s: port %q: %q is no port", name, p, n)
				}
			}
			if other, taken := hostPorts[host]; taken {
				t.Errorf("%s and %s both publish host port %s", name, other, host)
			}
			hostPorts[host] = name
			published[container] = true
			if ip != "127.0.0.1" && container != public {
				t.Errorf("%s: port %q is open to the network: only the public port may be", name, p)
			}
		}
		if strings.HasPrefix(name, "fairlead") && (!published[public] || !published[internal]) {
			t.Errorf("%s publishes %v: want %s and %s", name, s.Ports, public, internal)
		}
	}
}

func TestComposeFiles(t *testing.T) {
	for name, s := range readCompose(t).Services {
		if s.Build.Context != "" {
			if _, err := os.Stat(filepath.Join(root, s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: build: %v", name, err)
			}
		}
		for _, v := range s.Volumes {
			parts := strings.Split(v, ":")
			if len(parts) != 3 || parts[2] != "ro" {
				t.Errorf("%s: volume %q: want FILE:PATH:ro", name, v)
				continue
			}
			info, err := os.Stat(filepath.Join(root, parts[0]))
			if err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s: volume %q: %v: the source is not a file", name, v, err)
			}
			if strings.HasPrefix(name, "fairlead") && !strings.Contains(readFile(t, "deploy/Dockerfile"), `"`+parts[1]+`"`) {
				t.Errorf("%s: %s is mounted, but the image's command does not name it", name, parts[1])
			}
		}
	}
}

// TestComposeNATS: the server in the compose file is of the version that the tests run against.
func TestComposeNATS(t *testing.T) {
	want := regexp.MustCompile(`nats-server/v2 v(\d+\.\d+)\.`).FindStringSubmatch(readFile(t, "go.mod"))
	if want == nil {
		t.Fatal("go.mod does not name nats-server")
	}
	if got := readCompose(t).Services["nats"].Image; !strings.HasPrefix(got, "nats:"+want[1]) {
		t.Errorf("image %s; the tests use nats-server %s", got, want[1])
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
	for _, s := range readCompose(t).Services {
		if s.Build.Context != "" && !strings.Contains(last, " /out/fairlead /out"+s.Healthcheck.Test[1]+" ") {
			t.Errorf("the health check %v is not in the image", s.Healthcheck.Test)
		}
	}
}
