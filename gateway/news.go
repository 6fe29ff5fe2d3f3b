package gateway

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// maxNews is how many pieces of news are remembered. Package main brings 50 a second, with up to 4,096 changes in each, and
// more only while more than that come: that is more than a second, in which a handshake is long done. With the longest keys
// that triggers send all of them take some 70 MB, with usual ones 10 to 30.
const maxNews = 64

// news is what looks were asked for lately, for the connections whose handshakes were going on: verified before the news, it
// may be, and not among those that are watched yet. A handshake notes how much there has been before it asks anybody, and
// when its connection is watched it is asked about with what came since.
//
// To count would be enough to learn that something came, but where PostgreSQL tells of changes with each request to a busy
// site, each connection would be looked at at once, past all caches. So the questions themselves are kept. That is bounded: of
// a handshake that took so long that some of them are gone already, anything may be true, and it is looked at at once.
type news struct {
	// Guarded by rechecks.mu.
	recent []piece // the last ones, in order

	// Atomic.
	count atomic.Uint64 // of all that ever came; raised with rechecks.mu held
}

// piece is one piece of news.
type piece struct {
	match  func(*session.Identity, *authn.Kept) bool
	at     time.Duration // when it came, by rechecks.now
	within time.Duration // in what time those that match are looked at; 0: at once
}

// tell takes a piece up. What is older than a handshake may take is forgotten, here and with each connection that is watched
// from then on: it is of use to nobody, and may be large.
func (n *news) tell(p piece, patience time.Duration) {
	n.forget(p.at - patience)
	if len(n.recent) == maxNews {
		n.recent = slices.Delete(n.recent, 0, 1)
	}
	n.recent = append(n.recent, p)
	n.count.Add(1)
}

// forget forgets what came before a time.
func (n *news) forget(before time.Duration) {
	i := 0
	for i < len(n.recent) && n.recent[i].at < before {
		i++
	}
	n.recent = slices.Delete(n.recent, 0, i)
}

// about says what w is to be looked at for: at once, or within a time if that is above 0.
func (n *news) about(w *watch) (now bool, within time.Duration) {
	since := n.count.Load() - w.heard
	if since > uint64(len(n.recent)) {
		return true, 0
	}
	for _, p := range n.recent[len(n.recent)-int(since):] { //nolint:gosec // it is no more than there are
		if within > 0 && p.within > 0 || !p.match(w.identity, w.kept) {
			continue
		}
		if p.within == 0 {
			return true, 0
		}
		within = p.within
	}
	return false, within
}

// catchUpLocked has w, which is new, looked at as it would have been if it had been here when the news came. Those that
// would have been looked at soon are as many as there are handshakes, perhaps, and come no more at once than the others do.
func (r *rechecks) catchUpLocked(w *watch) {
	defer r.news.forget(r.now() - r.gateway.timeout)
	switch now, within := r.news.about(w); {
	case now:
		w.urgent = true
		r.enqueueLocked(w, r.now())
	case within > 0:
		r.soonLocked(w, within)
	}
}

// soonLocked has w looked at within a while, unless it waits for that already.
func (r *rechecks) soonLocked(w *watch, within time.Duration) {
	if w.soon > 0 {
		return
	}
	w.soon = r.now() + time.Duration(rand.Int64N(int64(within))) + 1 //nolint:gosec // not a secret
	if w.index >= 0 && w.due > w.soon {
		r.enqueueLocked(w, w.soon)
	}
}
