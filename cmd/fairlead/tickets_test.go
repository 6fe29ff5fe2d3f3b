package main

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

const withTickets = `
[[verifier]]
name = "door"
kind = "ticket"

[[authorizer]]
name = "granted"
kind = "grants"

[[route]]
path = "/ws/{group}"
join = ["{group}"]
authorize = "granted"
greet = true
credential = [
  { from = "query", name = "ticket", verifier = "door" },
  { from = "subprotocol", prefix = "ticket.", verifier = "door" },
]

[[route]]
path = "/open"
anonymous = "allow"
[drain]
window = "50ms"
`

// issued is an answer of POST /api/v1/tickets.
type issued struct{ Ticket, ID string }

func (s *serving) issue(t *testing.T, body string) issued {
	t.Helper()
	var got issued
	s.must(t, "POST", "/api/v1/tickets", body, &got)
	return got
}

// TestTickets: a ticket of one node lets one connection in, on any.
func TestTickets(t *testing.T) {
	nats := startNATS(t, "127.0.0.1:0")
	defer nats.Close(t.Context())
	secret := strings.Repeat("s", 32)
	env := []string{
		"FAIRLEAD_NATS_URL=" + nats.URL(), "FAIRLEAD_NATS_USER=u", "FAIRLEAD_NATS_PASSWORD=hidden", "FAIRLEAD_SESSION_SECRET=" + secret,
		"FAIRLEAD_JOURNAL_MODE=off",
	}
	file := writeFile(t, "fairlead.toml", withTickets)
	one, two := startServe(t, env, "--config", file), startServe(t, env, "--config", file)

	const body = `{"subject":42,"route":"/ws/{group}","groups":["app_*"]}`
	ticket := one.issue(t, body)
	if _, err := tryDial(t, "ws://"+two.public+"/ws/room_1?ticket="+ticket.Ticket, nil); !isRefused(err, http.StatusForbidden) {
		t.Errorf("a group that the ticket does not grant: %v", err)
	}
	if _, err := tryDial(t, "ws://"+two.public+"/ws/app_1?ticket="+ticket.Ticket, nil); !isRefused(err, http.StatusUnauthorized) {
		t.Errorf("a ticket that was used: %v", err)
	}
	a := dial(t, "ws://"+two.public+"/ws/app_1?ticket="+one.issue(t, body).Ticket)
	if greeting, err := a.read(); err != nil || !strings.Contains(string(greeting.Payload), `"subject":"42"`) {
		t.Errorf("greeted with %s, %v", greeting.Payload, err)
	}
	b := dial(t, "ws://"+one.public+"/ws/app_1?ticket="+two.issue(t, body).Ticket)
	if _, err := b.read(); err != nil {
		t.Error(err)
	}
	b.send("across")
	a.want("across")

	var refusal struct {
		Error struct{ Code, Message string }
	}
	for body, says := range map[string]string{
		`{"subject":42,"route":"/open"}`:                      "want one of /ws/{group}",
		`{"subject":42,"route":"/nowhere"}`:                   "want one of /ws/{group}",
		`{"subject":42,"route":"/ws/{group}","origin":"x y"}`: "origin is none",
	} {
		status, err := one.do("POST", "/api/v1/tickets", "", body, &refusal)
		if err != nil || status != 400 || !strings.Contains(refusal.Error.Message, says) {
			t.Errorf("%s: %d %+v, %v", body, status, refusal, err)
		}
	}

	for range 3 {
		winners, ticket := raceWith(t, one.issue(t, body).Ticket, one, two)
		if winners != 1 {
			t.Errorf("%d of 10 came in with one ticket", winners)
		}
		for _, s := range []*serving{one, two} {
			if strings.Contains(s.stderr.String(), ticket) || strings.Contains(s.stderr.String(), secret) {
				t.Errorf("a ticket or the secret is in the log:\n%s", s.stderr)
			}
		}
	}
	if got := metric(t, one, `fairlead_tickets_total{result="issued"}`); got != "5" {
		t.Errorf("%s tickets are counted as issued, want 5", got)
	}
}

// raceWith connects to both nodes at once with one ticket, and returns how many came in.
func raceWith(t *testing.T, ticket string, nodes ...*serving) (winners int32, _ string) {
	t.Helper()
	var in atomic.Int32
	var racers sync.WaitGroup
	for i := range 10 {
		racers.Go(func() {
			_, err := tryDial(t, "ws://"+nodes[i%len(nodes)].public+"/ws/app_1?ticket="+ticket, nil)
			switch {
			case err == nil:
				in.Add(1)
			case !isRefused(err, http.StatusUnauthorized):
				t.Error(err)
			}
		})
	}
	racers.Wait()
	return in.Load(), ticket
}

func isRefused(err error, status int) bool {
	var r refused
	return errors.As(err, &r) && int(r) == status
}

