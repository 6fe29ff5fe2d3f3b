package gateway

import "time"

// recheckStuck is how many checks may go on at once of routes of whose connections nobody could say within the last
// maxRecheckRetry. Where a database hangs each check takes all the time that it may: those of other routes are not to wait
// for them. More have to wait until another one has ended, a twentieth of Route.Recheck at least.
const recheckStuck = recheckChecks / 4

// recheckSlot returns how long the time is within which checks begin together.
func recheckSlot(every time.Duration) time.Duration {
	return min(max(every/240, minRecheckSlot), maxRecheckSlot)
}

// unavailable notes that nobody could say of a connection of the route.
func (r *rechecks) unavailable(route string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsaid[route] = r.now()
}

// troubledLocked reports whether it is not long since nobody could say of a connection of the route.
func (r *rechecks) troubledLocked(route string) bool {
	at, ok := r.unsaid[route]
	if ok && r.now()-at > maxRecheckRetry {
		delete(r.unsaid, route)
		ok = false
	}
	return ok
}

// leave says that a check has ended, which take has said to be stuck or not.
func (r *rechecks) leave(stuck bool) {
	<-r.slots
	if stuck {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stuck--
	}
}
