//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each balancer of a test, and the two nodes behind it, have loopback addresses of their own, so that the files of deploy
// keep their ports.
var balancedNodes = []string{"127.0.0.41", "127.0.0.42"}

// proxy is a balancer that runs.
type proxy struct {
	*process
	addr string        // of the public port
	log  func() string // its access log
	// out returns an error until the balancer has noticed that the first node is not ready. Nil: it does not look.
	out func() error
}

// startHAProxy starts HAProxy with a file of the repository, listening on host, once it finds all its servers well.
func startHAProxy(t *testing.T, file, host string, words ...string) *process {
	t.Helper()
	path := adapted(t, file, append([]string{"0.0.0.0:", host + ":", "maxconn 100000", "maxconn 1000"}, words...)...)
	p := startProcess(t, "haproxy", exec.Command("haproxy", "-db", "-f", path))
	eventually(t, 10*time.Second, func() error {
		if err := p.running(); err != nil {
			t.Fatalf("%v\n%s", err, p.logged())
		}
		return haproxyStates(host, "UP", "fairlead-1", "fairlead-2")
	})
	return p
}

// haproxyStates returns an error unless HAProxy says of the servers that they are in the state.
func haproxyStates(host, state string, servers ...string) error {
	status, body, err := fetch("http://" + host + ":8404/metrics")
	if err != nil {
		return err
	}
	for _, s := range servers {
		if !strings.Contains(body, fmt.Sprintf("server=%q,state=%q} 1\n", s, state)) {
			return fmt.Errorf("HAProxy: %d: %s is not %s", status, s, state)
		}
	}
	return nil
}

// haproxy balances with deploy/haproxy/haproxy.cfg, which is impatient here.
func haproxy(t *testing.T, patience string) *proxy {
	t.Helper()
	const host = "127.0.0.43"
	p := startHAProxy(t, "deploy/haproxy/haproxy.cfg", host,
		"fairlead-1:", balancedNodes[0]+":", "fairlead-2:", balancedNodes[1]+":", "\tserver fairlead-3 fairlead-3:8000\n", "",
		"inter 2s", "inter 100ms", "timeout tunnel 1h", "timeout tunnel "+patience, "client 30s", "client 1s", "server 30s", "server 1s")
	return &proxy{p, host + ":8000", p.logged, func() error { return haproxyStates(host, "DOWN", "fairlead-1") }}
}

// nginx balances with deploy/nginx/fairlead.conf, which is impatient here.
func nginx(t *testing.T, patience string) *proxy {
	t.Helper()
	const host = "127.0.0.44"
	dir := t.TempDir()
	access := filepath.Join(dir, "access.log")
	site := adapted(t, "deploy/nginx/fairlead.conf", "0.0.0.0:8000", host+":8000", "fairlead-1:", balancedNodes[0]+":",
		"fairlead-2:", balancedNodes[1]+":", "/var/log/nginx/fairlead.log", access, "_timeout 1h", "_timeout "+patience)
	whole := "daemon off;\nworker_processes 1;\nerror_log stderr;\npid " + dir + "/pid;\nevents { worker_connections 500; }\nhttp {\n"
	if os.Geteuid() == 0 {
		whole = "user root;\n" + whole // the test's folder is nobody else's
	}
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		whole += kind + "_temp_path " + filepath.Join(dir, kind) + ";\n"
	}
	whole += "include " + site + ";\n}\n"
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	program := "nginx"
	if _, err := exec.LookPath(program); err != nil {
		program = "/usr/sbin/nginx" // where Debian puts it, out of most people's PATH
	}
	p := startProcess(t, "nginx", exec.Command(program, "-p", dir, "-e", "stderr", "-c", file))
	eventually(t, 10*time.Second, func() error {
		if err := p.running(); err != nil {
			t.Fatalf("%v\n%s", err, p.logged())
		}
		conn, err := net.DialTimeout("tcp", host+":8000", time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return &proxy{p, host + ":8000", func() string {
		b, err := os.ReadFile(access)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}, nil}
}

// startBalanced starts the two nodes behind a balancer.
func startBalanced(t *testing.T, config string) []*node {
	t.Helper()
	nats := startNATS(t)
	var nodes []*node
	for _, host := range balancedNodes {
		file := filepath.Join(t.TempDir(), "fairlead.toml")
		text := fmt.Sprintf("[listen]\npublic = %q\ninternal = %q\ntrusted_proxies = [\"127.0.0.1/32\"]\n%s\n", host+":8000", host+":9000", config)
		text += fmt.Sprintf("[log]\nformat = \"json\"\nlevel = \"debug\"\n[nats]\nurl = %q\n", nats.url()) + jwtRoutes
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, startNodeFile(t, file))
	}
	return nodes
}

// accepted returns how many handshakes the node has accepted.
func (n *node) accepted(t *testing.T) (count int) {
	t.Helper()
	_, body, err := n.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, `fairlead_handshakes_total{reason="ok",result="accepted"} `); ok {
			if _, err := fmt.Sscan(rest, &count); err != nil {
				t.Fatal(err)
			}
			return count
		}
	}
	t.Fatal("no count of accepted handshakes")
	return 0
}

