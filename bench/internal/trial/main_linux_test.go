package trial

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/floor"
	"github.com/fairlead-ws/fairlead/bench/internal/peer"
	"github.com/fairlead-ws/fairlead/bench/internal/server"
	"github.com/fairlead-ws/fairlead/bench/internal/tlscrowd"
)

// The words by which the test binary becomes a crowd or a send loop.
const (
	crowdWord = "be-a-crowd"
	tlsWord   = "be-clients-over-tls"
	loopWord  = "be-a-loop"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == crowdWord || os.Args[1] == tlsWord || os.Args[1] == loopWord) {
		if err := child(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func child(args []string) error {
	if args[0] == crowdWord {
		c, err := crowd.New()
		if err != nil {
			return err
		}
		return c.Serve(os.Stdin, os.Stdout)
	}
	if args[0] == tlsWord {
		return tlscrowd.Serve(os.Stdin, os.Stdout)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	return floor.Serve(n, size, os.Stdin, os.Stdout)
}

// rig is a bench around a peer in this process. The peer's process is the test itself, so costs mean nothing here: the tests
// are about what the trials do and count.
type rig struct {
	*Bench
	peer     *peer.Server      // the last one
	settings map[string]string // of the last start
	tables   string
	stops    int
	ended    error    // of a server that was told to stop
	nats     []string // what was done to it

	// Guarded by mu: a signal is no synchronisation.
	mu    sync.Mutex
	peers []*peer.Server
	said  []string
}

func newRig(t *testing.T, cfg peer.Config) *rig {
	r := &rig{}
	r.Bench = &Bench{
		Server: func(_ context.Context, setup Setup) (*Target, error) {
			settings := setup.Settings
			if file := settings["tls.cert"]; file != "" {
				pair, err := tls.LoadX509KeyPair(strings.Trim(file, `"`), strings.Trim(settings["tls.key"], `"`))
				if err != nil {
					return nil, err
				}
				cfg.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
			}
			r.peer, r.settings, r.tables = peer.Start(t, cfg), settings, setup.Tables
			started := r.peer
			r.mu.Lock()
			r.peers = append(r.peers, started)
			r.mu.Unlock()
			return &Target{
				PID: os.Getpid(), Address: started.Address, Internal: started.Internal, Secret: peer.Secret,
				Metrics: func(ctx context.Context) (server.Metrics, error) {
					return server.ReadMetrics(ctx, started.Internal+"/metrics")
				},
				Stop:  func() error { r.stops++; return nil },
				Ended: func() error { return r.ended },
			}, nil
		},
		NATS:  func(context.Context) (NATS, error) { return r, nil },
		Crowd: func(ctx context.Context) (*crowd.Client, error) { return crowd.Start(ctx, os.Args[0], crowdWord) },
		TLS: func(ctx context.Context, c tlscrowd.Clients) (*tlscrowd.Crowd, error) {
			return tlscrowd.Start(ctx, c, os.Args[0], tlsWord)
		},
		Loop: func(ctx context.Context, n, size int) (*floor.Loop, error) {
			return floor.Start(ctx, n, size, os.Args[0], loopWord)
		},
		Say: func(format string, args ...any) { r.said = append(r.said, fmt.Sprintf(format, args...)) },
	}
	return r
}

// The rig is its own NATS server, which nobody uses.

func (r *rig) URL() string { return "nats://127.0.0.1:1" }

func (r *rig) Kill() error { r.nats = append(r.nats, "kill"); return nil }

func (r *rig) Again() error { r.nats = append(r.nats, "again"); return nil }

// restart closes the connections of the second server.
func (r *rig) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers[1].Restart()
}
