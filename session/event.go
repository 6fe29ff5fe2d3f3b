package session

import (
	"encoding/json"
	"net/netip"
	"time"
)

// Kind is the name of an event's kind, as it is written in the journal.
type Kind string

// The kinds of events. A kind's name never changes its meaning.
const (
	KindOpened       Kind = "opened"
	KindJoined       Kind = "joined"
	KindLeft         Kind = "left"
	KindRefreshed    Kind = "refreshed"
	KindClosed       Kind = "closed"
	KindRefused      Kind = "refused"
	KindNodeStarted  Kind = "node_started"
	KindNodeDraining Kind = "node_draining"
	KindNodeSealed   Kind = "node_sealed"
	KindGap          Kind = "gap"
)

// Kinds returns the kinds that this version knows, all but those that are read as [Unknown].
func Kinds() []Kind {
	return []Kind{
		KindOpened, KindJoined, KindLeft, KindRefreshed, KindClosed, KindRefused,
		KindNodeStarted, KindNodeDraining, KindNodeSealed, KindGap,
	}
}

// Event is a fact about a session or a node. The set is closed: only this package's types are events.
// Events are values: they are not changed once they are in a [Record].
type Event interface {
	Kind() Kind
	event()
}

// Opened is the first event of a session. It holds the groups that the route joins, so that opening is one append.
type Opened struct {
	Identity *Identity    `json:"identity"`
	Route    string       `json:"route"`            // the route's path pattern
	Protocol string       `json:"protocol"`         // "raw"
	Remote   netip.Prefix `json:"remote,omitzero"`  // truncated, see TruncateAddr
	Groups   []Group      `json:"groups,omitempty"` // joined with the opening, in order
	By       string       `json:"by,omitempty"`     // where the credential was and who verified it, in words of the configuration
	Rule     string       `json:"rule,omitempty"`   // the authorizer's rule that allowed the groups, in words of the configuration
}

// Joined says that the session became a member of a group.
type Joined struct {
	Group Group `json:"group"`
}

// Left says that the session is no longer a member of a group. Closing a session leaves all groups without Left events.
type Left struct {
	Group Group `json:"group"`
}

// Refreshed says that the session's credential was verified again, and ends at another time than it did.
type Refreshed struct {
	Expires time.Time `json:"expires,omitzero"` // zero: it does not end
}

// Closed is the last event of a session.
type Closed struct {
	Code             uint16 `json:"code"`   // RFC 6455 section 7.4, or 4400 to 4503; 1006 when the connection just ended
	Reason           string `json:"reason"` // for people: what ended it
	MessagesReceived uint64 `json:"messages_received"`
	MessagesSent     uint64 `json:"messages_sent"`
	BytesReceived    uint64 `json:"bytes_received"` // payload bytes
	BytesSent        uint64 `json:"bytes_sent"`     // bytes on the wire, frame headers too
}

// Refused says that a handshake was refused. It belongs to the node, since there is no session.
type Refused struct {
	Status int          `json:"status"`          // the HTTP status
	Reason string       `json:"reason"`          // from the closed set of the gateway's reasons
	Route  string       `json:"route,omitempty"` // "" where no route matched
	Remote netip.Prefix `json:"remote,omitzero"` // truncated, see TruncateAddr
	Count  uint64       `json:"count"`           // handshakes that this event stands for, from 1
	By     string       `json:"by,omitempty"`    // the verifier or authorizer that refused; "" where neither did, or several
}

// NodeStarted is the first event of an epoch.
type NodeStarted struct {
	Node    string `json:"node"`    // the node's name, from the configuration or the host
	Version string `json:"version"` // of the program
}

// NodeDraining says that the node takes no more connections and closes those that it has.
type NodeDraining struct {
	Connections int           `json:"connections"` // open when the drain began
	Window      time.Duration `json:"window_ns"`   // over which the closes are spread
}

// NodeSealed is the last event of an epoch: nothing follows it, and a session that is still open then is lost.
type NodeSealed struct {
	Reason string `json:"reason"` // for people: why the epoch is over
}

// Gap says that records of the node's epoch are missing. The node announces its open sessions behind it: an [Opened] for
// each, with the groups that it is in by then and the sequence of its last event. What is not announced was closed in the
// gap: who folds an epoch forgets its open sessions at a gap.
type Gap struct {
	Since  time.Time `json:"since"`  // when the first record that is missing was appended
	Lost   uint64    `json:"lost"`   // how many are missing
	Reason string    `json:"reason"` // of the closed set that package journal gives
}

// Unknown is an event of a kind that this version does not know, kept as it was read: a newer node shares the journal.
type Unknown struct {
	Name Kind
	Data json.RawMessage
}

func (Opened) Kind() Kind       { return KindOpened }
func (Joined) Kind() Kind       { return KindJoined }
func (Left) Kind() Kind         { return KindLeft }
func (Refreshed) Kind() Kind    { return KindRefreshed }
func (Closed) Kind() Kind       { return KindClosed }
func (Refused) Kind() Kind      { return KindRefused }
func (NodeStarted) Kind() Kind  { return KindNodeStarted }
func (NodeDraining) Kind() Kind { return KindNodeDraining }
func (NodeSealed) Kind() Kind   { return KindNodeSealed }
func (Gap) Kind() Kind          { return KindGap }
func (u Unknown) Kind() Kind    { return u.Name }

func (Opened) event()       {}
func (Joined) event()       {}
func (Left) event()         {}
func (Refreshed) event()    {}
func (Closed) event()       {}
func (Refused) event()      {}
func (NodeStarted) event()  {}
func (NodeDraining) event() {}
func (NodeSealed) event()   {}
func (Gap) event()          {}
func (Unknown) event()      {}

// Version is the version of the records that this package writes.
const Version = 1

// Record is an event with its place: when, of which session, and the how-manieth inside that session, from 1.
type Record struct {
	Time    time.Time
	Session ID // Number 0: the node's own events
	Seq     uint64
	Event   Event
}

// TruncateAddr returns the network of a, /24 for IPv4 and /48 for IPv6: enough to see where trouble comes from, too
// little to name a person. The zero Addr gives the zero Prefix.
func TruncateAddr(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
