package limit

import (
	"sync"
	"time"
)

// Lines lets one line a second into a log and counts those it holds back. Its zero value is ready, and it may be used by many
// goroutines.
type Lines struct {
	// Guarded by mu.
	mu   sync.Mutex
	last time.Time // when a line was let in
	held uint64    // lines since then
}

// Allow reports whether a line may be written at now, and how many were held back before it.
func (l *Lines) Allow(now time.Time) (held uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.last) < time.Second {
		l.held++
		return 0, false
	}
	held, l.held, l.last = l.held, 0, now
	return held, true
}
