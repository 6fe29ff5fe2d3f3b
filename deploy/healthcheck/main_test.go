package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.Error(w, "bus: disconnected", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	t.Cleanup(srv.Close)

	if err := check(t.Context(), srv.URL+"/readyz"); err != nil {
		t.Errorf("a ready node: %v", err)
	}
	if err := check(t.Context(), srv.URL+"/down"); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "bus: disconnected") {
		t.Errorf("a node that is not ready: %v; want the status and the reason", err)
	}
	srv.Close()
	if err := check(t.Context(), srv.URL+"/readyz"); err == nil {
		t.Error("no node at all: want an error")
	}
	if err := check(t.Context(), "no url"); err == nil {
		t.Error("no URL: want an error")
	}
}
