package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// stopSignals are what asks a process to end.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// signals turns the process's signals into the end of a context, and what comes after it into impatience.
type signals struct {
	second chan os.Signal // gets the first signal that comes after the context's end
	stop   func()         // ends the goroutine, and gives the signals back to the system
}

// listen returns a context that ends with ctx and at the first signal. The caller calls stop when it is done.
func listen(ctx context.Context) (context.Context, *signals) {
	ctx, cancel := context.WithCancel(ctx)
	in := make(chan os.Signal, 2)
	signal.Notify(in, stopSignals...)
	s := &signals{second: make(chan os.Signal, 1)}
	ended := make(chan struct{})
	var goroutine sync.WaitGroup
	goroutine.Go(func() {
		for {
			select {
			case sig := <-in:
				if ctx.Err() != nil {
					s.second <- sig
					return
				}
				cancel()
			case <-ended:
				return
			}
		}
	})
	s.stop = sync.OnceFunc(func() {
		signal.Stop(in)
		close(ended)
		goroutine.Wait()
		cancel()
	})
	return ctx, s
}

// exitCode is what shells call the end by a signal.
func exitCode(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return exitFailed
}
