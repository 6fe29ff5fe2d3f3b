package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	maxHello       = 2 << 10 // bytes of a hello
	maxPeerName    = 255     // bytes, as of a host's name
	maxPeerVersion = 64
)

// Peer is a node of the cluster, as it last said of itself.
type Peer struct {
	Name    string
	Epoch   session.Epoch
	Version string // of the program
	// Connections is how many it has, AcceptRate how many new ones it takes per second; 0: it has no such limit.
	Connections, AcceptRate int
	// Draining says that it takes no new connections, and is about to end.
	Draining bool
	// Seen is when this node last heard of it, by this node's clock. Of oneself it is zero.
	Seen time.Time
}

// hello is what a node says of itself, as JSON. Members are only ever added.
type hello struct {
	Name        string        `json:"name"`
	Epoch       session.Epoch `json:"epoch"`
	Version     string        `json:"version"`
	Connections int           `json:"connections"`
	AcceptRate  int           `json:"accept_rate,omitempty"`
	Draining    bool          `json:"draining,omitempty"`
	Leaving     bool          `json:"leaving,omitempty"` // its last word
}

var errHello = errors.New("malformed hello")

// parseHello reads what another node, or anyone who can publish to the cluster's subjects, has sent.
func parseHello(b []byte) (hello, error) {
	var h hello
	if len(b) > maxHello {
		return hello{}, fmt.Errorf("%w: %d bytes, want at most %d", errHello, len(b), maxHello)
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return hello{}, fmt.Errorf("%w: not the JSON that is expected", errHello)
	}
	switch {
	case h.Epoch.IsZero():
		return hello{}, fmt.Errorf("%w: no epoch", errHello)
	case !plain(h.Name, maxPeerName) || !plain(h.Version, maxPeerVersion):
		return hello{}, fmt.Errorf("%w: a name or version that is empty, too long or not printable", errHello)
	case min(h.Connections, h.AcceptRate) < 0 || max(h.Connections, h.AcceptRate) > math.MaxInt32:
		return hello{}, fmt.Errorf("%w: a number out of range", errHello)
	}
	return h, nil
}

// plain reports whether s is a text of 1 to most bytes that can be printed on one line.
func plain(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError })
}

// peer returns what h says, heard at a time.
func (h *hello) peer(seen time.Time) Peer {
	return Peer{
		Name: h.Name, Epoch: h.Epoch, Version: h.Version, Connections: h.Connections, AcceptRate: h.AcceptRate,
		Draining: h.Draining, Seen: seen,
	}
}

// helloOf is the inverse of peer.
func helloOf(p Peer, leaving bool) hello {
	return hello{
		Name: p.Name, Epoch: p.Epoch, Version: p.Version, Connections: p.Connections, AcceptRate: p.AcceptRate,
		Draining: p.Draining, Leaving: leaving,
	}
}
