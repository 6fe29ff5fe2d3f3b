package gateway

import "sync/atomic"

// table is the routes that are in force, or were, with a count of who uses them.
type table struct {
	routes // fixed after newTable

	unused chan struct{} // closed when users is 0

	// Atomic.
	users atomic.Int64 // handshakes, and the gateway while the routes are in force
}

func newTable(r routes) *table {
	t := &table{routes: r, unused: make(chan struct{})}
	t.users.Store(1)
	return t
}

// release says that one of those who use the table is done with it.
func (t *table) release() {
	if t.users.Add(-1) == 0 {
		close(t.unused)
	}
}

// acquire returns the table that is in force. Who gets it calls release.
func (g *Gateway) acquire() *table {
	for {
		t := g.table.Load()
		// Once nobody uses a table, nobody does ever again: then there is another one.
		for n := t.users.Load(); n > 0; n = t.users.Load() {
			if t.users.CompareAndSwap(n, n+1) {
				return t
			}
		}
	}
}

// SetRoutes puts other routes in force. Handshakes whose request comes from now on go by them, those that are further go on
// by the ones before; connections that are open stay as they are, but for those of routes with Recheck: they are looked at
// by the new routes the next time, by the verifier of the same name. One whose route is gone, or has no such verifier at the
// same place any more, is closed with 1012 then, so that its client connects by the new ones. The channel is
// closed when nobody goes by the routes from before any more, which is HandshakeTimeout later at most unless a verifier does not heed its context: then what they
// ask can be closed. An error is one of [New], and changes nothing. It may be called at any time.
func (g *Gateway) SetRoutes(list []Route) (unused <-chan struct{}, err error) {
	r, err := newRoutes(list)
	if err != nil {
		return nil, err
	}
	old := g.table.Swap(newTable(r))
	old.release()
	return old.unused, nil
}
