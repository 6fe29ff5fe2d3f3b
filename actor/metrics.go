package actor

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/actor/limit"
)

// slowReason is why a client that does not read was cut off.
type slowReason uint8

const (
	slowNone    slowReason = iota // it was not for that
	slowOutbox                    // its outbox was full
	slowTimeout                   // a write timed out
)

// metrics are counted by all actors of a System.
type metrics struct {
	closes map[CloseCode]prometheus.Counter // fixed after newMetrics
	other  prometheus.Counter               // closes with any other code

	messagesReceived, bytesReceived prometheus.Counter
	slowOutbox, slowTimeout         prometheus.Counter
	silent, panics, paused          prometheus.Counter
	unpublished, unrecorded         prometheus.Counter

	compressions, uncompressedBytes, compressedBytes prometheus.Counter
	drainCloses, aged                                prometheus.Counter
	drainRate                                        prometheus.Gauge

	limitedNode, limitedAddress, limitedUser     prometheus.Counter
	limitedMessages, limitedBytes, limitedGroups prometheus.Counter

	outboxBytes atomic.Int64
	sentBy      [sentStripes]sentCounters
}

// sentStripes is how many counters share what is sent. A connection's is that of its number, as is its shard of the bus, so
// that no two shards write to one counter as long as their number divides this one.
const sentStripes = 16

// sentCounters fill a cache line.
type sentCounters struct {
	messages, bytes atomic.Uint64
	_               [48]byte
}

func newMetrics(r prometheus.Registerer, connections func() int) (*metrics, error) {
	m := &metrics{closes: make(map[CloseCode]prometheus.Counter, len(knownCodes))}
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		all = append(all, c)
		return c
	}
	m.messagesReceived = counter("fairlead_messages_received_total", "Messages from clients.")
	m.bytesReceived = counter("fairlead_received_bytes_total", "Payload bytes of messages from clients.")
	m.silent = counter("fairlead_pong_timeouts_total", "Connections cut off because the peer did not answer pings.")
	m.panics = counter("fairlead_handler_panics_total", "Panics of handlers; each closed its connection.")
	m.paused = counter("fairlead_read_pauses_total", "Times that a client was not read because the bus was busy.")
	m.unpublished = counter("fairlead_messages_unpublished_total", "Messages of clients that the bus did not take: too large, or the connection or the node was closing.")
	m.unrecorded = counter("fairlead_events_unrecorded_total", "Events of sessions that the journal did not take.")
	limited := func(s limit.Scope) prometheus.Counter {
		c := limit.NewCounter(s)
		all = append(all, c)
		return c
	}
	m.limitedNode, m.limitedAddress, m.limitedUser = limited(limit.Node), limited(limit.Address), limited(limit.User)
	m.limitedMessages, m.limitedBytes, m.limitedGroups = limited(limit.Messages), limited(limit.Bytes), limited(limit.Groups)
	m.drainCloses = counter("fairlead_drain_closes_total", "Connections that were told to connect elsewhere because the node stops.")
	m.aged = counter("fairlead_aged_closes_total", "Connections that were told to connect again because they are as old as they may be.")
	m.drainRate = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fairlead_drain_close_rate", Help: "Closes per second that the node, which stops, goes by at present; else 0.",
	})
	all = append(all, m.drainRate)
	m.compressions = counter("fairlead_compressions_total", "Messages that were compressed for clients, once each, however many got them.")
	m.uncompressedBytes = counter("fairlead_compression_input_bytes_total", "Payload bytes of the messages that were compressed.")
	m.compressedBytes = counter("fairlead_compression_output_bytes_total", "What those payloads were then; a payload that did not get smaller is sent as it is.")
	slow := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_slow_closes_total", Help: "Connections cut off because the client read too slowly, by what showed it.",
	}, []string{"reason"})
	m.slowOutbox, m.slowTimeout = slow.WithLabelValues("outbox_full"), slow.WithLabelValues("write_timeout")
	closes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_closes_total", Help: "Connections that ended, by close code (RFC 6455 section 7.4); other codes are one.",
	}, []string{"code"})
	for _, c := range knownCodes {
		m.closes[c] = closes.WithLabelValues(strconv.Itoa(int(c)))
	}
	m.other = closes.WithLabelValues("other")
	all = append(all, slow, closes,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "fairlead_messages_sent_total", Help: "Messages written or queued for clients.",
		}, func() float64 { return m.totalSent(func(s *sentCounters) uint64 { return s.messages.Load() }) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "fairlead_sent_bytes_total", Help: "Bytes written or queued for clients, frame headers included.",
		}, func() float64 { return m.totalSent(func(s *sentCounters) uint64 { return s.bytes.Load() }) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fairlead_connections", Help: "Connections, those that are closing included.",
		}, func() float64 { return float64(connections()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fairlead_outbox_bytes", Help: "Bytes queued for all connections, with 32 for each frame added.",
		}, func() float64 { return float64(m.outboxBytes.Load()) }))
	if r == nil {
		return m, nil
	}
	for i, c := range all {
		if err := r.Register(c); err != nil {
			for _, c := range all[:i] {
				r.Unregister(c)
			}
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) closed(code CloseCode) {
	if c, ok := m.closes[code]; ok {
		c.Inc()
		return
	}
	m.other.Inc()
}

func (m *metrics) received(bytes int) {
	m.messagesReceived.Inc()
	m.bytesReceived.Add(float64(bytes))
}

// compressed counts a payload that became packed bytes.
func (m *metrics) compressed(payload, packed int) {
	m.compressions.Inc()
	m.uncompressedBytes.Add(float64(payload))
	m.compressedBytes.Add(float64(packed))
}

// sent counts for the connection of that number.
func (m *metrics) sent(number uint64, messages, bytes int) {
	s := &m.sentBy[number%sentStripes]
	s.messages.Add(uint64(messages)) //nolint:gosec // not negative
	s.bytes.Add(uint64(bytes))       //nolint:gosec // not negative
}

func (m *metrics) totalSent(of func(*sentCounters) uint64) float64 {
	var sum uint64
	for i := range m.sentBy {
		sum += of(&m.sentBy[i])
	}
	return float64(sum)
}

func (m *metrics) slow(r slowReason) {
	switch r {
	case slowOutbox:
		m.slowOutbox.Inc()
	case slowTimeout:
		m.slowTimeout.Inc()
	case slowNone:
	}
}
