//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
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

// TestDrainToSurvivor: of two nodes one stops, and its clients connect to the other at once. All get there, in the time that
// close_rate asks for, and in no second are there more than it says, though the window would be over much sooner.
func TestDrainToSurvivor(t *testing.T) {
	const count, rate = 1200, 200
	config := fmt.Sprintf("\n[nats]\nurl = %q\ncluster = \"e2e\"\n[drain]\nwindow = \"1s\"\nclose_rate = %d\n", startNATS(t).url(), rate) + jwtRoutes
	a, b := startNode(t, config), startNode(t, config)
	for _, n := range []*node{a, b} {
		eventually(t, 10*time.Second, func() error {
			if v := n.metric(t, "fairlead_peers"); v != 1 {
				return fmt.Errorf("a node knows %v others, want 1", v)
			}
			return nil
		})
	}
	target := "/ws/app_1?token=" + token(t, "1")
	clients := make([]*client, count)
	for i := range clients {
		clients[i] = dial(t, a.public, target)
	}
	moved := make(chan time.Duration, count) // when each was on the other node
	var wg sync.WaitGroup
	begin := time.Now()
	for _, c := range clients {
		wg.Go(func() {
			<-c.done
			if _, err := tryDial(t, b.public, target); err != nil {
				t.Errorf("on the way to the other node: %v", err)
			}
			moved <- time.Since(begin)
		})
	}
	a.signal(t, syscall.SIGTERM)
	eventually(t, 5*time.Second, func() error { return a.notReady("accepting") })
	if v := a.metric(t, "fairlead_draining"); v != 1 {
		t.Errorf("fairlead_draining is %v", v)
	}
	if code := a.exit(t, 60*time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	wg.Wait()
	close(moved)
	var at []time.Duration
	for m := range moved {
		at = append(at, m)
	}
	slices.Sort(at)
	const want = count * time.Second / rate
	if took := at[len(at)-1] - at[0]; took < want*9/10 || took > want*3/2 {
		t.Errorf("the move took %v; %d at %d per second are %v", took, count, rate, want)
	}
	for i := range at {
		if j := i + rate*12/10; j < len(at) && at[j]-at[i] < time.Second {
			t.Fatalf("%d connections came within %v, the bound is %d per second", j-i, at[j]-at[i], rate)
		}
	}
	if v := b.metric(t, "fairlead_connections"); v != count {
		t.Errorf("the other node has %v connections, want %d", v, count)
	}
	for _, want := range []string{`"most_per_second":200`, `"msg":"draining"`} {
		if !strings.Contains(a.logged(), want) {
			t.Errorf("the log has no %s", want)
		}
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
