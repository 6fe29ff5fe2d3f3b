//go:build otel

package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TestOpenTelemetry: what gateway and api say becomes spans, one inside the other.
func TestOpenTelemetry(t *testing.T) {
	exported := tracetest.NewInMemoryExporter()
	o, err := newOTel(t.Context(), "node-1", "epoch-1", sdktrace.WithSyncer(exported))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close(t.Context())
	start := time.Now().Add(-time.Second)
	ctx, end := o.Begin(t.Context(), "handshake", start)
	_, endInner := o.Begin(ctx, "authenticate", time.Now())
	endInner(true, slog.String("fairlead.reason", "verifier_unavailable"))
	end(false, slog.Int("http.response.status_code", 101))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/groups", nil)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	_, end = o.BeginRequest(r, "GET /api/v1/groups", time.Now())
	end(false)
	_, _ = o.Begin(t.Context(), "never ended", time.Now())

	spans := exported.GetSpans()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want 3", len(spans))
	}
	inner, outer, request := spans[0], spans[1], spans[2]
	if inner.Parent.SpanID() != outer.SpanContext.SpanID() || inner.Status.Code != codes.Error ||
		len(inner.Attributes) != 1 || inner.Attributes[0] != attribute.String("fairlead.reason", "verifier_unavailable") {
		t.Errorf("the inner span is %+v", inner)
	}
	if outer.Parent.IsValid() || !outer.StartTime.Equal(start) || outer.Status.Code != codes.Unset || outer.Attributes[0].Value.AsInt64() != 101 {
		t.Errorf("the outer span is %+v", outer)
	}
	if request.SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || request.Parent.SpanID().String() != "b7ad6b7169203331" {
		t.Errorf("the request's span is %+v", request)
	}
	resource := outer.Resource.String()
	for _, want := range []string{"service.name=fairlead", "service.instance.id=epoch-1", "fairlead.node=node-1"} {
		if !strings.Contains(resource, want) {
			t.Errorf("the resource is %s, without %s", resource, want)
		}
	}
}

// TestTraces: a node sends its spans to the collector that the environment names, the last ones when it stops, and there is
// no secret in them.
func TestTraces(t *testing.T) {
	var mu sync.Mutex
	var raw strings.Builder
	var spans []*otlp.Span
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err = errors.Join(err, proto.Unmarshal(body, &request)); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		raw.Write(body)
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				spans = append(spans, scope.GetSpans()...)
			}
		}
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)

	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", anyone))
	c := dial(t, "ws://"+s.public+"/ws/g?token=a-secret-token")
	c.send("a-secret-payload")
	c.want("a-secret-payload")
	if status, _, err := s.get("/api/v1/groups?prefix=a-secret-prefix"); err != nil || status != http.StatusOK {
		t.Fatalf("/api/v1/groups: %d, %v", status, err)
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	var names []string
	for _, span := range spans {
		names = append(names, span.GetName())
	}
	for _, want := range []string{"handshake", "GET /api/v1/groups"} {
		if !slices.Contains(names, want) {
			t.Errorf("the spans are %q, without %s", names, want)
		}
	}
	if strings.Contains(raw.String(), "a-secret") || strings.Contains(raw.String(), "127.0.0.1") {
		t.Error("a secret or an address is in the spans")
	}
}
