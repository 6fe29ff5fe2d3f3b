package bus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	defaultQueueBytes   = 8 << 20
	defaultPending      = 4096
	defaultLinger       = 5 * time.Second
	defaultNATSName     = "fairlead"
	connectTimeout      = 2 * time.Second
	writeTimeout        = time.Second
	pingInterval        = 20 * time.Second
	reconnectWait       = 250 * time.Millisecond
	reconnectJitter     = 250 * time.Millisecond
	reconnectBufferNone = -1 // publishing while disconnected is an error, not a surprise for later
)

// NATSConfig is the configuration of a [NATS] bus. URL or Embedded is needed, the zero value of the rest is a good one.
type NATSConfig struct {
	// URL is the NATS servers' URLs, nats:// or tls://, separated by commas.
	URL string
	// Embedded is a server in this process, which is reached without a network, with its own user and password. URL and
	// the credentials below are not looked at then.
	Embedded *Embedded
	// Cluster is the name that is part of every subject. Zero: "fairlead".
	Cluster Cluster
	// Name is what the server calls this client in its log and monitoring. "": "fairlead".
	Name string

	// Creds is a file with a user's JWT and key; or User and Password say who connects.
	Creds          string
	User, Password string
	// TLSCA is a file with the certificates to trust; "": the system's. TLSCert and TLSKey are files with the
	// certificate and key of this client. TLS is used if one of them is set, or the URL or the server says so.
	TLSCA, TLSCert, TLSKey string

	// Shards is how many goroutines deliver. 0: GOMAXPROCS.
	Shards int
	// InboxBytes bounds the messages that wait for one shard: payloads, and 64 bytes for each message. One message that
	// alone is larger is taken by an empty inbox. 0: 1 MiB.
	InboxBytes int
	// QueueBytes bounds the messages that wait to be published to NATS, counted in the same way. 0: 8 MiB.
	QueueBytes int
	// Pending bounds the messages, not the bytes, that have come from NATS and wait for the shards. 0: 4096.
	Pending int
	// MaxPayload is the largest payload in bytes. 0: what the server allows, 1 MiB until it has said so.
	// It is never more than that.
	MaxPayload int
	// Linger is how long a subscription outlives the last member of its group. 0: 5 s.
	Linger time.Duration

	// Logger gets a line for each change of the connection. Nil: slog.Default().
	Logger *slog.Logger
	// Registerer gets the metrics. Nil: nobody.
	Registerer prometheus.Registerer
}

// NATS is a bus of all nodes that are connected to one NATS. All its methods may be called at the same time.
type NATS struct {
	// Fixed after NewNATS.
	hub        *hub
	link       *link
	publisher  *publisher
	receiver   *receiver
	maxPayload int

	// Each ends one thing; all may be called again.
	endLink, endReceiver, giveUp context.CancelFunc
}

// NewNATS connects to NATS and starts the bus. It waits for the first attempt to connect, at most some seconds; if that
// fails it returns a bus that works for this node and goes on trying. So an error is a mistake in the configuration.
func NewNATS(c NATSConfig) (*NATS, error) {
	d := newDialer(c.Embedded)
	options, err := c.options(d)
	if err != nil {
		return nil, err
	}
	m := newMetrics()
	h := newHub(c.Shards, c.InboxBytes, m)
	l := &link{
		hub: h, metrics: m, dialer: d, log: cmp.Or(c.Logger, slog.Default()), prefix: subjectPrefix(c.Cluster),
		linger: cmp.Or(c.Linger, defaultLinger), started: time.Now(),
		inbound: make(chan *nats.Msg, cmp.Or(c.Pending, defaultPending)), wake: make(chan struct{}, 1),
		first: make(chan struct{}), gone: make(chan struct{}), ended: make(chan struct{}), said: make(map[string]saying),
	}
	h.link = l
	l.maxPayload.Store(defaultMaxPayload)
	options = append(options, l.handlers()...)
	l.connect = func() (*nats.Conn, error) { return nats.Connect(c.URL, options...) }
	p := &publisher{link: l, metrics: m, ended: make(chan struct{})}
	p.queue.init(cmp.Or(c.QueueBytes, defaultQueueBytes))
	r := &receiver{
		hub: h, prefix: l.prefix, metrics: m, inbound: l.inbound, ended: make(chan struct{}), room: make(chan struct{}, 1),
	}
	m.inboxBytes, m.queueBytes = h.inboxBytes, &p.queue.bytes

	if err := m.register(c.Registerer); err != nil {
		return nil, err
	}
	nc, err := l.connect()
	if err != nil {
		m.unregister(c.Registerer)
		return nil, fmt.Errorf("bus: connect to NATS: %s", redact(err.Error()))
	}
	l.conn.Store(nc)

	b := &NATS{hub: h, link: l, publisher: p, receiver: r, maxPayload: cmp.Or(c.MaxPayload, math.MaxInt)}
	linkCtx, endLink := context.WithCancel(context.Background())
	receiverCtx, endReceiver := context.WithCancel(context.Background())
	abort, giveUp := context.WithCancel(context.Background())
	b.endLink, b.endReceiver, b.giveUp = endLink, endReceiver, giveUp
	h.start()
	go l.loop(linkCtx)
	go p.loop(abort)
	go r.loop(receiverCtx, abort)
	if nc.IsConnected() {
		select {
		case <-l.first:
		case <-time.After(connectTimeout):
		}
	}
	return b, nil
}

