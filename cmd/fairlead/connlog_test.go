package main

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// Each kind of event has a line.
func TestDescribeEvent(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	g, err := session.ParseGroup("app_1")
	if err != nil {
		t.Fatal(err)
	}
	net := netip.MustParsePrefix("192.0.2.0/24")
	seen := map[session.Kind]bool{}
	for _, tt := range []struct {
		event session.Event
		want  string
	}{
		{session.Opened{Identity: session.Anonymous(), Route: "/ws"}, "opened  anonymous, route /ws"},
		{
			session.Opened{Identity: &session.Identity{Subject: "42", Source: "drf", Expires: at}, Route: "/ws", Remote: net, Groups: []session.Group{g, g}},
			"opened  user 42 by drf, route /ws, from 192.0.2.0/24, until 2026-11-24T12:00:00Z, groups app_1 app_1",
		},
		{
			session.Opened{Identity: session.Anonymous(), Route: "/ws", By: "header Authorization, drf", Rule: "member"},
			"opened  anonymous, route /ws; by header Authorization, drf; rule member",
		},
		{session.Joined{Group: g}, "joined  app_1"},
		{session.Left{Group: g}, "left  app_1"},
		{session.Refreshed{Expires: at}, "refreshed  until 2026-11-24T12:00:00Z"},
		{session.Refreshed{}, "refreshed  no end"},
		{session.Closed{Code: 1001, Reason: "gone", MessagesReceived: 1, BytesReceived: 2, MessagesSent: 3, BytesSent: 4}, "closed  1001 gone; received 1 messages (2 bytes), sent 3 (4 bytes)"},
		{session.Refused{Status: 401, Reason: "expired", Count: 1}, "refused  401 expired"},
		{session.Refused{Status: 401, Reason: "expired", Route: "/ws", Remote: net, Count: 7}, "refused  401 expired, route /ws, from 192.0.2.0/24, 7 times"},
		{session.Refused{Status: 401, Reason: "expired", Count: 2, By: "drf"}, "refused  401 expired, by drf, 2 times"},
		{session.NodeStarted{Node: "n1", Version: "v1"}, "node_started  n1, version v1"},
		{session.NodeDraining{Connections: 7, Window: 30 * time.Second}, "node_draining  7 connections over 30s"},
		{session.NodeSealed{Reason: "stopped"}, "node_sealed  stopped"},
		{session.Gap{Since: at, Lost: 3, Reason: "store_lost"}, "gap  3 events are missing since 2026-11-24T12:00:00Z: store_lost"},
		{session.Unknown{Name: "new", Data: json.RawMessage(`{"a":1}`)}, `new  {"a":1}`},
		{session.Unknown{Name: "new", Data: json.RawMessage(`{}`)}, "new"},
	} {
		seen[tt.event.Kind()] = true
		if got := describeEvent(tt.event); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	for _, k := range session.Kinds() {
		if !seen[k] {
			t.Errorf("%s has no line here", k)
		}
	}
}
