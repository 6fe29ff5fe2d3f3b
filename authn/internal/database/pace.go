package database

import "time"

const (
	// lookupKeys is how many keys one question is for at most.
	lookupKeys = 100
	// lookupLinger is how long a question waits for more keys in a storm.
	lookupLinger = 15 * time.Millisecond
	// lookupStorm is how many keys must come while a question lingers, so that waiting for yet more is soon tried again.
	lookupStorm = 6
	// lookupRest is the silence after which what was learned about the traffic is forgotten.
	lookupRest = 100 * time.Millisecond

	// After a question that lingered in vain so many go by before target may grow again: minSkip, and twice as many each time,
	// to maxSkip. In a storm it is stormSkip.
	minSkip, maxSkip, stormSkip = 16, 512, 2
)

// pace decides when keys are asked for. While no question is under way a key is asked for at once, and what comes meanwhile
// is asked for together behind it. That alone makes small questions of a storm, so the number of keys that a question waits
// for is doubled as long as so many come within lookupLinger. A few callers who each wait for their answer before they ask
// again never become more: where a question lingers in vain, or for just as many as the last one, the doubling is tried
// ever more rarely.
//
// It is used under a lock, and knows nothing of what is asked.
type pace struct {
	underway int // questions
	target   int // keys that a question waits for; 0 is 1
	skip     int // questions until target may grow
	penalty  int // the last skip after lingering in vain
	came     int // keys that the last question which lingered had
	last     time.Time
}

// arrive says that a key came, and whether it goes alone where no other waits.
func (p *pace) arrive(now time.Time) (alone bool) {
	if p.underway == 0 && now.Sub(p.last) >= lookupRest {
		*p = pace{}
	}
	p.last = now
	return p.underway == 0 && p.target <= 1
}

// alone says that a question for one key begins, which waited for nobody.
func (p *pace) alone() { p.underway++ }

// full reports whether n keys that wait wait no longer.
func (p *pace) full(n int) bool {
	return n >= lookupKeys || n >= p.target && (p.underway == 0 || p.target >= lookupStorm)
}

// ask says that a question for the n keys that wait begins, and learns from it; lingered: they waited for all of
// lookupLinger.
func (p *pace) ask(n int, lingered bool) {
	p.underway++
	switch {
	case lingered && n < p.target && (n < lookupStorm || n == p.came):
		p.penalty = min(max(2*p.penalty, minSkip), maxSkip)
		p.skip, p.came, p.target = p.penalty, n, n
	case lingered && n < p.target: // as many as come in a storm
		p.skip, p.penalty, p.came, p.target = stormSkip, 0, n, n
	case p.skip > 0:
		p.skip--
	default:
		p.target = min(2*max(p.target, n), lookupKeys)
	}
}

// answered says that a question ended.
func (p *pace) answered() { p.underway-- }
