package main

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// registerMetrics registers what only the wiring knows of a node.
func registerMetrics(r prometheus.Registerer, connections func() int, embedded bool) error {
	limit := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fairlead_connections_limit",
		Help: "Connections that this node takes at most: limits.connections, or what the open-file limit leaves.",
	}, func() float64 { return float64(connections()) })
	alone := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fairlead_bus_embedded",
		Help: "1 if the bus is a NATS server inside this process, which no other node shares, else 0.",
	})
	if embedded {
		alone.Set(1)
	}
	return errors.Join(r.Register(limit), r.Register(alone))
}
