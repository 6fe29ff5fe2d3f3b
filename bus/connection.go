package bus

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// sayInterval is how long one and the same trouble is not logged again.
const sayInterval = 30 * time.Second

// saying is what was logged last of a kind, and when.
type saying struct {
	text string
	at   time.Time
}

// handlers are the callbacks of nats.go. It calls them one after the other, on a goroutine of each connection's own.
func (l *link) handlers() []nats.Option {
	return []nats.Option{
		nats.ConnectHandler(l.comesUp),
		nats.ReconnectHandler(l.comesUp),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			l.down()
			if !l.isClosing() {
				l.warn("down", "bus: lost the connection to NATS; members of this node go on hearing each other", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { l.warn("connect", "bus: cannot connect to NATS", err) }),
		nats.ErrorHandler(l.fails),
		nats.ClosedHandler(func(*nats.Conn) { l.ends() }),
	}
}

// comesUp notes a new connection. The node counts as connected when the link has confirmed it with a round trip.
func (l *link) comesUp(nc *nats.Conn) {
	l.maxPayload.Store(nc.MaxPayload())
	l.mu.Lock()
	l.up = true
	again := l.generation > 0
	clear(l.said)
	l.mu.Unlock()
	if again {
		l.metrics.reconnects.Inc()
	}
	url := nc.ConnectedUrlRedacted()
	if l.dialer.inside { // nats.go names its default, where nobody listens
		url = "in this process"
	}
	l.log.Info("bus: connected to NATS", "again", again, "server", nc.ConnectedServerName(), "url", url)
	l.kick()
}

// down notes that the connection is lost, and lets all joins that wait go on.
func (l *link) down() {
	l.mu.Lock()
	l.up = false
	l.generation++
	l.connected.Store(false)
	l.metrics.connected.Set(0)
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, g := range waiting {
		l.hub.release(g)
	}
}

// fails takes an error that nats.go had at any time.
func (l *link) fails(_ *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		if sub != nil {
			l.slows(sub.Subject)
		}
	case errors.Is(err, nats.ErrPermissionViolation):
		l.metrics.errorsPermission.Inc()
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired):
		l.metrics.errorsAuth.Inc()
	default:
		l.metrics.errorsOther.Inc()
	}
	l.warn("error", "bus: NATS reports an error", err)
}

// ends notes that nats.go has given up a connection for good: because it was closed, or because the server has sent an
// error that nats.go does not forgive.
func (l *link) ends() {
	l.down()
	l.mu.Lock()
	l.lost = true
	closing := l.closing
	l.mu.Unlock()
	if closing {
		close(l.gone)
		return
	}
	l.kick()
}

func (l *link) isClosing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closing
}

// reopen replaces a connection that nats.go has given up, and asks for all subscriptions again. It reports false if that
// failed.
func (l *link) reopen() bool {
	l.mu.Lock()
	lost := l.lost
	l.lost = false // the new connection may be lost before this function ends
	l.mu.Unlock()
	if !lost {
		return true
	}
	nc, err := l.connect()
	if err != nil {
		l.mu.Lock()
		l.lost = true
		l.mu.Unlock()
		l.warn("connect", "bus: cannot connect to NATS", err)
		return false
	}
	l.conn.Store(nc)
	l.metrics.subscriptions.Set(0)
	var again []*group
	for i := range l.hub.table {
		st := &l.hub.table[i]
		st.mu.Lock()
		for _, g := range st.groups {
			g.sub = nil
			g.state = wanted
			again = append(again, g)
		}
		st.mu.Unlock()
	}
	l.unconfirmed = nil
	l.mu.Lock()
	l.todo = append(l.todo, again...)
	l.mu.Unlock()
	return true
}

// warn logs trouble, but not the same of one kind again and again.
func (l *link) warn(kind, text string, err error) {
	what := text
	if err != nil {
		what = redact(err.Error())
	}
	now := time.Now()
	l.mu.Lock()
	last := l.said[kind]
	repeated := last.text == what && now.Sub(last.at) < sayInterval
	if !repeated {
		l.said[kind] = saying{what, now}
	}
	l.mu.Unlock()
	if !repeated {
		l.log.Warn(text, "err", what)
	}
}

// strictConn closes itself when a write fails. nats.go goes on after a write that timed out before its first byte, and
// what it wanted to write, perhaps a subscription, is lost; closed, it connects again and subscribes again.
type strictConn struct{ net.Conn }

func (c strictConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Close() // the write's error is the one to tell
	}
	return n, err
}

// dialer gives nats.go strict connections, one at a time. It closes the one before: nats.go forgets a connection on which
// a server did not greet in time. It implements nats.CustomDialer and nats.InProcessConnProvider.
type dialer struct {
	// Fixed after newDialer.
	dial   func(network, address string) (net.Conn, error)
	inside bool // the server is in this process

	// Guarded by mu.
	mu   sync.Mutex
	last net.Conn
}

// newDialer dials e, or over the network if e is nil.
func newDialer(e *Embedded) *dialer {
	if e == nil {
		return &dialer{dial: (&net.Dialer{Timeout: connectTimeout}).Dial}
	}
	return &dialer{inside: true, dial: func(string, string) (net.Conn, error) { return e.server.InProcessConn() }}
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.close()
	c, err := d.dial(network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = strictConn{c}
	return d.last, nil
}

// InProcessConn implements nats.InProcessConnProvider.
func (d *dialer) InProcessConn() (net.Conn, error) { return d.Dial("", "") }

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil {
		_ = d.last.Close() // it is closed already, as a rule
		d.last = nil
	}
}
