package actor

import (
	"context"
	"math"
	"slices"
	"time"
)

const (
	// drainTick is how often the closes of a drain go out.
	drainTick = 10 * time.Millisecond
	// drainBurst bounds what a drain makes good after it could not run for a while: so long, at the bound of its rate.
	drainBurst = 50 * time.Millisecond
	// drainAsk is how often DrainPlan.Rate is asked.
	drainAsk = 100 * time.Millisecond
	// drainReport is how often the log has a line about a drain.
	drainReport = 5 * time.Second
	// drainGrace is what the last connection has to end, beyond Config.CloseTimeout.
	drainGrace = 5 * time.Second
)

// DrainPlan says how fast a drain goes.
type DrainPlan struct {
	// Window is over how long the closes are spread, evenly, the first at once. 0: all at once.
	Window time.Duration
	// Rate returns how many closes per second there may be at most, however much longer than Window that takes. It is asked
	// again and again on Drain's goroutine, and must not block. Nil, or not positive: there is no bound.
	Rate func() float64
}

// Drain takes no connections from now on and closes all with 1012, as p says, so that the clients do not all come back at
// once. The log has a line about it every five seconds. It returns nil when the last one is gone; when ctx ends first, or
// the last do not end in time, it cuts off those that are left and returns an error.
func (s *System) Drain(ctx context.Context, p DrainPlan) error {
	all, empty := s.beginDrain()
	s.closeAll(ctx, p, all)
	s.metrics.drainRate.Set(0)
	limited, cancel := context.WithTimeout(ctx, s.config.CloseTimeout+drainGrace)
	defer cancel()
	select {
	case <-empty:
		return nil
	case <-limited.Done():
		return s.cutAll(limited, empty)
	}
}

// closeAll closes all one after the other, until ctx ends.
func (s *System) closeAll(ctx context.Context, p DrainPlan, all []*Actor) {
	now := time.Now()
	pace := pacer{end: now.Add(p.Window), last: now, credit: 1}
	asked, reported, reportedSent := now.Add(-drainAsk), now, 0
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for sent := 0; ; {
		now = time.Now()
		if p.Rate != nil && now.Sub(asked) >= drainAsk {
			asked, pace.bound = now, p.Rate()
		}
		sent += s.ended(all[sent:])
		for n := pace.take(now, s.drainLeft(all[sent:])); n > 0 && sent < len(all); n-- {
			all[sent].Close(CloseServiceRestart, "the node restarts: connect again")
			if ctx.Err() == nil { // else it is about to be cut off
				s.metrics.drainCloses.Inc()
			}
			sent++
			sent += s.ended(all[sent:])
		}
		if sent == len(all) {
			return
		}
		s.metrics.drainRate.Set(pace.rate)
		if passed := now.Sub(reported); passed >= drainReport {
			s.config.Logger.Info("draining", "closed", sent, "left", len(all)-sent,
				"per_second", math.Round(float64(sent-reportedSent)/passed.Seconds()*10)/10,
				"eta", pace.eta(now, len(all)-sent).Round(time.Second).String())
			reported, reportedSent = now, sent
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// drainLeft returns how many of rest there are to close: some may have left by themselves.
func (s *System) drainLeft(rest []*Actor) int { return min(len(rest), s.Len()) }

// ended returns how many at the head of actors have ended by themselves: they cost a drain no time.
func (s *System) ended(actors []*Actor) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n < len(actors) && actors[n].slot < 0 {
		n++
	}
	return n
}

// pacer spreads what is to be done evenly until end, but never does more than bound per second: then it takes longer.
type pacer struct {
	end    time.Time
	last   time.Time // of the last take
	bound  float64   // per second; not positive: none
	credit float64   // what may be done already
	rate   float64   // per second, at the last take
}

// take returns how many may be done now, of left that are left.
func (p *pacer) take(now time.Time, left int) int {
	passed := now.Sub(p.last).Seconds()
	p.rate = math.Inf(1)
	if rest := p.end.Sub(p.last).Seconds(); rest > 0 {
		p.rate = max(0, float64(left)-p.credit) / rest
	}
	p.last = now
	if !now.Before(p.end) && p.bound <= 0 {
		p.rate = 0 // there is nothing left to be spread
		return left
	}
	if p.bound > 0 {
		p.rate = min(p.rate, p.bound)
		p.credit = min(p.credit+p.rate*passed, max(1, p.bound*drainBurst.Seconds()))
	} else {
		p.credit += p.rate * passed
	}
	// What is earned by now, but for the rounding of floating point.
	n := min(left, int(p.credit+1e-9))
	p.credit -= float64(n)
	return n
}

// eta returns how long it will take for left that are left.
func (p *pacer) eta(now time.Time, left int) time.Duration {
	d := max(0, p.end.Sub(now))
	if p.bound > 0 {
		d = max(d, time.Duration(float64(left)/p.bound*float64(time.Second)))
	}
	return d
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
	_ = s.Drain(ended, DrainPlan{}) // the error says that we are not polite
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
