//go:build otel

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-ws/fairlead/metrics"
)

// newTracer returns a tracer that sends spans by OTLP over HTTP, or nil where the environment names no collector. The
// variables are those of OpenTelemetry: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES and so
// on; its library reads them. A collector that is away costs spans, and nothing else.
func newTracer(ctx context.Context, node, epoch string, logger *slog.Logger) (tracer, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" ||
		strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil //nolint:nilnil // without a tracer nobody traces
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { // the library has one for the whole process
		logger.Warn("traces", "error", err)
	}))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return newOTel(ctx, node, epoch, sdktrace.WithBatcher(exporter))
}

// newOTel returns a tracer whose spans go where the option says.
func newOTel(ctx context.Context, node, epoch string, to sdktrace.TracerProviderOption) (*openTelemetry, error) {
	r, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "fairlead"), attribute.String("service.version", metrics.ReadBuild().Version),
		attribute.String("service.instance.id", epoch), attribute.String("fairlead.node", node),
	), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(to, sdktrace.WithResource(r))
	return &openTelemetry{provider, provider.Tracer("github.com/fairlead-ws/fairlead")}, nil
}

// openTelemetry is a tracer. Its methods may be called by many goroutines, and do not wait for the collector.
type openTelemetry struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// Begin implements [gateway.Tracer]. A stranger's word on the trace that it is in does not count.
func (o *openTelemetry) Begin(ctx context.Context, name string, start time.Time) (context.Context, func(bool, ...slog.Attr)) {
	kind := trace.SpanKindInternal
	if !trace.SpanContextFromContext(ctx).IsValid() {
		kind = trace.SpanKindServer
	}
	return o.begin(ctx, name, start, kind)
}

// BeginRequest implements [api.Tracer]. Backends that have a key may name the trace that they are in (W3C Trace Context).
func (o *openTelemetry) BeginRequest(r *http.Request, name string, start time.Time) (context.Context, func(bool, ...slog.Attr)) {
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	return o.begin(ctx, name, start, trace.SpanKindServer)
}

func (o *openTelemetry) begin(ctx context.Context, name string, start time.Time, kind trace.SpanKind) (context.Context, func(bool, ...slog.Attr)) {
	ctx, span := o.tracer.Start(ctx, name, trace.WithTimestamp(start), trace.WithSpanKind(kind))
	return ctx, func(failed bool, attrs ...slog.Attr) {
		for _, a := range attrs {
			if a.Value.Kind() == slog.KindInt64 {
				span.SetAttributes(attribute.Int64(a.Key, a.Value.Int64()))
			} else {
				span.SetAttributes(attribute.String(a.Key, a.Value.String()))
			}
		}
		if failed {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Close implements [tracer].
func (o *openTelemetry) Close(ctx context.Context) error {
	if err := o.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}
