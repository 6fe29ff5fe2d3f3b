//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// churn connects and disconnects n times, a few at a time, in four ways: with a close frame, by just closing, by a reset,
// and with a handshake that is refused.
func churn(t *testing.T, addr string, n int) {
	t.Helper()
	good, bad := "/ws/app_1?token="+token(t, "1"), "/ws/app_1?token=bad"
	cycle := func(i int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		target := good
		if i%4 == 3 {
			target = bad
		}
		conn, br, err := handshake(ctx, net.Dialer{}, addr, target)
		if i%4 == 3 {
			var refused *refusedError
			if !errors.As(err, &refused) || refused.status != 401 {
				return fmt.Errorf("a bad token: got %v, want a refusal with 401", err) //nolint:errorlint // it may be nil
			}
			return nil
		}
		if err != nil {
			return err
		}
		defer conn.Close()
		switch i % 4 {
		case 0:
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Write(frame(ws.OpClose, "\x03\xe8")); err != nil {
				return err
			}
			for { // messages of others may come first
				h, _, err := readFrame(br)
				if err != nil {
					return fmt.Errorf("waiting for the answer to a close: %w", err)
				}
				if h.OpCode == ws.OpClose {
					return nil
				}
			}
		case 2:
			return conn.(*net.TCPConn).SetLinger(0)
		}
		return nil
	}
	next, failed := make(chan int), make(chan error, 1)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				if err := cycle(i); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatalf("churn: %v", err)
	default:
	}
}

// TestChurn: 10,000 connections that came and went leave nothing behind.
func TestChurn(t *testing.T) {
	n := startNode(t, jwtRoutes+"[nats]\nstore_bytes = 4194304\n")
	stays := dial(t, n.public, "/ws/app_1?token="+token(t, "stays"))
	idle := func() error {
		if got := n.metric(t, "fairlead_connections"); got != 1 {
			return fmt.Errorf("%v connections are left, want 1", got)
		}
		return nil
	}
	// The pools and the journal, which is in memory and bounded, fill first: two records a connection, of 300 bytes each.
	churn(t, n.public, 8_000)
	eventually(t, 10*time.Second, idle)
	goroutines, files, memory := n.metric(t, "go_goroutines"), n.metric(t, "process_open_fds"), n.resident(t)

	churn(t, n.public, 10_000)
	eventually(t, 10*time.Second, idle)
	eventually(t, 30*time.Second, func() error {
		g, f, m := n.metric(t, "go_goroutines"), n.metric(t, "process_open_fds"), n.resident(t)
		if g > goroutines+2 || f > files+2 || m > memory+8<<20 {
			return fmt.Errorf("after 10,000 connections: %v goroutines, %v files, %d KiB resident; before: %v, %v, %d KiB",
				g, f, m>>10, goroutines, files, memory>>10)
		}
		return nil
	})
	t.Logf("resident %d KiB, %d KiB before", n.resident(t)>>10, memory>>10)
	if err := stays.open(); err != nil {
		t.Error(err)
	}
}
