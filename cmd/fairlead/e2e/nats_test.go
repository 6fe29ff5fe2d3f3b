//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// natsServer is a NATS server in a process of its own, which can be killed and started again on the same port. It listens
// on a loopback address of its own, so that no client's socket can sit on its port meanwhile.
type natsServer struct {
	host  string
	port  int    // 0 until the first start
	store string // JetStream's folder, which stays
	cmd   *exec.Cmd
	done  chan struct{} // closed when cmd has ended
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	s := &natsServer{host: "127.0.0.9", store: t.TempDir()}
	t.Cleanup(s.kill)
	s.start(t)
	return s
}

func (s *natsServer) url() string { return "nats://" + net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// start starts the server and waits until it accepts connections.
func (s *natsServer) start(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	port := "-1" // any
	if s.port != 0 {
		port = strconv.Itoa(s.port)
	}
	s.cmd = exec.Command(programs.nats, "--addr", s.host, "--port", port, "--ports_file_dir", dir, "--log", filepath.Join(dir, "log"),
		"--jetstream", "--store_dir", s.store)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // not to outlive a test binary that crashes
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("nats-server: %v", err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		defer close(done)
		cmd.Wait()
	}(s.cmd, s.done)

	eventually(t, 10*time.Second, func() error {
		select {
		case <-s.done:
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("nats-server has ended: %s", log)
		default:
		}
		if s.port == 0 {
			if err := s.readPort(dir); err != nil {
				return err
			}
		}
		conn, err := net.Dial("tcp", net.JoinHostPort(s.host, strconv.Itoa(s.port)))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (s *natsServer) readPort(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("nats-server_%d.ports", s.cmd.Process.Pid)))
	if err != nil {
		return err
	}
	var ports struct {
		NATS []string `json:"nats"`
	}
	if err := json.Unmarshal(b, &ports); err != nil {
		return err
	}
	if len(ports.NATS) == 0 {
		return fmt.Errorf("no port in %s", b)
	}
	_, port, err := net.SplitHostPort(ports.NATS[0][len("nats://"):])
	if err != nil {
		return err
	}
	s.port, err = strconv.Atoi(port)
	return err
}

// signal sends the server a signal.
func (s *natsServer) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("nats-server: %v", err)
	}
}

// kill ends the server at once, as a crash does, and returns when it is gone.
func (s *natsServer) kill() {
	if s.done == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.done
}