// wantAccepted fails the test unless the node comes to count so many: a client has its answer a moment before that.
func (n *node) wantAccepted(t *testing.T, count int) {
	t.Helper()
	eventually(t, 5*time.Second, func() error {
		if got := n.accepted(t); got != count {
			return fmt.Errorf("the node at %s has accepted %d connections, want %d", n.public, got, count)
		}
		return nil
	})
}

// TestBalancers runs the files of deploy in front of two nodes.
func TestBalancers(t *testing.T) {
	for name, start := range map[string]func(*testing.T, string) *proxy{"haproxy": haproxy, "nginx": nginx} {
		t.Run(name, func(t *testing.T) {
			nodes := startBalanced(t, "\n[limits]\nping_interval = \"1s\"\npong_timeout = \"1s\"\n[drain]\nshutdown_delay = \"30s\"\nwindow = \"30s\"\n")
			testBalancer(t, start(t, "3s"), nodes)
		})
	}
}

func testBalancer(t *testing.T, p *proxy, nodes []*node) {
	good := token(t, "1")
	var clients []*client
	for range 4 {
		clients = append(clients, dial(t, p.addr, "/ws/app_1?token="+good))
	}
	meet(t, 5*time.Second, clients...)
	for _, n := range nodes {
		n.wantAccepted(t, 2)
	}

	// The client's address is the balancer's word, not the client's.
	wantRemote(t, p.addr, nodes, "X-Forwarded-For: 10.9.9.9", "Forwarded: for=10.8.8.8")

	// What nobody says anything on, but for the node's pings, outlives the balancer's patience of three seconds.
	select {
	case <-time.After(7 * time.Second):
	case <-clients[0].done:
	}
	for i, c := range clients {
		if err := c.open(); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}

	// A node that is to stop gets nobody new, and keeps whom it has.
	nodes[0].signal(t, syscall.SIGTERM)
	eventually(t, 5*time.Second, func() error { return nodes[0].notReady("accepting") })
	if p.out != nil {
		eventually(t, 5*time.Second, p.out)
	}
	for range 10 {
		dial(t, p.addr, "/ws/app_1?token="+good)
	}
	if p.out != nil {
		nodes[1].wantAccepted(t, 2+10)
	}
	for i, c := range clients {
		if err := c.open(); err != nil {
			t.Errorf("client %d of a node that drains: %v", i, err)
		}
	}

	// One that is gone is nobody's trouble.
	if err := nodes[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-nodes[0].done
	for range 10 {
		dial(t, p.addr, "/ws/app_1?token="+good)
	}

	log := p.log()
	if !strings.Contains(log, "/ws/app_1") || strings.Contains(log, good) || strings.Contains(log, "token=") {
		t.Errorf("the balancer's log has no path, or a token:\n%s", log)
	}
}

// wantRemote fails the test unless the nodes take a client behind the balancer for who it is, whatever it says.
func wantRemote(t *testing.T, addr string, nodes []*node, header ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 7, 7, 7)}}
	_, _, err := handshake(ctx, from, addr, "/ws/app_1?token=rejected", header...)
	wantStatus(t, err, http.StatusUnauthorized)
	eventually(t, 5*time.Second, func() error {
		log := nodes[0].logged() + nodes[1].logged()
		if !strings.Contains(log, `"remote":"127.7.7.0/24"`) || strings.Contains(log, "10.9.9") || strings.Contains(log, "10.8.8") {
			return fmt.Errorf("no line of a refused client names 127.7.7.0")
		}
		return nil
	})
}

// TestProxyProtocol runs HAProxy as one that passes bytes on, and says in a PROXY header who the client is.
func TestProxyProtocol(t *testing.T) {
	nodes := startBalanced(t, "proxy_protocol = true\n")
	const addr = "127.0.0.45:8443"
	p := startProcess(t, "haproxy", exec.Command("haproxy", "-db", "-f", adapted(t, "deploy/haproxy/proxy-protocol.cfg",
		"0.0.0.0:", "127.0.0.45:", "maxconn 100000", "maxconn 1000", "fairlead-1:", balancedNodes[0]+":", "fairlead-2:", balancedNodes[1]+":")))
	var clients []*client
	eventually(t, 10*time.Second, func() error {
		if err := p.running(); err != nil {
			t.Fatalf("%v\n%s", err, p.logged())
		}
		c, err := tryDial(t, addr, "/ws/app_1?token="+token(t, "1"))
		if err == nil {
			clients = append(clients, c)
		}
		return err
	})
	for range 3 {
		clients = append(clients, dial(t, addr, "/ws/app_1?token="+token(t, "1")))
	}
	meet(t, 5*time.Second, clients...)
	for _, n := range nodes {
		n.wantAccepted(t, 2)
	}
	wantRemote(t, addr, nodes)

	// Whoever comes by another way has no such header, and must not have one.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, _, err := handshake(ctx, net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 8, 8, 8)}}, nodes[0].public, "/ws/app_1?token="+token(t, "1"))
	if err != nil {
		t.Errorf("a client that comes by itself: %v", err)
	} else {
		conn.Close()
	}
}
