package gateway

import (
	"context"
	"sync"
	"time"
)

// crowdedTime is how long a request may be in coming when its place is needed for another connection.
const crowdedTime = 250 * time.Millisecond

// serving is one call of Serve, with the connections whose requests have not come yet. They stand in a list, oldest first,
// and cost a buffer each: they are bounded, and when there are too many, the one that has been let wait the longest has to
// go. So who connects and says nothing keeps nobody out.
type serving struct {
	gateway    *Gateway
	handshakes sync.WaitGroup

	// Guarded by mu.
	mu             sync.Mutex
	stopping       bool
	oldest, newest *handshake // of those that are being read, linked by older and newer
}

func newServing(g *Gateway) *serving { return &serving{gateway: g} }

// readHead reads h's head. The error is that of head.read, errDraining when stop interrupted it, or errCrowded when another
// connection took its place.
func (s *serving) readHead(h *handshake, at time.Time) (err error) {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return errDraining
	}
	s.appendLocked(h)
	s.mu.Unlock()
	s.gateway.reading.Add(1)
	defer func() { // also when something that TLS asks for a certificate panics
		s.gateway.reading.Add(-1)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.removeLocked(h)
		h.adopt() // under mu, since stop looks at conn
		switch {
		case s.stopping:
			err = errDraining
		case err != nil && h.crowded:
			err = errCrowded
		}
	}()
	return h.receive(at)
}

// appendLocked makes h the newest of those that are being read.
func (s *serving) appendLocked(h *handshake) {
	h.older, h.newer, h.listed = s.newest, nil, true
	if s.newest == nil {
		s.oldest = h
	} else {
		s.newest.newer = h
	}
	s.newest = h
}

// removeLocked takes h out of the list. It is idempotent.
func (s *serving) removeLocked(h *handshake) {
	if !h.listed {
		return
	}
	if h.older == nil {
		s.oldest = h.newer
	} else {
		h.older.newer = h.newer
	}
	if h.newer == nil {
		s.newest = h.older
	} else {
		h.newer.older = h.older
	}
	h.older, h.newer, h.listed = nil, nil, false
}

// room takes a place for a connection that was accepted. Where there is none it waits for one, and ends the reading of the
// oldest head, once that has had its crowdedTime, to get it. It reports false when ctx has ended.
func (s *serving) room(ctx context.Context) bool {
	select {
	case s.gateway.heads <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(s.evict())
	defer timer.Stop()
	for {
		select {
		case s.gateway.heads <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		case <-timer.C:
			timer.Reset(s.evict())
		}
	}
}

// evict interrupts the reading of the oldest head, and returns how long to wait before the next one may have to go.
func (s *serving) evict() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.oldest
	if h == nil {
		return crowdedTime
	}
	if age := time.Since(h.start); age < crowdedTime {
		return crowdedTime - age
	}
	s.removeLocked(h)
	h.crowded = true
	interrupt(h)
	return crowdedTime
}

// stop interrupts all reading of heads, now and later. Handshakes that are further are interrupted by their context.
func (s *serving) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for h := s.oldest; h != nil; h = h.newer {
		interrupt(h)
	}
}

// interrupt ends the reading of h's head.
func interrupt(h *handshake) { _ = h.conn.SetReadDeadline(time.Unix(1, 0)) } // fails when reading does

// enter exchanges h's place among those that are being read for one among the handshakes that go on, of which each may wait
// for a database. It waits until there is one, for the handshake's time at most.
func (h *handshake) enter(ctx context.Context, at time.Time) error {
	g := h.gateway
	select {
	case g.slots <- struct{}{}:
	default:
		d := &deadline{parent: ctx, at: at}
		defer d.end()
		select {
		case g.slots <- struct{}{}:
		case <-d.Done():
			return errBusy
		}
	}
	h.entered = true
	<-g.heads
	return nil
}

// release gives h's place to another. It is idempotent.
func (h *handshake) release() {
	switch {
	case h.released:
	case h.entered:
		<-h.gateway.slots
	default:
		<-h.gateway.heads
	}
	h.released = true
}
