package bus

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// LocalRegister is a [Register] in memory, for a node that shares its tickets with no other. Its place is new with each
// process, so a restart forgets nothing that could still be spent. All methods may be called at the same time; none blocks.
type LocalRegister struct {
	// Fixed after NewLocalRegister.
	place string

	// Guarded by mu. An id is in one of the two for RegisterMemory at least, and twice that at most.
	mu       sync.Mutex
	now, old map[string]struct{}
	turned   time.Time
}

// NewLocalRegister returns an empty register.
func NewLocalRegister() *LocalRegister {
	return &LocalRegister{place: rand.Text(), now: map[string]struct{}{}, turned: time.Now()}
}

// Place is [Register.Place]. It never fails.
func (r *LocalRegister) Place(context.Context) (string, error) { return r.place, nil }

// Spend is [Register.Spend]. It fails only for a place or an id that cannot be one.
func (r *LocalRegister) Spend(_ context.Context, place, id string) (first bool, err error) {
	if !spendable(place) || !spendable(id) {
		return false, fmt.Errorf("%w: the id or the place has other characters than letters and digits", ErrRegister)
	}
	if place != r.place {
		return false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch since := time.Since(r.turned); {
	case since >= 2*RegisterMemory:
		r.now, r.old, r.turned = map[string]struct{}{}, nil, time.Now()
	case since >= RegisterMemory:
		r.now, r.old, r.turned = map[string]struct{}{}, r.now, time.Now()
	}
	if _, spent := r.now[id]; spent {
		return false, nil
	}
	if _, spent := r.old[id]; spent {
		return false, nil
	}
	r.now[id] = struct{}{}
	return true, nil
}
