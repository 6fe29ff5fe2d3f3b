package authn

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/session"
)

// spends is a [Spender] in memory. Err, when it is set, is all that it says.
type spends struct {
	place string
	used  map[string]bool
	err   error
	asked int
}

func (s *spends) Place(context.Context) (string, error) { return s.place, s.err }

func (s *spends) Spend(_ context.Context, place, id string) (bool, error) {
	s.asked++
	if s.err != nil || place != s.place || s.used[id] {
		return false, s.err
	}
	s.used[id] = true
	return true, nil
}

var ticketSecret = bytes.Repeat([]byte("secret.."), 4)

// ticketNow is when the tests' tickets are issued.
var ticketNow = time.Date(2026, 11, 25, 12, 0, 0, 123456789, time.UTC)

// desk is Tickets with their surroundings.
type desk struct {
	*Tickets
	spends   *spends
	now      time.Time
	registry *prometheus.Registry
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{spends: &spends{place: "here", used: map[string]bool{}}, now: ticketNow, registry: prometheus.NewRegistry()}
	var err error
	d.Tickets, err = NewTickets(TicketsConfig{
		Name: "door", Secret: ticketSecret, Spender: d.spends, Registerer: d.registry, Now: func() time.Time { return d.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) issue(t testing.TB, p TicketParams) IssuedTicket {
	t.Helper()
	ticket, err := d.Issue(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func (d *desk) verify(t testing.TB, ticket string, r *Request) (*session.Identity, error) {
	t.Helper()
	return d.Verify(t.Context(), Credential{From: "query", Value: []byte(ticket), Request: r})
}

func (d *desk) count(t testing.TB, want string) {
	t.Helper()
	const help = "# HELP fairlead_tickets_total One-time tickets: issued, accepted, used before, or unavailable, when nobody could say whether one was used.\n# TYPE fairlead_tickets_total counter\n"
	if err := testutil.GatherAndCompare(d.registry, strings.NewReader(help+want), "fairlead_tickets_total"); err != nil {
		t.Error(err)
	}
}

func onRoute(route, origin string) *Request {
	return &Request{Route: route, Origin: []byte(origin), HasOrigin: origin != ""}
}

// wantReason checks the kind and the reason of a refusal.
func wantReason(t testing.TB, err error, kind error, reason Reason) {
	t.Helper()
	if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(e.Kind, kind) || e.Reason != reason {
		t.Errorf("error %v, want %v (%s)", err, kind, reason)
	}
}

func TestTicket(t *testing.T) {
	d := newDesk(t)
	end := ticketNow.Add(time.Hour)
	ticket := d.issue(t, TicketParams{
		Subject: "42", Name: "ann é", Route: "/ws/{group}", Origin: "HTTPS://App.example.com:443", Groups: []string{"app_1", "room_*"}, SessionExpires: end,
	})
	if !ticket.Expires.Equal(ticketNow.Truncate(time.Millisecond).Add(DefaultTicketTTL)) {
		t.Errorf("it expires at %v", ticket.Expires)
	}
	if !isToken(ticket.Value) || len(ticket.Value) > 250 {
		t.Errorf("the ticket %q cannot be a subprotocol, or is long", ticket.Value)
	}
	d.now = d.now.Add(DefaultTicketTTL - time.Second)
	id, err := d.verify(t, ticket.Value, onRoute("/ws/{group}", "https://app.example.com"))
	want := &session.Identity{
		Subject: "42", Name: "ann é", Source: "door", Expires: end.Truncate(time.Second), TokenID: ticket.ID,
		IssuedAt: ticketNow.Truncate(time.Millisecond), Grants: []string{"app_1", "room_*"},
	}
	if err != nil || !reflect.DeepEqual(id, want) {
		t.Errorf("identity %+v, %v\nwant %+v", id, err, want)
	}
	_, err = d.verify(t, ticket.Value, onRoute("/ws/{group}", "https://app.example.com"))
	wantReason(t, err, ErrRejected, ReasonUsed)
	d.count(t, `fairlead_tickets_total{result="accepted"} 1
fairlead_tickets_total{result="issued"} 1
fairlead_tickets_total{result="unavailable"} 0
fairlead_tickets_total{result="used"} 1
`)
}

// A ticket that is not good for this request is not used up by it.
func TestTicketIsNotUsedUp(t *testing.T) {
	tests := []struct {
		name    string
		params  TicketParams
		request *Request
		later   time.Duration
		reason  Reason
	}{
		{"another route", TicketParams{}, onRoute("/chat/{room}", ""), 0, ReasonBadClaims},
		{"the route's path, not its pattern", TicketParams{}, onRoute("/ws/app_1", ""), 0, ReasonBadClaims},
		{"no request", TicketParams{}, nil, 0, ReasonBadClaims},
		{"no origin", TicketParams{Origin: "https://a.example"}, onRoute("/ws/{group}", ""), 0, ReasonBadClaims},
		{"another origin", TicketParams{Origin: "https://a.example"}, onRoute("/ws/{group}", "https://b.example"), 0, ReasonBadClaims},
		{"another scheme", TicketParams{Origin: "https://a.example"}, onRoute("/ws/{group}", "http://a.example"), 0, ReasonBadClaims},
		{"another port", TicketParams{Origin: "https://a.example"}, onRoute("/ws/{group}", "https://a.example:8443"), 0, ReasonBadClaims},
		{"a subdomain", TicketParams{Origin: "https://a.example"}, onRoute("/ws/{group}", "https://x.a.example"), 0, ReasonBadClaims},
		{"the origin null", TicketParams{Origin: "https://a.example"}, onRoute("/ws/{group}", "null"), 0, ReasonBadClaims},
		{"too late", TicketParams{}, onRoute("/ws/{group}", ""), DefaultTicketTTL, ReasonExpired},
		{"later than it was asked for", TicketParams{TTL: 2 * time.Second}, onRoute("/ws/{group}", ""), 2 * time.Second, ReasonExpired},
		{"of the future", TicketParams{}, onRoute("/ws/{group}", ""), -31 * time.Second, ReasonNotYetValid},
		{"the connection would be over", TicketParams{SessionExpires: ticketNow.Add(5 * time.Second)}, onRoute("/ws/{group}", ""), 6 * time.Second, ReasonExpired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			tt.params.Subject, tt.params.Route = "1", "/ws/{group}"
			ticket := d.issue(t, tt.params)
			d.now = ticketNow.Add(tt.later)
			_, err := d.verify(t, ticket.Value, tt.request)
			wantReason(t, err, ErrRejected, tt.reason)
			if d.spends.asked != 0 {
				t.Error("it was spent")
			}
			d.now = ticketNow.Add(time.Second)
			if _, err = d.verify(t, ticket.Value, onRoute("/ws/{group}", tt.params.Origin)); err != nil {
				t.Errorf("where it belongs it is refused afterwards: %v", err)
			}
		})
	}
}

// No ticket that differs in one character is good, nor one of another secret or of another form.
func TestTicketForged(t *testing.T) {
	d := newDesk(t)
	good := d.issue(t, TicketParams{Subject: "1", Route: "/ws"}).Value
	for i := range good {
		for _, c := range []byte{'A', 'B', good[i] ^ 1, 0, '=', '\n', 0xff} {
			b := []byte(good)
			if b[i] == c {
				continue
			}
			b[i] = c
			if _, err := d.verify(t, string(b), onRoute("/ws", "")); !errors.Is(err, ErrRejected) {
				t.Fatalf("with %q at %d: %v", c, i, err)
			}
		}
	}
	other, err := NewTickets(TicketsConfig{Secret: bytes.Repeat([]byte("x"), 32), Spender: d.spends, Now: d.Tickets.now})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Issue(t.Context(), TicketParams{Subject: "1", Route: "/ws"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, ticket string
		reason       Reason
	}{
		{"empty", "", ReasonMalformed},
		{"the prefix alone", "ft1.", ReasonMalformed},
		{"no prefix", good[4:], ReasonMalformed},
		{"another prefix", "ft2." + good[4:], ReasonMalformed},
		{"cut", good[:len(good)-4], ReasonBadSignature},
		{"padded", good + "=", ReasonMalformed},
		{"with a line break", good[:20] + "\n" + good[20:], ReasonMalformed},
		{"with a line break at the end", good + "\r\n", ReasonMalformed},
		{"longer", good + "AAAA", ReasonBadSignature},
		{"much longer", good + strings.Repeat("A", MaxTicket), ReasonMalformed},
		{"of another secret", foreign.Value, ReasonBadSignature},
		{"standard base64", "ft1." + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 60)), ReasonMalformed},
	} {
		_, err := d.verify(t, tt.ticket, onRoute("/ws", ""))
		wantReason(t, err, ErrRejected, tt.reason)
		if t.Failed() {
			t.Fatal(tt.name)
		}
	}
	if d.spends.asked != 0 {
		t.Error("one was spent")
	}
	if _, err := d.verify(t, good, onRoute("/ws", "")); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// When nobody can say whether a ticket was used, that is no answer about the ticket; a register that was lost is one.
func TestTicketSpender(t *testing.T) {
	d := newDesk(t)
	ticket := d.issue(t, TicketParams{Subject: "1", Route: "/ws"})
	d.spends.err = errors.New("away")
	_, err := d.verify(t, ticket.Value, onRoute("/ws", ""))
	wantReason(t, err, ErrUnavailable, ReasonVerifierUnavailable)
	_, err = d.Issue(t.Context(), TicketParams{Subject: "1", Route: "/ws"})
	wantReason(t, err, ErrUnavailable, ReasonVerifierUnavailable)
	d.spends.err, d.spends.place = nil, "there"
	_, err = d.verify(t, ticket.Value, onRoute("/ws", ""))
	wantReason(t, err, ErrRejected, ReasonUsed)
	d.count(t, `fairlead_tickets_total{result="accepted"} 0
fairlead_tickets_total{result="issued"} 1
fairlead_tickets_total{result="unavailable"} 2
fairlead_tickets_total{result="used"} 1
`)
}

func TestTicketParams(t *testing.T) {
	good := TicketParams{Subject: "1", Route: "/ws"}
	for _, tt := range []struct {
		name   string
		change func(*TicketParams)
		want   string // a part of the error; "": it is fine
	}{
		{"as it is", func(*TicketParams) {}, ""},
		{"the longest subject", func(p *TicketParams) { p.Subject = strings.Repeat("s", 256) }, ""},
		{"no subject", func(p *TicketParams) { p.Subject = "" }, "subject is missing"},
		{"a long subject", func(p *TicketParams) { p.Subject = strings.Repeat("s", 1025) }, "subject is longer than 1024"},
		{"a NUL in the subject", func(p *TicketParams) { p.Subject = "a\x00" }, "subject has a control character"},
		{"a name of no UTF-8", func(p *TicketParams) { p.Name = "\xff" }, "name is not valid UTF-8"},
		{"no route", func(p *TicketParams) { p.Route = "" }, "route is missing"},
		{"an empty time", func(p *TicketParams) { p.TTL = time.Millisecond }, "want 1s to 5m0s"},
		{"a negative time", func(p *TicketParams) { p.TTL = -time.Second }, "want 1s to 5m0s"},
		{"the longest time", func(p *TicketParams) { p.TTL = MaxTicketTTL }, ""},
		{"a long time", func(p *TicketParams) { p.TTL = MaxTicketTTL + time.Second }, "want 1s to 5m0s"},
		{"an origin with a path", func(p *TicketParams) { p.Origin = "https://a.example/" }, "origin is none"},
		{"an origin without a scheme", func(p *TicketParams) { p.Origin = "a.example" }, "origin is none"},
		{"the origin null", func(p *TicketParams) { p.Origin = "null" }, "origin is none"},
		{"an origin with a port", func(p *TicketParams) { p.Origin = "https://a.example:8443" }, ""},
		{"the end in the past", func(p *TicketParams) { p.SessionExpires = ticketNow }, "in the past"},
		{"the end beyond all years", func(p *TicketParams) { p.SessionExpires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "9999"},
		{"many groups", func(p *TicketParams) { p.Groups = make([]string, 65) }, "there are 65 groups"},
		{"a group with a line break", func(p *TicketParams) { p.Groups = []string{"a", "b\n"} }, "groups[1] has a control character"},
		{"long groups", func(p *TicketParams) {
			for range 64 {
				p.Groups = append(p.Groups, strings.Repeat("g", 99))
			}
		}, "want at most 4096"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := good
			tt.change(&p)
			_, err := newDesk(t).Issue(t.Context(), p)
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrTicketParams) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNewTickets(t *testing.T) {
	s := &spends{}
	for _, tt := range []struct {
		config TicketsConfig
		want   string
	}{
		{TicketsConfig{Secret: ticketSecret}, "no Spender"},
		{TicketsConfig{Secret: ticketSecret[:31], Spender: s}, "31 bytes; want at least 32"},
		{TicketsConfig{Secret: ticketSecret, Spender: s, Name: "a b"}, "verifier's name"},
	} {
		if _, err := NewTickets(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret..") {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
	if _, err := NewTickets(TicketsConfig{Secret: ticketSecret, Spender: s}); err != nil {
		t.Error(err)
	}
}

// In a chain a ticket is good for one connection, and is no credential to verify again.
func TestTicketInChain(t *testing.T) {
	d := newDesk(t)
	query, err := NewQuery("ticket")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := NewChain(Source{Extractor: query, Verifier: d.Tickets, Name: "door"})
	if err != nil {
		t.Fatal(err)
	}
	r := onRoute("/ws", "")
	r.RawQuery = []byte("ticket=" + d.issue(t, TicketParams{Subject: "1", Route: "/ws"}).Value)
	found, err := chain.Find(t.Context(), r)
	if err != nil || found.Identity.Subject != "1" || found.By != "query ticket, door" {
		t.Fatalf("found %+v, %v", found, err)
	}
	if kept := chain.Keep(found, r); kept != nil {
		t.Error("a ticket that is used up is kept")
	}
	_, err = chain.Find(t.Context(), r)
	wantReason(t, err, ErrRejected, ReasonUsed)
}

// FuzzTicket: nothing that a stranger sends is good, or breaks what reads it; what we sign reads as it was written, and of
// all else that is signed nothing is read twice in one way.
func FuzzTicket(f *testing.F) {
	d := newDesk(f)
	for _, p := range []TicketParams{
		{Subject: "1", Route: "/ws"},
		{Subject: "42", Name: "ann", Route: "/ws/{group}", Origin: "https://a.example", Groups: []string{"app_1", "app_*"}, SessionExpires: ticketNow.Add(time.Hour)},
	} {
		good := d.issue(f, p).Value
		raw, err := ticketBase64.DecodeString(good[len(ticketPrefix):])
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(good))
		f.Add([]byte(good[:len(good)-1]))
		f.Add(raw[:len(raw)-32])
	}
	f.Add([]byte("ft1."))
	f.Add([]byte{})
	r := onRoute("/ws", "")
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := d.Verify(context.Background(), Credential{Value: b, Request: r}); err == nil {
			if id.Subject != "1" { // the first seed
				t.Fatalf("%q is let in", b)
			}
		} else if !errors.Is(err, ErrRejected) {
			t.Fatalf("error %v", err)
		}
		var v, again ticketValue
		if !v.parse(b) {
			return
		}
		sealed := v.seal(d.key)
		if len(sealed) > MaxTicket {
			return
		}
		raw, err := ticketBase64.DecodeString(string(sealed[len(ticketPrefix):]))
		if err != nil || !again.parse(raw[:len(raw)-32]) || !reflect.DeepEqual(v, again) {
			t.Fatalf("%+v is written and read as %+v, %v", v, again, err)
		}
	})
}

func BenchmarkTicketVerify(b *testing.B) {
	d := newDesk(b)
	ticket := d.issue(b, TicketParams{Subject: "42", Name: "ann", Route: "/ws/{group}", Groups: []string{"app_1"}})
	c := Credential{Value: []byte(ticket.Value), Request: onRoute("/other", "")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Verify(b.Context(), c); err == nil {
			b.Fatal("let in")
		}
	}
}
