package gateway

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/actor/limit"
)

// metrics are what the gateway counts. They are fixed after newMetrics; all may be used by many goroutines.
type metrics struct {
	handshakes   [numReasons]prometheus.Counter
	seconds      prometheus.Histogram
	inFlight     prometheus.GaugeFunc
	headsWaiting prometheus.GaugeFunc
	acceptErrors prometheus.Counter

	rechecks    [numRecheckResults]prometheus.Counter
	rechecked   prometheus.GaugeFunc
	recheckLate prometheus.GaugeFunc

	limitedAccept, limitedAttempts, limitedRejections prometheus.Counter
}

// newMetrics makes the metrics of g and registers them with r, unless it is nil.
func newMetrics(r prometheus.Registerer, g *Gateway) (*metrics, error) {
	handshakes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_handshakes_total",
		Help: "Handshakes that ended, by result (accepted, refused) and reason. Refused with client_gone: the client left before its request was complete, as TCP health checks do.",
	}, []string{"result", "reason"})
	m := &metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fairlead_handshake_seconds",
			Help: "Time from accepting a connection to its actor or its refusal, of handshakes whose request came in full.",
			Buckets: []float64{
				100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5,
			},
			NativeHistogramBucketFactor: 1.1,
		}),
		inFlight: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fairlead_handshakes_in_flight",
			Help: "Handshakes that go on, their requests being there. At the limit, others wait for their turn.",
		}, func() float64 { return float64(len(g.slots)) }),
		headsWaiting: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fairlead_heads_waiting",
			Help: "Connections whose requests have not come in full. At four times the limit of handshakes, the one that waits longest is refused for the next.",
		}, func() float64 { return float64(g.reading.Load()) }),
		acceptErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fairlead_accept_errors_total",
			Help: "Times that the kernel gave an error instead of a new connection, such as too many open files.",
		}),
	}
	rechecks := m.newRechecks(g)
	m.limitedAccept, m.limitedAttempts = limit.NewCounter(limit.Accept), limit.NewCounter(limit.Attempts)
	m.limitedRejections = limit.NewCounter(limit.Rejections)
	for i := range m.handshakes {
		result := "refused"
		if reason(i) == reasonOK {
			result = "accepted"
		}
		m.handshakes[i] = handshakes.WithLabelValues(result, reason(i).String())
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		handshakes, m.seconds, m.inFlight, m.headsWaiting, m.acceptErrors, m.limitedAccept, m.limitedAttempts, m.limitedRejections,
		rechecks, m.rechecked, m.recheckLate,
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	return m, nil
}

// newRechecks makes what is counted of connections that are looked at again.
func (m *metrics) newRechecks(g *Gateway) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlead_rechecks_total",
		Help: "Times that the credential and the permission of an open connection were looked at again, by result: rejected and other_user closed it with 4401, forbidden with 4403, moved with 1012; with unavailable it stays.",
	}, []string{"result"})
	for i := range m.rechecks {
		m.rechecks[i] = vec.WithLabelValues(recheckNames[i])
	}
	m.rechecked = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fairlead_rechecked_connections",
		Help: "Open connections whose credential or permission is looked at again (recheck).",
	}, func() float64 { return float64(g.rechecks.count()) })
	m.recheckLate = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fairlead_recheck_late_seconds",
		Help: "For how long a look at a connection has been due that has not begun. Beyond a tenth of recheck, connections may outlive their credentials by more than that.",
	}, func() float64 { return g.rechecks.late().Seconds() })
	return vec
}
