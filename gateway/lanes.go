package gateway

import "time"

const (
	// recheckChecks is how many checks go on at once.
	recheckChecks = 160
	// recheckShare is how many times as many as there are free places a route may have, so that a place is free whoever hangs:
	// one route has four fifths of all at most, two have four ninths each.
	recheckShare = 4
	// recheckMost is what a route has when it has them alone.
	recheckMost = recheckChecks * recheckShare / (recheckShare + 1)
)

// lanes share out the places for checks among routes: where a database hangs, each check takes all the time that it may, and
// those of other routes are not to wait for that. All of it is guarded by rechecks.mu.
type lanes struct {
	of      map[string]*lane // by the path pattern; those with checks that go on or wait
	going   int              // checks, of all
	waiting int              // watches, in all; some may be removed meanwhile
}

// lane is what goes on for one route.
type lane struct {
	going   int
	waiting []*watch // are due, and have no place yet
}

// enter gives w a place, and reports false where it has to wait for one.
func (s *lanes) enter(w *watch) bool {
	l := s.of[w.route]
	if l == nil {
		l = &lane{}
		s.of[w.route] = l
	}
	if len(l.waiting) > 0 || !s.room(l) {
		l.waiting = append(l.waiting, w)
		s.waiting++
		return false
	}
	l.going++
	s.going++
	return true
}

func (s *lanes) room(l *lane) bool { return l.going < recheckShare*(recheckChecks-s.going) }

// next gives a place to one that waits for one, and returns it; nil where there is none. The longest due come first.
func (s *lanes) next() *watch {
	if s.waiting == 0 {
		return nil
	}
	var best *lane
	for route, l := range s.of {
		switch w := s.head(l); {
		case w == nil:
			if l.going == 0 {
				delete(s.of, route)
			}
		case s.room(l) && (best == nil || w.due < best.waiting[0].due):
			best = l
		}
	}
	if best == nil {
		return nil
	}
	best.going++
	s.going++
	return s.pop(best)
}

// leave gives a place back, and reports whether somebody waits.
func (s *lanes) leave(route string) bool {
	l := s.of[route]
	l.going--
	s.going--
	if l.going == 0 && len(l.waiting) == 0 {
		delete(s.of, route)
	}
	return s.waiting > 0
}

// first returns when the longest due of those that wait was due, or now where none waits.
func (s *lanes) first(now time.Duration) time.Duration {
	if s.waiting == 0 {
		return now
	}
	for _, l := range s.of {
		if w := s.head(l); w != nil {
			now = min(now, w.due)
		}
	}
	return now
}

// head returns the first of l that waits and is not removed; nil where there is none.
func (s *lanes) head(l *lane) *watch {
	for len(l.waiting) > 0 {
		if l.waiting[0].place >= 0 {
			return l.waiting[0]
		}
		s.pop(l)
	}
	return nil
}

func (s *lanes) pop(l *lane) *watch {
	w := l.waiting[0]
	l.waiting[0], l.waiting = nil, l.waiting[1:]
	s.waiting--
	return w
}
