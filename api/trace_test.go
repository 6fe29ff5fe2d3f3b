package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bus"
)

// spans is a tracer that keeps a line for each span that ended.
type spans struct{ ended []string }

type spanKey struct{}

func (s *spans) BeginRequest(r *http.Request, name string, start time.Time) (context.Context, func(bool, ...slog.Attr)) {
	return context.WithValue(r.Context(), spanKey{}, name), func(failed bool, attrs ...slog.Attr) {
		line := fmt.Sprintf("%s %v %v", name, failed, start.IsZero())
		for _, a := range attrs {
			line += " " + a.String()
		}
		s.ended = append(s.ended, line)
	}
}

// askedIn is a cluster that keeps in which span it is asked.
type askedIn struct {
	alone
	span any
}

func (c *askedIn) Ask(ctx context.Context, op string, payload []byte) ([]bus.Reply, []bus.Peer, error) {
	c.span = ctx.Value(spanKey{})
	return c.alone.Ask(ctx, op, payload)
}

// TestTrace: a tracer sees each request that was let in, under the endpoint's name.
func TestTrace(t *testing.T) {
	tracer, others := &spans{}, &askedIn{}
	n := newTestNode(t, "a", 1, others, func(c *Config) { c.Tracer = tracer })
	n.ask("GET", "/api/v1/sessions/no-such-session", "")
	n.ask("HEAD", "/api/v1/groups?prefix=secret", "")
	n.ask("GET", "/healthz", "")
	n.ask("POST", "/api/v1/publish", `{"group":"a","data":"b"}`, "Origin", "https://evil.example").refused(403, "cross_origin", "")
	want := []string{
		"GET /api/v1/sessions/{id} false false http.route=/api/v1/sessions/{id} http.request.method=GET http.response.status_code=400",
		"GET /api/v1/groups false false http.route=/api/v1/groups http.request.method=HEAD http.response.status_code=200",
	}
	if !slices.Equal(tracer.ended, want) {
		t.Errorf("spans %q, want %q", tracer.ended, want)
	}
	if others.span != "GET /api/v1/groups" {
		t.Errorf("other nodes are asked inside of %v", others.span)
	}
}
