package bus

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what the bus counts. Local and NATS have the same names, so that a dashboard fits both.
type metrics struct {
	deliveries      prometheus.Counter
	publishedLocal  prometheus.Counter
	publishedRemote prometheus.Counter
	batchMessages   prometheus.Histogram
	groups          prometheus.Gauge

	busyShard     prometheus.Counter
	busyPublisher prometheus.Counter

	droppedMember       prometheus.Counter
	droppedDisconnected prometheus.Counter
	droppedSlowConsumer prometheus.Counter
	droppedMalformed    prometheus.Counter
	droppedRejected     prometheus.Counter
	droppedClosed       prometheus.Counter

	connected        prometheus.Gauge
	reconnects       prometheus.Counter
	subscriptions    prometheus.Gauge
	errorsAuth       prometheus.Counter
	errorsPermission prometheus.Counter
	errorsOther      prometheus.Counter

	// Fixed before register; they are read when somebody asks.
	inboxBytes func() int64
	queueBytes *atomic.Int64 // nil: there is no publisher queue

	all []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		m.all = append(m.all, g)
		return g
	}
	counters := func(name, help, label string) func(value string) prometheus.Counter {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		m.all = append(m.all, v)
		return func(value string) prometheus.Counter { return v.WithLabelValues(value) }
	}

	m.deliveries = counter("fairlead_deliveries_total", "Messages handed to members: one message to a hundred members is a hundred.")
	published := counters("fairlead_bus_published_total", "Messages that came to this node's members, by where they were published.", "origin")
	m.publishedLocal, m.publishedRemote = published("local"), published("remote")

	dropped := counters("fairlead_bus_dropped_total", "Messages that were lost: for one member (member), for the other nodes (disconnected, "+
		"rejected, closed), or for this node's members (slow_consumer, malformed).", "reason")
	m.droppedMember, m.droppedDisconnected = dropped("member"), dropped("disconnected")
	m.droppedSlowConsumer, m.droppedMalformed = dropped("slow_consumer"), dropped("malformed")
	m.droppedRejected, m.droppedClosed = dropped("rejected"), dropped("closed")

	busy := counters("fairlead_bus_busy_total", "Publishes that were put off because a queue was full: nothing is lost.", "queue")
	m.busyShard, m.busyPublisher = busy("shard"), busy("publisher")

	failures := counters("fairlead_bus_errors_total", "Errors that the NATS client reported, slow consumers apart.", "kind")
	m.errorsAuth, m.errorsPermission, m.errorsOther = failures("auth"), failures("permission"), failures("other")

	m.groups = gauge("fairlead_groups", "Groups with members on this node, or that had some a moment ago.")
	m.subscriptions = gauge("fairlead_bus_subscriptions", "Subscriptions of this node to NATS.")
	m.connected = gauge("fairlead_bus_connected", "1 while the node hears the other nodes, else 0.")
	m.reconnects = counter("fairlead_bus_reconnects_total", "Times that the connection to NATS came back.")

	m.batchMessages = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "fairlead_bus_batch_messages", Help: "Messages of a batch, which a member gets in one write.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 7), NativeHistogramBucketFactor: 1.1,
	})
	m.all = append(
		m.all, m.batchMessages,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fairlead_bus_inbox_bytes", Help: "Bytes of messages that wait for this node's shards.",
		}, func() float64 { return float64(m.inboxBytes()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fairlead_publisher_queue_bytes", Help: "Bytes of messages that wait to be published to NATS.",
		}, func() float64 {
			if m.queueBytes == nil {
				return 0
			}
			return float64(m.queueBytes.Load())
		}),
	)
	return m
}

// register registers all, or none. r may be nil.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.all {
		if err := r.Register(c); err != nil {
			for _, done := range m.all[:i] {
				r.Unregister(done)
			}
			return fmt.Errorf("bus: register metrics: %w", err)
		}
	}
	return nil
}

// unregister takes all back, for a constructor that failed later.
func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.all {
		r.Unregister(c)
	}
}

// delivered counts a batch of so many messages that ok members took and failed members did not. It is called once for a
// batch, not for a member.
func (m *metrics) delivered(messages, ok, failed int) {
	m.deliveries.Add(float64(messages * ok))
	m.batchMessages.Observe(float64(messages))
	if failed > 0 {
		m.droppedMember.Add(float64(messages * failed))
	}
}
