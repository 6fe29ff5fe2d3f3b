package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// SIGHUP while the node stops is answered in the log, and a reload that the stop cuts off is no mistake in the configuration.
func TestReloadWhileStopping(t *testing.T) {
	log := &output{}
	n := &node{logger: slog.New(slog.NewTextHandler(log, nil))}
	var err error
	if n.reloader, err = newReloader(prometheus.NewRegistry(), nil, nil); err != nil {
		t.Fatal(err)
	}
	ctx, terminate := context.WithCancel(t.Context())
	in := make(chan os.Signal, 1)
	loads, ended := make(chan struct{}, 2), make(chan struct{})
	stop := n.reloadOn(ctx, in, func() (*config.Loaded, error) {
		loads <- struct{}{}
		<-ended // ctx.Done would be early: it is closed before the contexts made of ctx have ended
		return nil, errors.New("a database does not answer before the end")
	})
	in <- syscall.SIGHUP
	<-loads
	terminate()
	close(ended)
	in <- syscall.SIGHUP
	eventually(t, func() error {
		if strings.Count(log.String(), "not read again: the node is stopping") != 2 {
			return errors.New("not both are in the log:\n" + log.String())
		}
		return nil
	})
	stop()
	if strings.Contains(log.String(), "mistake") || len(loads) != 0 || testutil.ToFloat64(n.reloader.failed) != 0 {
		t.Errorf("a reload that came to nothing for the stop counts as failed:\n%s", log.String())
	}
}
