package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/BurntSushi/toml"
	"go.uber.org/goleak"

	"github.com/fairlead-ws/fairlead/bench/internal/peer"
)

// TestMain makes the test binary what bench starts: its own clients, and a server with the command line of the real one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		var err error
		switch os.Args[1] {
		case crowdWord, tlsWord, loopWord:
			err = run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		case "serve":
			err = serve(os.Args[2:])
		case "version":
			_, err = fmt.Println("peer 1.0\nwith a second line")
		default:
			goleak.VerifyTestMain(m)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serve runs a peer as `serve --config FILE` says, until it is asked to end.
func serve(args []string) error {
	if len(args) != 2 || args[0] != "--config" {
		return fmt.Errorf("serve %q", args)
	}
	var cfg struct {
		Listen   struct{ Public, Internal string }
		Verifier []struct{ Secret string }
	}
	if _, err := toml.DecodeFile(args[1], &cfg); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := peer.New(cfg.Listen.Public, cfg.Listen.Internal, peer.Config{Secret: cfg.Verifier[0].Secret, Any: len(cfg.Verifier) > 1})
	if err != nil {
		return err
	}
	<-ctx.Done()
	s.Close()
	return nil
}