// options checks the configuration and returns the options for nats.go, without the handlers.
func (c *NATSConfig) options(d *dialer) ([]nats.Option, error) {
	if err := checkSizes(c.Shards, c.InboxBytes, c.QueueBytes, c.Pending, c.MaxPayload, int(min(c.Linger, 1))); err != nil {
		return nil, err
	}
	o := []nats.Option{
		nats.Name(cmp.Or(c.Name, defaultNATSName)),
		nats.NoEcho(), // this node's members have the message already
		nats.SkipSubjectValidation(),
		nats.Timeout(connectTimeout),
		nats.FlusherTimeout(writeTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, 2*reconnectJitter),
		nats.ReconnectBufSize(reconnectBufferNone),
	}
	if e := c.Embedded; e != nil {
		o = append(o, nats.InProcessServer(d))
		if e.user != "" {
			o = append(o, nats.UserInfo(e.user, e.password))
		}
		return o, nil
	}
	if err := checkURLs(c.URL); err != nil {
		return nil, err
	}
	o = append(o, nats.SetCustomDialer(d))
	switch {
	case c.Creds != "" && c.User != "":
		return nil, errors.New("bus: NATS: a credentials file and a user are set; want one")
	case c.Creds != "":
		if _, err := os.Stat(c.Creds); err != nil { // nats.go would look only when it connects
			return nil, fmt.Errorf("bus: NATS credentials: %w", err)
		}
		o = append(o, nats.UserCredentials(c.Creds))
	case c.User != "":
		o = append(o, nats.UserInfo(c.User, c.Password))
	}
	return c.tls(o)
}

// tls appends the options for TLS.
func (c *NATSConfig) tls(o []nats.Option) ([]nats.Option, error) {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return nil, errors.New("bus: NATS: a TLS certificate needs its key, and a key its certificate")
	}
	if c.TLSCA == "" && c.TLSCert == "" {
		return o, nil
	}
	o = append(o, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	if c.TLSCA != "" {
		o = append(o, nats.RootCAs(c.TLSCA))
	}
	if c.TLSCert != "" {
		o = append(o, nats.ClientCert(c.TLSCert, c.TLSKey))
	}
	return o, nil
}

// checkURLs looks at the URLs before nats.go does, whose errors would have their passwords.
func checkURLs(list string) error {
	if list == "" {
		return errors.New("bus: NATS: want a URL or an embedded server")
	}
	urls := strings.Split(list, ",")
	for i, s := range urls {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return fmt.Errorf("bus: NATS URL %d of %d: want nats://HOST:PORT or tls://HOST:PORT", i+1, len(urls))
		}
	}
	return nil
}

