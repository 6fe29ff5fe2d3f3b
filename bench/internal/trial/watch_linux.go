package trial

import (
	"net/netip"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/proc"
)

// watchEvery is the time between two looks at the kernel's table.
const watchEvery = 20 * time.Millisecond

// watch follows the server's ends of some connections from outside, in the kernel's table of sockets.
type watch struct {
	read    func() ([]proc.Socket, error) // the server's sockets
	of      func(netip.AddrPort) bool     // whether the connection with that client is of interest
	started time.Time

	sockets map[netip.AddrPort]*watched
	resting int64 // most bytes that waited in the sockets at one time, by the kernel's count of payload
}

// watched is one connection.
type watched struct {
	send    int
	changed time.Time // when its send queue changed last: from then on it is blocked
	gone    time.Time // when the server had closed it; zero: not yet
}

// look takes one look at the table, at time now.
func (w *watch) look(now time.Time) error {
	table, err := w.read()
	if err != nil {
		return err
	}
	open, resting := map[netip.AddrPort]bool{}, int64(0)
	for i := range table {
		s := &table[i]
		if !s.Open() || !w.of(s.Remote) {
			continue
		}
		open[s.Remote] = true
		resting += int64(s.Send)
		known := w.sockets[s.Remote]
		if known == nil {
			known = &watched{send: -1}
			w.sockets[s.Remote] = known
		}
		if s.Send != known.send {
			known.send, known.changed = s.Send, now
		}
	}
	w.resting = max(w.resting, resting)
	for remote, known := range w.sockets {
		if known.gone.IsZero() && !open[remote] {
			known.gone = now
		}
	}
	return nil
}

// outcome tells how many connections the server has closed, and the longest time until then: from the start, and from the
// moment when the kernel took no more for that connection.
func (w *watch) outcome() (gone int, fromStart, fromBlock time.Duration) {
	for _, s := range w.sockets {
		if s.gone.IsZero() {
			continue
		}
		gone++
		fromStart = max(fromStart, s.gone.Sub(w.started))
		fromBlock = max(fromBlock, s.gone.Sub(s.changed))
	}
	return gone, fromStart, fromBlock
}
