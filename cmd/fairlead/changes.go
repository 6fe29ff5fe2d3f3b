package main

import (
	"sync"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

const (
	// changesWait is how long a change waits for others: to look through all connections for each of the thousands that a
	// clean-up of sessions makes would be too much.
	changesWait = 20 * time.Millisecond
	// maxChanges is for how many it waits at most.
	maxChanges = 4096
)

// changes has the connections that changes in a database are about looked at again at once, on routes with recheck. It may
// be used by many goroutines.
type changes struct {
	// Fixed after newChanges.
	recheck func(match func(*session.Identity, *authn.Kept) bool) int // that of the gateway

	// Guarded by mu.
	mu      sync.Mutex
	users   map[string]struct{}
	digests map[[32]byte]struct{}
	waiting bool // a timer runs
}

func newChanges(recheck func(func(*session.Identity, *authn.Kept) bool) int) *changes {
	return &changes{recheck: recheck, users: map[string]struct{}{}, digests: map[[32]byte]struct{}{}}
}

// note takes a change up. Where nobody knows what has changed nothing is done: to look at all connections together is what
// recheck is there to avoid, and it finds out in its time.
func (c *changes) note(change authn.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch change.Kind {
	case authn.ChangeUser:
		c.users[change.User] = struct{}{}
	case authn.ChangeToken, authn.ChangeSession:
		c.digests[change.Digest] = struct{}{}
	default:
		return
	}
	switch {
	case len(c.users)+len(c.digests) >= maxChanges:
		c.lookLocked()
	case !c.waiting:
		c.waiting = true
		time.AfterFunc(changesWait, c.look)
	}
}

// look goes through all connections once, for all changes that wait.
func (c *changes) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	c.lookLocked()
}

func (c *changes) lookLocked() {
	if len(c.users)+len(c.digests) == 0 {
		return
	}
	c.recheck(func(id *session.Identity, kept *authn.Kept) bool {
		if _, ok := c.users[id.Subject]; ok && !id.Anonymous {
			return true
		}
		if kept == nil || len(c.digests) == 0 {
			return false
		}
		_, ok := c.digests[kept.Digest()]
		return ok
	})
	clear(c.users)
	clear(c.digests)
}