// Join makes m a member of g. It never blocks.
//
// done, which may be nil, is called exactly once, on another goroutine or on this one, and must not block: with nil when
// the join is effective, so that whatever anyone publishes after done was called reaches m; or with an error when it
// never will be: [ErrLeft], [ErrClosed], or [session.ErrGroup] for the zero Group. While NATS is connected, that includes
// what is published on other nodes, so done waits for a round trip if the group is new on this node. While NATS is away,
// done is called at once, and m hears the other nodes when it is back.
//
// m gets nothing before done has returned, and nothing whose Publish on this node had returned before Join was called.
// A message from another node that is under way during the join may come or not.
//
// The member belongs to the shard of that number, modulo how many there are; the joins and leaves of one shard take
// effect in the order in which they were called, but for joins that wait for NATS. A member that joins a group twice is a
// member twice.
//
// The Membership is for Leave, and never nil.
func (b *NATS) Join(g session.Group, m Member, shard uint32, done func(error)) *Membership {
	return b.hub.join(g, m, shard, done)
}

// Leave ends the membership. It never blocks, and is idempotent. Deliver may still be called until the member's shard
// has taken note; it has, for example, once the done function of a later Join to the same shard was called.
func (b *NATS) Leave(ms *Membership) { b.hub.leave(ms) }

// Publish hands m to all members of its group. It never blocks. If it returns nil, each member on this node will get m
// exactly once, unless its Deliver returns false or it leaves; and the members on other nodes will get it, unless NATS
// is away or is lost on the way: m is then counted as dropped, as far as this node can know. Otherwise nobody gets it:
//
//   - [ErrBusy]: a queue is full. If w is not nil, its BusReady is called once when it is worth trying again.
//   - [ErrTooLarge]: the payload is over the limit, also if NATS is away.
//   - [ErrClosed]: Close was called. If it was called at the same time, some members may get m nevertheless.
//   - [session.ErrGroup], wrapped: m has the zero Group.
//
// The bus keeps the payload: it must not be changed any more.
func (b *NATS) Publish(m Message, w Waiter) error {
	if m.Group.IsZero() {
		return errNoGroup
	}
	if len(m.Payload) > b.maxPayload || wireSize(&m) > b.link.maxPayload.Load() {
		return ErrTooLarge
	}
	q, n, online := &b.publisher.queue, cost(m.Payload), b.link.connected.Load()
	if online && !q.reserve(n) {
		b.hub.metrics.busyPublisher.Inc()
		q.wait(w, n)
		return ErrBusy
	}
	if err := b.hub.publish(&m, w); err != nil {
		if online {
			q.release(n)
		}
		return err
	}
	switch {
	case !online:
		b.hub.metrics.droppedDisconnected.Inc()
	case !q.push(m): // at the same time as Close
		q.release(n)
		b.hub.metrics.droppedClosed.Inc()
	}
	return nil
}

// Connected reports whether this node hears the other nodes: it is connected to NATS, and NATS has its subscriptions.
func (b *NATS) Connected() bool { return b.link.connected.Load() }

// Close makes every later Publish and Join fail, takes to NATS and to the members what was published, and ends all
// goroutines and the connection. When ctx ends first, it returns ctx's error, what is left is dropped, and the goroutines
// end as soon as those that block them return. Close is idempotent.
func (b *NATS) Close(ctx context.Context) error {
	for _, c := range b.hub.refuse() {
		c.finish(ErrClosed)
	}
	err := b.end(ctx)
	if err != nil {
		b.hub.abort.Store(true)
	}
	// All may be called again, and the rest must not wait for what has ended, or what ctx did not wait for.
	b.giveUp()
	b.endLink()
	b.endReceiver()
	if err = errors.Join(err, b.hub.drain(ctx)); err != nil {
		return fmt.Errorf("bus: close: %w", err)
	}
	return nil
}

// end ends the goroutines between the members and NATS, from the publishers to the shards.
func (b *NATS) end(ctx context.Context) error {
	b.publisher.queue.close()
	if !awaits(ctx, b.publisher.ended) {
		return ctx.Err()
	}
	b.endLink()
	if !awaits(ctx, b.link.ended) {
		return ctx.Err()
	}
	b.endReceiver()
	if !awaits(ctx, b.receiver.ended) {
		return ctx.Err()
	}
	return nil
}
