//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestDrain: a stop closes every connection with 1012, spread over the window, then the process ends well.
func TestDrain(t *testing.T) {
	const window, count = 2 * time.Second, 300
	n := startNode(t, fmt.Sprintf("\n[drain]\nwindow = %q\n", window)+jwtRoutes)
	var clients []*client
	for i := range count {
		clients = append(clients, dial(t, n.public, "/ws/app_1?token="+token(t, fmt.Sprint(i))))
	}
	eventually(t, 5*time.Second, func() error {
		if got := n.metric(t, "fairlead_connections"); got != count {
			return fmt.Errorf("fairlead_connections is %v, want %d", got, count)
		}
		return nil
	})

	begin := time.Now()
	n.signal(t, syscall.SIGTERM)
	eventually(t, time.Second, func() error { // nobody new comes in
		conn, err := net.DialTimeout("tcp", n.public, time.Second)
		if err == nil {
			conn.Close()
			return fmt.Errorf("the public port still accepts")
		}
		return nil
	})
	if err := n.notReady("accepting"); err != nil {
		t.Error(err)
	}

	var after []time.Duration
	for i, c := range clients {
		code, ended := c.wait(t, window+5*time.Second)
		if code != 1012 {
			t.Fatalf("connection %d was closed with %d, want 1012", i, code)
		}
		after = append(after, ended.Sub(begin))
	}
	slices.Sort(after)
	if last := after[count-1]; last > window+2*time.Second {
		t.Errorf("the last close came after %v, the window is %v", last, window)
	}
	// Spread: no quarter of the window has more than half of the closes, and the middle half of them takes at least a
	// quarter of the window.
	for i := range after {
		if j := i + count/2; j < count && after[j]-after[i] < window/4 {
			t.Errorf("%d closes within %v: want them spread over %v", count/2, after[j]-after[i], window)
			break
		}
	}
	if code := n.exit(t, 10*time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestSecondSignal: whoever cannot wait for the window sends a second signal.
func TestSecondSignal(t *testing.T) {
	n := startNode(t, "\n[drain]\nwindow = \"5m\"\n"+jwtRoutes)
	for i := range 20 {
		dial(t, n.public, "/ws/app_1?token="+token(t, fmt.Sprint(i)))
	}
	n.signal(t, syscall.SIGTERM)
	eventually(t, 5*time.Second, func() error { return n.notReady("accepting") })
	if status, _, err := n.get("/healthz"); err != nil || status != http.StatusOK {
		t.Errorf("/healthz while draining: %d, %v", status, err)
	}
	n.signal(t, syscall.SIGTERM)
	if code := n.exit(t, 2*time.Second); code == 0 {
		t.Error("exit code 0 after a second signal: connections were cut, want another code")
	}
}
