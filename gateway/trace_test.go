package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// spans is a tracer that keeps a line for each span that ended: "parent/name failed attribute=value …".
type spans struct {
	mu    sync.Mutex
	ended []string // guarded by mu
}

type spanKey struct{}

func (s *spans) Begin(ctx context.Context, name string, start time.Time) (context.Context, func(bool, ...slog.Attr)) {
	if parent, ok := ctx.Value(spanKey{}).(string); ok {
		name = parent + "/" + name
	}
	return context.WithValue(ctx, spanKey{}, name), func(failed bool, attrs ...slog.Attr) {
		line := fmt.Sprintf("%s %v %v", name, failed, start.IsZero())
		for _, a := range attrs {
			line += " " + a.String()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = append(s.ended, line)
	}
}

// take returns the spans that have ended, n of them, and forgets them.
func (s *spans) take(t *testing.T, n int) (lines []string) {
	t.Helper()
	waitFor(t, fmt.Sprintf("span %d", n), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.ended) < n {
			return false
		}
		lines, s.ended = s.ended, nil
		return true
	})
	return lines
}

// TestTrace: a tracer sees what a handshake is made of and how each part ended, and nothing of the client.
func TestTrace(t *testing.T) {
	tracer := &spans{}
	g := serve(t, Config{Tracer: tracer, Routes: []Route{{
		Path: "/ws/{group}", Join: []string{"{group}"}, Chain: testChain(t),
		Authorizer: authorizerFunc(func(ctx context.Context, _ *session.Identity, g session.Group, _ authn.Params) error {
			if ctx.Value(spanKey{}) != "handshake/authorize" {
				t.Errorf("the authorizer is called inside of %v", ctx.Value(spanKey{}))
			}
			switch g.String() {
			case "closed":
				return authn.ErrForbidden
			case "broken":
				return errors.New("no such table")
			}
			return nil
		}),
	}}}, nil)
	const (
		ok         = " false false http.response.status_code=101 http.route=/ws/{group} fairlead.reason=ok"
		identified = "handshake/authenticate false false fairlead.reason=ok fairlead.source=test"
		allowed    = "handshake/authorize false false fairlead.reason=ok"
	)
	for _, tt := range []struct {
		head string
		want []string
	}{
		{handshakeTo("/ws/open?token=alice"), []string{identified, allowed, "handshake" + ok}},
		{handshakeTo("/ws/open?token=expired"), []string{
			"handshake/authenticate false false fairlead.reason=expired fairlead.source=",
			"handshake false false http.response.status_code=401 http.route=/ws/{group} fairlead.reason=expired",
		}},
		{handshakeTo("/ws/open?token=down"), []string{
			"handshake/authenticate true false fairlead.reason=verifier_unavailable fairlead.source=",
			"handshake true false http.response.status_code=503 http.route=/ws/{group} fairlead.reason=verifier_unavailable",
		}},
		{handshakeTo("/ws/open?token=panic"), []string{
			"handshake true false http.response.status_code=500 http.route=/ws/{group} fairlead.reason=panic",
		}},
		{handshakeTo("/ws/closed?token=alice"), []string{
			identified, "handshake/authorize false false fairlead.reason=forbidden",
			"handshake false false http.response.status_code=403 http.route=/ws/{group} fairlead.reason=forbidden",
		}},
		{handshakeTo("/ws/broken?token=alice"), []string{
			identified, "handshake/authorize true false fairlead.reason=authorizer_unavailable",
			"handshake true false http.response.status_code=503 http.route=/ws/{group} fairlead.reason=authorizer_unavailable",
		}},
		{handshakeTo("/elsewhere"), []string{"handshake false false http.response.status_code=404 http.route= fairlead.reason=no_route"}},
	} {
		g.ask(t, tt.head)
		if got := tracer.take(t, len(tt.want)); !slices.Equal(got, tt.want) {
			t.Errorf("%.40q:\n%s\nwant\n%s", tt.head, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
	// A connection of which nothing comes is no span.
	g.dial(t).Close()
	waitFor(t, "the end", func() bool { return g.count(reasonClientGone) == 1 })
	g.ask(t, handshakeTo("/elsewhere"))
	if got := tracer.take(t, 1); len(got) != 1 {
		t.Errorf("spans of a silent connection: %q", got)
	}
}

// TestNoTrace: a handshake that nobody traces has no span to end, and its parts allocate nothing for one.
func TestNoTrace(t *testing.T) {
	h := &handshake{gateway: &Gateway{}}
	h.head.end = 1
	ctx := t.Context()
	if allocs := testing.AllocsPerRun(100, func() {
		if h.beginTrace(ctx) != ctx {
			t.Fatal("there is a span")
		}
		h.trace(reasonOK, 101)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
