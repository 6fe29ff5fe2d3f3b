package main

import (
	"slices"
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

// rechecker has connections looked at again; [gateway.Gateway] is one.
type rechecker interface {
	Recheck(match func(*session.Identity, *authn.Kept) bool) int
	RecheckSoon(match func(*session.Identity, *authn.Kept) bool) int
}

// changes has the connections that changes in a database are about looked at again at once, on routes with recheck. It may
// be used by many goroutines.
type changes struct {
	// Fixed after newChanges.
	gateway rechecker

	// Guarded by mu.
	mu      sync.Mutex
	users   map[string]struct{}
	digests map[uint64]struct{} // their heads
	waiting bool                // a timer runs
}

func newChanges(g rechecker) *changes {
	return &changes{gateway: g, users: map[string]struct{}{}, digests: map[uint64]struct{}{}}
}

// note takes a change up. Where nobody knows what has changed, the connections that came in by one of the verifiers are looked
// at again one after the other: all together is what recheck is there to avoid.
func (c *changes) note(change authn.Change, verifiers []string) {
	if change.Kind == authn.ChangeAll {
		c.gateway.RecheckSoon(func(id *session.Identity, _ *authn.Kept) bool { return slices.Contains(verifiers, id.Source) })
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch change.Kind {
	case authn.ChangeUser:
		c.users[change.User] = struct{}{}
	case authn.ChangeToken, authn.ChangeSession:
		c.digests[authn.DigestHead(change.Digest)] = struct{}{}
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
	users, digests := c.users, c.digests // they are the gateway's from here on: it may ask later
	c.users, c.digests = map[string]struct{}{}, map[uint64]struct{}{}
	c.gateway.Recheck(func(id *session.Identity, kept *authn.Kept) bool {
		if _, ok := users[id.Subject]; ok && !id.Anonymous {
			return true
		}
		if kept == nil || len(digests) == 0 {
			return false
		}
		_, ok := digests[kept.DigestHead()]
		return ok
	})
}
