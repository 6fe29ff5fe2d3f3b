package actor

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	// sweepTick is how exact expiry and heartbeats are.
	sweepTick = 250 * time.Millisecond
	// quietBefore is how long an actor must have been quiet for its grown stack to be given back.
	quietBefore = time.Second

	never64 = math.MaxInt64

	// bornUnit is how exact a connection's age is.
	bornUnit = 100 * time.Millisecond
	// retired stands for the birth of a connection that was told that it is too old.
	retired = -1
)

// sweep looks at all actors that are due, one tick after the other: one goroutine in place of a timer for each.
func (s *System) sweep() {
	defer close(s.swept)
	tick := time.NewTicker(sweepTick)
	defer tick.Stop()
	var due, old []*Actor
	var offset int64 // of the wall clock, at the last tick
	var maxAge time.Duration
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		now := s.now()
		s.clock.Store(now)
		last := offset
		offset = time.Now().UnixMilli() - now
		stepped := max(offset-last, last-offset) > sweepTick.Milliseconds()
		was := maxAge
		maxAge = s.limits.Load().MaxAge
		due = s.collect(due[:0], now, stepped || maxAge != was)
		old = s.retire(old[:0], due, now, maxAge)
		for _, a := range old {
			s.metrics.aged.Inc()
			a.Close(CloseServiceRestart, "the connection is old: connect again")
		}
		for _, a := range due {
			s.schedule(a, a.check(now))
		}
		clear(due)
		clear(old)
	}
}

// now returns Unix milliseconds by a clock that nobody sets: the wall clock when the System was made, and what has passed
// since. By the wall clock, a step of an hour would keep pings away for an hour, or cut everyone who owes a pong.
func (s *System) now() int64 { return s.began.UnixMilli() + time.Since(s.began).Milliseconds() }

// collect appends the actors that are due, or all that have a time when the wall clock was set: credentials go by it.
func (s *System) collect(due []*Actor, now int64, all bool) []*Actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, t := range s.due {
		if t <= now || all && t != never64 {
			due = append(due, s.actors[i])
		}
	}
	return due
}

// schedule sets when the actor is looked at next. Only where nothing else does so at the same time: the sweeper, or Open
// before it.
func (s *System) schedule(a *Actor, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.slot >= 0 {
		if at != never64 {
			at = a.soonest(s.now(), at) // the end may have moved since at was found out
		}
		s.due[a.slot] = min(at, s.oldLocked(a, s.limits.Load().MaxAge))
	}
}

// hasten has the actor looked at when its credential ends, if that is sooner than it would be. Its end was set before.
func (s *System) hasten(a *Actor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.slot >= 0 {
		s.due[a.slot] = min(s.due[a.slot], until(a.expires.Load(), s.now()))
	}
}

// retire appends the actors of due that are as old as they may be, each once.
func (s *System) retire(old, due []*Actor, now int64, maxAge time.Duration) []*Actor {
	if maxAge == 0 {
		return old
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range due {
		if a.slot >= 0 && s.oldLocked(a, maxAge) <= now {
			s.born[a.slot] = retired
			old = append(old, a)
		}
	}
	return old
}

// oldLocked returns when a is as old as it may be, in Unix milliseconds: after maxAge, less up to a tenth, which is the
// actor's own for good, so that connections that came together do not go together. a is among the actors.
func (s *System) oldLocked(a *Actor, maxAge time.Duration) int64 {
	born := s.born[a.slot]
	if maxAge == 0 || born == retired {
		return never64
	}
	// Fibonacci hashing: the numbers of neighbours give fractions that are far apart.
	less := float64(a.number*0x9e3779b97f4a7c15>>11) / (1 << 53)
	age := maxAge - time.Duration(float64(maxAge)*less/10)
	return s.began.UnixMilli() + (time.Duration(born)*bornUnit + age).Milliseconds()
}

// firstDue spreads the first pings of connections that came at the same time.
func (s *System) firstDue(a *Actor, now int64) int64 {
	interval := s.config.PingInterval.Milliseconds()
	return a.soonest(now, now+interval/2+rand.Int64N(interval/2+1)) //nolint:gosec // not a secret
}

// soonest returns at, or when the credential expires if that is sooner.
func (a *Actor) soonest(now, at int64) int64 {
	if a.expired.Load() {
		return at
	}
	return min(at, until(a.expires.Load(), now))
}

// until returns when, by the clock of which it is now, the wall clock shows expires; never64 where that is 0.
func until(expires, now int64) int64 {
	if expires == 0 {
		return never64
	}
	return now + expires - time.Now().UnixMilli()
}

// milliseconds returns t in Unix milliseconds, rounded up, so that nothing ends before it does; 0 for the zero time.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

// check is called by the sweeper when the actor is due. It returns when it is due again.
func (a *Actor) check(now int64) int64 {
	c := &a.system.config
	if expires := a.expires.Load(); expires != 0 && time.Now().UnixMilli() >= expires && !a.expired.Load() {
		a.expired.Store(true)
		a.mute() // the actor closes as soon as its Handler lets it; until then nothing more is heard
		a.post(closing{CloseUnauthenticated, "the credential has expired"})
	}
	heard := a.heard.Load()
	if a.paused.Load() { // who is not read cannot be heard
		heard = now
	}
	if now-heard >= quietBefore.Milliseconds() && a.grown.Load() {
		a.post(renew{})
	}
	if a.pinged != 0 {
		deadline := a.pinged + c.PongTimeout.Milliseconds()
		switch {
		case heard >= a.pinged:
			a.pinged = 0
		case now >= deadline:
			a.system.metrics.silent.Inc()
			a.post(cut{CloseAbnormal, "the peer does not answer pings", slowNone})
			return never64
		default:
			return a.soonest(now, deadline)
		}
	}
	if next := heard + c.PingInterval.Milliseconds(); now < next {
		return a.soonest(now, next)
	}
	a.pinged = now
	a.sendPing()
	next := now + c.PongTimeout.Milliseconds()
	if _, layered := a.conn.(layered); layered { // reading the pong grows the stack: that is not to last
		next = min(next, now+2*quietBefore.Milliseconds())
	}
	return a.soonest(now, next)
}

// mute stops all messages to the client.
func (a *Actor) mute() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.muted = true
}

// pingFrame is a ping without payload. It is shared and never changed.
var pingFrame = []byte{finBit | 0x9, 0}
