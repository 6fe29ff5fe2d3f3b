package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	defaultHelloInterval = 2 * time.Second
	// missedHellos is how many of a peer's hellos may be missed before it counts as gone.
	missedHellos = 4
	// helloPause is the least time between two hellos, however often there is news.
	helloPause = 50 * time.Millisecond
	// maxPeers bounds the table: whoever can publish to the cluster's subjects could fill it.
	maxPeers = 1024
	// outQueue and inQueue are how many messages of the peers wait at most, each way.
	outQueue, inQueue = 64, 256
	// byeTimeout bounds the last words.
	byeTimeout = time.Second
)

// PeersConfig is the configuration of [Peers]. Conn and Self are required; the zero value of the rest is a good one.
type PeersConfig struct {
	// Conn is a connection to the cluster's NATS. It stays the caller's, who closes it after the Peers.
	Conn *nats.Conn
	// Cluster is that of the bus.
	Cluster Cluster
	// Self returns what the others shall know of this node; its Epoch never changes. It is called on goroutines of the
	// Peers, one call at a time, and must not block.
	Self func() Peer
	// Interval is how often this node says that it is there; the others forget it after four times that. All nodes of a
	// cluster should have the same. 0: 2 s.
	Interval time.Duration
	// Logger gets a line when a peer comes or goes. Nil: slog.Default().
	Logger *slog.Logger
	// Registerer gets the metrics. Nil: nobody.
	Registerer prometheus.Registerer
}

// Peers knows the other nodes of the cluster, asks them, and answers what they ask. Its methods may be called by several
// goroutines at once, and none waits for a NATS that is away.
//
// Each node says hello to all others now and then, when something has changed, and to a node that it did not know. While
// this node has no connection to NATS it forgets nobody: that it hears nothing is not the others' end.
type Peers struct {
	// Fixed after NewPeers.
	conn     *nats.Conn
	prefix   string // of the subjects
	self     func() Peer
	epoch    session.Epoch
	interval time.Duration
	log      *slog.Logger
	metrics  *peersMetrics

	out      chan *nats.Msg // to be published
	hellos   chan *nats.Msg
	requests chan *nats.Msg
	replies  chan *nats.Msg
	news     chan struct{} // say hello now
	status   chan nats.Status
	slots    chan struct{} // one for each answer under way

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	subs    []*nats.Subscription // fixed after Start

	// Guarded by mu.
	mu      sync.Mutex
	started bool
	closed  bool
	peers   map[session.Epoch]Peer
	up      bool      // connected, when last looked
	since   time.Time // when that began
	answers map[string]Answerer
	asks    map[uint64]*ask
	lastAsk uint64
}

// Answerer answers what another node asks. payload is read-only and the Answerer's to keep; so is the answer, for the
// Peers. ctx ends when the asker no longer waits, or with Close.
type Answerer func(ctx context.Context, payload []byte) ([]byte, error)

// NewPeers checks the configuration. Nothing is heard, said or asked before Start. The caller closes the Peers.
func NewPeers(c PeersConfig) (*Peers, error) {
	if c.Conn == nil || c.Self == nil {
		return nil, errors.New("bus: PeersConfig.Conn and PeersConfig.Self are required")
	}
	if c.Interval < 0 {
		return nil, errNegative
	}
	self := c.Self()
	if self.Epoch.IsZero() {
		return nil, errors.New("bus: PeersConfig.Self returns no epoch")
	}
	if !plain(self.Name, maxPeerName) || !plain(self.Version, maxPeerVersion) {
		return nil, fmt.Errorf("bus: the node's name is %q and its version %q; want printable texts of 1 to %d and 1 to %d bytes",
			self.Name, self.Version, maxPeerName, maxPeerVersion)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Peers{
		conn: c.Conn, prefix: peersPrefix(c.Cluster), self: c.Self, epoch: self.Epoch,
		interval: cmp.Or(c.Interval, defaultHelloInterval), log: cmp.Or(c.Logger, slog.Default()),
		out: make(chan *nats.Msg, outQueue), hellos: make(chan *nats.Msg, inQueue),
		requests: make(chan *nats.Msg, inQueue), replies: make(chan *nats.Msg, inQueue),
		news: make(chan struct{}, 1), slots: make(chan struct{}, maxAnswers), ctx: ctx, cancel: cancel,
		peers: make(map[session.Epoch]Peer), answers: make(map[string]Answerer), asks: make(map[uint64]*ask),
	}
	p.metrics = newPeersMetrics(func() int { return len(p.List()) })
	if err := p.metrics.register(c.Registerer); err != nil {
		cancel()
		return nil, err
	}
	return p, nil
}

// peersPrefix is what the subjects between nodes begin with.
func peersPrefix(c Cluster) string { return "fl." + c.String() + ".n." }

// Start begins to hear the others, to be heard and to answer. The error is ErrClosed, or that of NATS.
func (p *Peers) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.started {
		return ErrClosed
	}
	own := p.prefix + p.epoch.String()
	for _, s := range []struct {
		subject string
		to      chan *nats.Msg
	}{{p.prefix + "hello", p.hellos}, {own, p.requests}, {own + ".r.*.*", p.replies}} {
		sub, err := p.conn.ChanSubscribe(s.subject, s.to)
		if err != nil {
			p.unsubscribe()
			return fmt.Errorf("bus: peers: %s", redact(err.Error()))
		}
		p.subs = append(p.subs, sub)
	}
	p.started = true
	p.status = p.conn.StatusChanged(nats.CONNECTED)
	p.running.Go(p.speak)
	p.running.Go(p.hear)
	p.running.Go(p.serve)
	return nil
}

