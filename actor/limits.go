package actor

import (
	"cmp"
	"errors"
	"net/netip"
	"time"

	"github.com/fairlead-ws/fairlead/actor/limit"
)

// Limits bounds what clients can cost a node. Those of connections are met by [System.Open], which refuses; a connection
// that was let in is never ended for them.
type Limits struct {
	// Connections is how many there may be at once. 0: 10,000.
	Connections int
	// PerAddress is how many of them may come from one IPv4 address or one IPv6 /64. 0: no limit. Those that were opened
	// while there was none are not counted.
	PerAddress int
	// PerUser is how many of them one subject may have. Anonymous clients have none. 0: no limit. Those that were opened
	// while there was none are not counted.
	PerUser int
	// MessagesPerSecond bounds the messages and pings of one connection, which is closed with 4429 beyond it; MessageBurst is
	// how many may come at once. 0: no limit, and a quarter of MessagesPerSecond, but at least 1.
	MessagesPerSecond, MessageBurst int
	// BytesPerSecond bounds what is read of one connection, frame headers included, which is closed with 4429 beyond it;
	// ByteBurst is how much may come at once. 0: no limit, and a quarter of BytesPerSecond. A burst is never less than a
	// message of Config.MessageBytes and its frames need.
	BytesPerSecond, ByteBurst int
	// GroupsPerConnection is how many groups a session may be in. 0: 100.
	GroupsPerConnection int
	// MaxAge is how long a connection may last, less up to a tenth at random: then it is closed with 1012, so that clients
	// spread over the nodes anew. 0: for ever.
	MaxAge time.Duration
}

// frameRoom is what the frames of a message may add to it where its sender fragments it with reason.
const frameRoom = 4 << 10

// limits are Limits that were checked. They never change: SetLimits makes others.
type limits struct {
	Limits
	messages, bytes limit.Rate
}

// newLimits checks l. messageBytes is what one message may have.
func newLimits(l Limits, messageBytes int) (*limits, error) {
	if min(l.Connections, l.PerAddress, l.PerUser, l.MessagesPerSecond, l.MessageBurst, l.BytesPerSecond, l.ByteBurst,
		l.GroupsPerConnection) < 0 || l.MaxAge < 0 {
		return nil, errors.New("actor: Limits must not be negative: 0 is no limit, or the default")
	}
	l.Connections = cmp.Or(l.Connections, 10_000)
	l.GroupsPerConnection = cmp.Or(l.GroupsPerConnection, 100)
	return &limits{
		Limits:   l,
		messages: limit.Of(l.MessagesPerSecond, l.MessageBurst, 1),
		bytes:    limit.Of(l.BytesPerSecond, l.ByteBurst, messageBytes+frameRoom),
	}, nil
}

// SetLimits changes the limits from now on, for the connections that there are too: rates are counted by the new ones, and
// where there are more connections than may be, none is added before enough have left. Any goroutine.
func (s *System) SetLimits(l Limits) error {
	checked, err := newLimits(l, s.config.MessageBytes)
	if err != nil {
		return err
	}
	s.limits.Store(checked)
	return nil
}

// Limits returns the limits, with the defaults filled in. Any goroutine.
func (s *System) Limits() Limits { return s.limits.Load().Limits }

// quota is what is kept of one connection for limits that are on. It is nil as long as none was met with.
type quota struct {
	// Fixed after admitLocked.
	address netip.Addr // counted in System.byAddress; the zero Addr: it is not
	user    string     // counted in System.byUser; "": it is not

	// Owned by the actor's goroutine.
	messages, bytes int64 // when these buckets are full again
}

// admitLocked counts a as a connection of its address and its user, or says which of the two has enough.
func (s *System) admitLocked(a *Actor, remote netip.Addr, l *limits) error {
	var q quota
	if l.PerAddress > 0 {
		q.address = limit.Network(remote)
	}
	if l.PerUser > 0 && !a.identity.Anonymous {
		q.user = a.identity.Subject
	}
	switch {
	case q.address.IsValid() && s.byAddress[q.address] >= l.PerAddress:
		s.metrics.limitedAddress.Inc()
		return ErrAddressFull
	case q.user != "" && s.byUser[q.user] >= l.PerUser:
		s.metrics.limitedUser.Inc()
		return ErrUserFull
	case q == quota{}:
		return nil
	}
	if q.address.IsValid() {
		if s.byAddress == nil {
			s.byAddress = make(map[netip.Addr]int)
		}
		s.byAddress[q.address]++
	}
	if q.user != "" {
		if s.byUser == nil {
			s.byUser = make(map[string]int)
		}
		s.byUser[q.user]++
	}
	a.quota = &q
	return nil
}

// dismissLocked undoes admitLocked. The maps have no entry for who has no connection.
func (s *System) dismissLocked(a *Actor) {
	q := a.quota
	if q == nil {
		return
	}
	if q.address.IsValid() {
		uncount(s.byAddress, q.address)
	}
	if q.user != "" {
		uncount(s.byUser, q.user)
	}
}

func uncount[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// takeMessage counts a message or a ping of the client. It reports false, and begins the end of the connection, when that is
// one too many.
func (a *Actor) takeMessage() bool {
	l := a.system.limits.Load()
	if !l.messages.Limited() || l.messages.Take(&a.meter().messages, a.system.nano(), 1) {
		return true
	}
	a.system.metrics.limitedMessages.Inc()
	a.exceeded("too many messages in a second")
	return false
}

// takeBytes counts what was read. It reports false, and begins the end of the connection, when that is too much.
func (a *Actor) takeBytes(n int) bool {
	l := a.system.limits.Load()
	if !l.bytes.Limited() || a.phase != phaseOpen || l.bytes.Take(&a.meter().bytes, a.system.nano(), n) {
		return true
	}
	a.system.metrics.limitedBytes.Inc()
	a.exceeded("too many bytes in a second")
	return false
}

// meter returns the quota of a connection whose rate is limited.
func (a *Actor) meter() *quota {
	if a.quota == nil {
		a.quota = new(quota)
	}
	return a.quota
}

// exceeded closes a connection whose client sends too much. It listens to nothing more of it but the end.
func (a *Actor) exceeded(reason string) {
	if a.phase != phaseOpen {
		return
	}
	a.sendClose(closeFrame(CloseRateLimited, reason), true, true)
	a.await(phaseLinger, Closure{Code: CloseRateLimited, Reason: reason})
}

// nano returns nanoseconds since the System was made, by a clock that nobody sets.
func (s *System) nano() int64 { return int64(time.Since(s.began)) }
