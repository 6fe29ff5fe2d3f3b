package trial

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/floor"
	"github.com/fairlead-ws/fairlead/bench/internal/peer"
	"github.com/fairlead-ws/fairlead/bench/internal/server"
)

// The words by which the test binary becomes a crowd or a send loop.
const (
	crowdWord = "be-a-crowd"
	loopWord  = "be-a-loop"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == crowdWord || os.Args[1] == loopWord) {
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
	peer     *peer.Server
	settings map[string]string // of the last start
	stops    int
	said     []string
}

func newRig(t *testing.T, cfg peer.Config) *rig {
	r := &rig{}
	r.Bench = &Bench{
		Server: func(_ context.Context, settings map[string]string) (*Target, error) {
			r.peer, r.settings = peer.Start(t, cfg), settings
			return &Target{
				PID: os.Getpid(), Address: r.peer.Address, Secret: peer.Secret,
				Metrics: func(ctx context.Context) (server.Metrics, error) {
					return server.ReadMetrics(ctx, r.peer.Internal+"/metrics")
				},
				Stop: func() error { r.stops++; return nil },
			}, nil
		},
		Crowd: func(ctx context.Context) (*crowd.Client, error) { return crowd.Start(ctx, os.Args[0], crowdWord) },
		Loop: func(ctx context.Context, n, size int) (*floor.Loop, error) {
			return floor.Start(ctx, n, size, os.Args[0], loopWord)
		},
		Say: func(format string, args ...any) { r.said = append(r.said, fmt.Sprintf(format, args...)) },
	}
	return r
}