// unsubscribe ends what Start began. mu is held.
func (p *Peers) unsubscribe() {
	for _, s := range p.subs {
		_ = s.Unsubscribe() // its only error is that the connection has ended, and the subscription with it
	}
	p.subs = nil
}

// Close tells the others that this node is gone, ends what is asked and answered, and returns when all goroutines have
// ended: at once, but for answers under way that do not heed their context. It is idempotent and always returns nil.
func (p *Peers) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.running.Wait()
	if !first {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsubscribe()
	if p.started {
		p.conn.RemoveStatusListener(p.status)
	}
	return nil
}

// Announce tells the others at once that something has changed, such as that this node drains. It does not wait.
func (p *Peers) Announce() {
	select {
	case p.news <- struct{}{}:
	default: // it will be said already
	}
}

// List returns the other nodes that are there, by name and epoch, without this one.
func (p *Peers) List() []Peer {
	p.mu.Lock()
	list := make([]Peer, 0, len(p.peers))
	for _, peer := range p.peers {
		list = append(list, peer)
	}
	p.mu.Unlock()
	slices.SortFunc(list, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), slices.Compare(a.Epoch[:], b.Epoch[:]))
	})
	return list
}

// speak publishes all that this node says. It alone does: nats.go can block while it publishes.
func (p *Peers) speak() {
	tick := time.NewTicker(p.interval)
	defer tick.Stop()
	quiet := time.NewTimer(0) // runs while a hello would be too soon after the last
	defer quiet.Stop()
	news := p.news
	p.sayHello(false)
	for {
		select {
		case m := <-p.out:
			p.publish(m)
			continue
		case <-quiet.C:
			news = p.news
			continue
		case <-news:
		case <-p.status:
		case <-tick.C:
			p.expire(time.Now())
		case <-p.ctx.Done():
			p.sayHello(true)
			ctx, cancel := context.WithTimeout(context.Background(), byeTimeout)
			defer cancel()
			if p.conn.IsConnected() {
				_ = p.conn.FlushWithContext(ctx) // who misses the last word finds out by the silence
			}
			return
		}
		p.sayHello(false)
		news = nil
		quiet.Reset(helloPause)
	}
}

func (p *Peers) sayHello(leaving bool) {
	self := p.self()
	self.Epoch = p.epoch
	b, err := json.Marshal(helloOf(self, leaving))
	if err != nil {
		return // a hello has no value that cannot be written
	}
	p.publish(&nats.Msg{Subject: p.prefix + "hello", Data: b})
}

// publish hands m to NATS. What is lost is said again (hello) or missed by who asks (the rest).
func (p *Peers) publish(m *nats.Msg) {
	if p.conn.IsConnected() {
		_ = p.conn.PublishMsg(m)
	}
}

// send leaves m to be published. It reports false when ctx or the Peers end first.
func (p *Peers) send(ctx context.Context, m *nats.Msg) bool {
	select {
	case p.out <- m:
		return true
	case <-ctx.Done():
	case <-p.ctx.Done():
	}
	return false
}

// hear takes in the hellos of others, and the replies to what this node asked.
func (p *Peers) hear() {
	for {
		select {
		case m := <-p.hellos:
			p.greet(m.Data, time.Now())
		case m := <-p.replies:
			p.takeReply(m)
		case <-p.ctx.Done():
			return
		}
	}
}

// greet takes in one hello.
func (p *Peers) greet(b []byte, now time.Time) {
	h, err := parseHello(b)
	if err != nil {
		p.metrics.malformed.Inc()
		return
	}
	if h.Epoch == p.epoch {
		return
	}
	p.mu.Lock()
	_, known := p.peers[h.Epoch]
	full := !known && len(p.peers) >= maxPeers
	switch {
	case h.Leaving:
		p.drop(h.Epoch)
	case !full:
		p.peers[h.Epoch] = h.peer(now)
	}
	p.mu.Unlock()
	switch {
	case h.Leaving && known:
		p.log.Info("a node has left the cluster", "peer", h.Name, "peer_epoch", h.Epoch.String())
	case !h.Leaving && !known && !full:
		p.log.Info("a node has joined the cluster", "peer", h.Name, "peer_epoch", h.Epoch.String(), "peer_version", h.Version)
		p.Announce() // it does not know this one either
	}
}

// drop forgets a peer, for whom nobody waits any more. mu is held.
func (p *Peers) drop(node session.Epoch) {
	delete(p.peers, node)
	for _, a := range p.asks {
		for i := range a.peers {
			if a.peers[i].Epoch == node {
				a.take(i, nil)
			}
		}
	}
}

// expire forgets who was not heard of for too long while this node could hear.
func (p *Peers) expire(now time.Time) {
	connected := p.conn.IsConnected()
	var gone []Peer
	p.mu.Lock()
	if connected && !p.up {
		p.since = now
	}
	p.up = connected
	if connected && now.Sub(p.since) > missedHellos*p.interval {
		for epoch, peer := range p.peers {
			if now.Sub(peer.Seen) > missedHellos*p.interval {
				p.drop(epoch)
				gone = append(gone, peer)
			}
		}
	}
	p.mu.Unlock()
	for _, peer := range gone {
		p.log.Warn("a node is no longer heard of", "peer", peer.Name, "peer_epoch", peer.Epoch.String(), "last", peer.Seen)
	}
}
