package api

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/bus"
)

// noRegister is a register that does not answer.
type noRegister struct{}

func (noRegister) Place(context.Context) (string, error) { return "", errors.New("NATS is away") }

func (noRegister) Spend(context.Context, string, string) (bool, error) {
	return false, errors.New("NATS is away")
}

// newTickets returns tickets that are spent in s.
func newTickets(t *testing.T, s authn.Spender) *authn.Tickets {
	t.Helper()
	tickets, err := authn.NewTickets(authn.TicketsConfig{Secret: []byte(strings.Repeat("s", 32)), Spender: s})
	if err != nil {
		t.Fatal(err)
	}
	return tickets
}

func TestTicket(t *testing.T) {
	tickets := newTickets(t, bus.NewLocalRegister())
	n := newTestNode(t, "n", 1, nil, func(c *Config) { c.Backend.Tickets = tickets })
	for _, body := range []string{
		`{"subject":42,"route":"/ws/{group}","groups":["app_*"],"origin":"https://a.example","session_expires":"2099-01-31T12:00:00+01:00"}`,
		`{"subject":"42","name":"ann","route":"/ws/{group}","groups":["app_*"],"ttl_seconds":300,"origin":null,"session_expires":"2099-01-31T11:00:00Z"}`,
	} {
		var got ticketResult
		n.ask("POST", "/api/v1/tickets", body).as(200, &got)
		r := &authn.Request{Route: "/ws/{group}", Origin: []byte("https://a.example"), HasOrigin: true}
		id, err := tickets.Verify(t.Context(), authn.Credential{Value: []byte(got.Ticket), Request: r})
		if err != nil {
			t.Fatal(err)
		}
		if id.Subject != "42" || id.TokenID != got.ID || len(id.Grants) != 1 || !id.Expires.Equal(time.Date(2099, 1, 31, 11, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: identity %+v", body, id)
		}
		want := 30 * time.Second
		if id.Name == "ann" {
			want = 5 * time.Minute
		}
		if ttl := got.Expires.Sub(id.IssuedAt); ttl != want {
			t.Errorf("it is good for %v, want %v", ttl, want)
		}
		if log := n.log.String(); strings.Contains(log, got.Ticket) {
			t.Errorf("the ticket is in the log:\n%s", log)
		}
	}
}

func TestTicketRefused(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	for _, tt := range []struct{ body, code, says string }{
		{``, "invalid_json", "empty"},
		{`{"route":"/ws"}`, "ticket", "subject is missing"},
		{`{"subject":"","route":"/ws"}`, "ticket", "subject is missing"},
		{`{"subject":null,"route":"/ws"}`, "invalid_json", "subject is neither a text nor an integer"},
		{`{"subject":1.5,"route":"/ws"}`, "invalid_json", "subject is neither"},
		{`{"subject":1e3,"route":"/ws"}`, "invalid_json", "subject is neither"},
		{`{"subject":{},"route":"/ws"}`, "invalid_json", "subject is neither"},
		{`{"subject":1}`, "ticket", "route is missing"},
		{`{"subject":1,"route":"/ws","ttl_seconds":0}`, "ticket", "want 1 to 300"},
		{`{"subject":1,"route":"/ws","ttl_seconds":301}`, "ticket", "want 1 to 300"},
		{`{"subject":1,"route":"/ws","origin":"a.example"}`, "ticket", "origin is none"},
		{`{"subject":1,"route":"/ws","session_expires":"soon"}`, "ticket", "RFC 3339"},
		{`{"subject":1,"route":"/ws","session_expires":"2001-01-01T00:00:00Z"}`, "ticket", "in the past"},
		{`{"subject":1,"route":"/ws","ttl":10}`, "invalid_json", "ttl"},
	} {
		n.ask("POST", "/api/v1/tickets", tt.body).refused(400, tt.code, tt.says)
	}
	n.ask("POST", "/api/v1/tickets?x=1", `{"subject":1,"route":"/ws"}`).refused(400, "parameter", "x")
	newTestNode(t, "n", 1, nil, func(c *Config) { c.Backend.Tickets = nil }).ask("POST", "/api/v1/tickets", `{"subject":1,"route":"/ws"}`).refused(400, "ticket", "no tickets")

	n = newTestNode(t, "n", 1, nil, func(c *Config) { c.Backend.Tickets = newTickets(t, noRegister{}) })
	n.ask("POST", "/api/v1/tickets", `{"subject":1,"route":"/ws"}`).refused(503, "unavailable", "JetStream is away")
	if log := n.log.String(); !strings.Contains(log, "a ticket could not be made") || !strings.Contains(log, "NATS is away") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}
