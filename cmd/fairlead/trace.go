package main

import (
	"context"

	"github.com/fairlead-ws/fairlead/api"
	"github.com/fairlead-ws/fairlead/gateway"
)

// tracer is where the spans of a node go, for distributed tracing (OpenTelemetry). Only a program that was built with the
// tag otel has one, see newTracer; without, nothing of it is in the program.
type tracer interface {
	gateway.Tracer
	api.Tracer
	// Close sends what is still to be sent, until ctx ends.
	Close(ctx context.Context) error
}

// startTracing begins to trace, if the program can and the environment says where spans go.
func (n *node) startTracing(ctx context.Context) (err error) {
	n.tracer, err = newTracer(ctx, n.name, n.epoch.String(), n.logger)
	if err == nil && n.tracer != nil {
		n.closers = append(n.closers, func() error { return n.bounded(n.tracer.Close) })
	}
	return err
}