// TestTicketsAlone: a node that is alone needs neither a secret nor JetStream.
func TestTicketsAlone(t *testing.T) {
	s := startServe(t, []string{"FAIRLEAD_JOURNAL_MODE=off"}, "--config", writeFile(t, "fairlead.toml", withTickets))
	ticket := s.issue(t, `{"subject":"42","route":"/ws/{group}","groups":["app_1"]}`).Ticket
	header := http.Header{"Sec-WebSocket-Protocol": {"ticket." + ticket}}
	if _, err := tryDial(t, "ws://"+s.public+"/ws/app_1", header); err != nil {
		t.Error(err)
	}
	if _, err := tryDial(t, "ws://"+s.public+"/ws/app_1", header); !isRefused(err, http.StatusUnauthorized) {
		t.Errorf("the second time: %v", err)
	}
	if got := metric(t, s, `fairlead_tickets_total{result="used"}`); got != "1" {
		t.Errorf("%s are counted as used", got)
	}
}

// TestTicketsWithoutJetStream: where nobody can say whether a ticket was used, none is made, and it is said at the start.
func TestTicketsWithoutJetStream(t *testing.T) {
	nats, err := bus.StartEmbedded(bus.EmbeddedConfig{Listen: "127.0.0.1:0", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer nats.Close(t.Context())
	env := []string{"FAIRLEAD_NATS_URL=" + nats.URL(), "FAIRLEAD_SESSION_SECRET=" + strings.Repeat("s", 32), "FAIRLEAD_JOURNAL_MODE=off"}
	file := writeFile(t, "fairlead.toml", withTickets)
	s := startServe(t, env, "--config", file)
	if log := s.stderr.String(); !strings.Contains(log, "tickets can be neither made nor used") || !strings.Contains(log, "turn it on") {
		t.Errorf("the log does not say so:\n%s", log)
	}
	var refusal struct {
		Error struct{ Code, Message string }
	}
	status, err := s.do("POST", "/api/v1/tickets", "", `{"subject":"42","route":"/ws/{group}"}`, &refusal)
	if err != nil || status != 503 || refusal.Error.Code != "unavailable" {
		t.Errorf("%d %+v, %v", status, refusal, err)
	}
	got := fairlead(t, "", env, "doctor", "--config", file)
	if !strings.Contains(got.stdout, "no ticket can be made or used") || got.code == 0 {
		t.Errorf("doctor: %d\n%s", got.code, got.stdout)
	}
}

func TestTicketConfig(t *testing.T) {
	file := writeFile(t, "fairlead.toml", withTickets)
	for _, tt := range []struct {
		env  string
		want string
	}{
		{"FAIRLEAD_SESSION_SECRET=SHORT", "session.secret: it has 5 bytes; want at least 32"},
		{"FAIRLEAD_NATS_URL=nats://127.0.0.1:1", "session.secret: is missing"},
	} {
		got := fairlead(t, "", []string{tt.env}, "config", "check", "--config", file)
		if got.code == 0 || !strings.Contains(got.stderr+got.stdout, tt.want) || strings.Contains(got.stderr, "SHORT") {
			t.Errorf("%s: %d\n%s%s", tt.env, got.code, got.stdout, got.stderr)
		}
	}
	if got := fairlead(t, "", nil, "config", "check", "--config", file); got.code != 0 {
		t.Errorf("%s%s", got.stdout, got.stderr)
	}
}

// TestTicketsReload: tickets outlive a reload, used ones too, though nobody configured a secret; a route that is gone takes none.
func TestTicketsReload(t *testing.T) {
	load := func(text string) func() (*config.Loaded, error) {
		return func() (*config.Loaded, error) {
			return config.Load(config.Source{File: writeFile(t, "fairlead.toml", text), Getenv: getenv([]string{
				"FAIRLEAD_LISTEN_PUBLIC=127.0.0.1:0", "FAIRLEAD_LISTEN_INTERNAL=127.0.0.1:0",
			})})
		}
	}
	l, err := load(withTickets)()
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(t.Context(), l, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}()
	issue := func(route string) (authn.IssuedTicket, error) {
		return ticketIssuer{n}.Issue(t.Context(), authn.TicketParams{Subject: "42", Route: route})
	}
	verify := func(ticket authn.IssuedTicket) error {
		tickets, _ := n.reloader.parts.ticketsOf(n.settings().Config, "/ws/{group}")
		_, err := tickets.Verify(t.Context(), authn.Credential{Value: []byte(ticket.Value), Request: &authn.Request{Route: "/ws/{group}"}})
		return err
	}
	used, err1 := issue("/ws/{group}")
	fresh, err2 := issue("/ws/{group}")
	if err := errors.Join(err1, err2, verify(used)); err != nil {
		t.Fatal(err)
	}
	n.reload(t.Context(), load(withTickets))
	if err := verify(fresh); err != nil {
		t.Errorf("a ticket from before the reload: %v", err)
	}
	if err := verify(used); !errors.Is(err, authn.ErrRejected) {
		t.Errorf("one that was used before the reload: %v", err)
	}
	n.reload(t.Context(), load(anyone))
	if _, err := issue("/ws/{group}"); !errors.Is(err, authn.ErrTicketParams) || !strings.Contains(err.Error(), "no route takes tickets") {
		t.Errorf("for a route that takes none any more: %v", err)
	}
}
