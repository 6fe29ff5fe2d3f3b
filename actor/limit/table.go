package limit

import (
	"net/netip"
	"sync"
	"time"
)

// Network returns what counts as one client: an IPv4 address itself, and of an IPv6 address its /64, since whoever has one
// has all of it. It is the zero Addr for what is no address.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, _ := a.Prefix(64) // it has 128 bits
	return p.Addr()
}

// tableSize is how many addresses one generation of a Table remembers.
const tableSize = 1 << 16

// Table is a [Rate] for each address, in bounded memory. It may be used by many goroutines.
//
// It remembers an address until its bucket is full again, when there is nothing left to remember. When so many addresses
// come at the same time that a generation is full, those of the generation before are forgotten early: each is then allowed
// a burst again. So a flood from more than 65,536 addresses is let through in part, but it neither grows the memory, which
// is at most some 10 MB, nor keeps anyone out who keeps to the rate.
type Table struct {
	// Guarded by mu.
	mu       sync.Mutex
	rate     Rate
	size     int
	now, old map[netip.Addr]int64 // generations: when each bucket is full again
	since    int64                // when the newer generation began
	last     int64                // when an address was last looked up
}

// NewTable returns a table for rate.
func NewTable(rate Rate) *Table {
	return &Table{rate: rate, size: tableSize}
}

// SetRate changes the rate, for addresses that are remembered too.
func (t *Table) SetRate(rate Rate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate = rate
	if !rate.Limited() {
		t.now, t.old = nil, nil
	}
}

// Take takes one at now from the bucket of a's [Network]. It reports false when there is none in it. What is no address is
// not limited.
func (t *Table) Take(a netip.Addr, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.rate.Limited() || !a.IsValid() {
		return true
	}
	a, now = Network(a), max(now, t.last) // others may have come in between
	if t.now == nil || now-t.since > t.keep() {
		t.turn(now)
	}
	t.last = now
	full, known := t.now[a]
	if !known {
		if len(t.now) >= t.size {
			t.turn(now)
		}
		full = t.old[a]
	}
	ok := t.rate.Take(&full, now, 1)
	t.now[a] = full
	return ok
}

// Has reports whether Take would, and remembers nothing.
func (t *Table) Has(a netip.Addr, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.rate.Limited() || !a.IsValid() {
		return true
	}
	a, now = Network(a), max(now, t.last)
	full, known := t.now[a]
	if !known {
		full = t.old[a]
	}
	return t.rate.Has(full, now, 1)
}

// keep is how long a generation lives: after it all buckets of the one before are full.
func (t *Table) keep() int64 { return max(t.rate.tolerance, int64(time.Second)) }

// turn begins a new generation.
func (t *Table) turn(now int64) {
	t.old = t.now
	if now-t.last > t.keep() { // their buckets are full too
		t.old = nil
	}
	t.now, t.since = make(map[netip.Addr]int64), now
}

// Len returns how many addresses are remembered.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.now) + len(t.old)
}
