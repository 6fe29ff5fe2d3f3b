package actor

import (
	"context"
	"slices"
	"time"
)

// drainTick is how often the closes of a drain go out.
const drainTick = 10 * time.Millisecond

// Drain takes no connections from now on and closes all with 1012, spread evenly over window so that the clients do not
// all come back at once. It returns nil when the last one is gone; when ctx ends first, it cuts off those that are left
// and returns ctx's error.
func (s *System) Drain(ctx context.Context, window time.Duration) error {
	all, empty := s.beginDrain()
	start := time.Now()
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for sent := 0; sent < len(all); {
		upTo := len(all)
		if passed := time.Since(start); passed < window {
			// The first goes at once: one connection does not wait for the end of the window.
			upTo = min(len(all), 1+int(float64(len(all))*float64(passed)/float64(window)))
		}
		for ; sent < upTo; sent++ {
			all[sent].Close(CloseServiceRestart, "the node restarts: connect again")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s.cutAll(ctx, empty)
		}
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return s.cutAll(ctx, empty)
	}
}

// beginDrain refuses new connections, and returns those there are and a channel that is closed when none is left.
func (s *System) beginDrain() ([]*Actor, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	if len(s.actors) == 0 {
		close(s.empty)
		s.empty = nil
	}
	return slices.Clone(s.actors), empty
}

// cutAll ends what is left at once, waits until it is gone, and returns ctx's error.
func (s *System) cutAll(ctx context.Context, empty <-chan struct{}) error {
	s.mu.Lock()
	left := slices.Clone(s.actors)
	s.mu.Unlock()
	for _, a := range left {
		a.post(cut{CloseServiceRestart, "the node ends", slowNone})
	}
	<-empty
	return ctx.Err()
}

// Close cuts off all connections and returns when all goroutines have ended. It is idempotent and always returns nil.
// Drain first, to be polite.
func (s *System) Close() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Drain(ended, 0) // the error says that we are not polite
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.stop)
	}
	s.mu.Unlock()
	<-s.swept
	s.running.Wait()
	return nil
}
