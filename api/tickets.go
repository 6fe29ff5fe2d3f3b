package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
)

// subject is a user's primary key, which backends have as a text or as an integer.
type subject string

// UnmarshalJSON implements [json.Unmarshaler].
func (s *subject) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, (*string)(s))
	}
	digits := strings.TrimPrefix(string(b), "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return errors.New("subject is neither a text nor an integer")
	}
	*s = subject(b)
	return nil
}

// ticketRequest is the body of POST /api/v1/tickets.
type ticketRequest struct {
	Subject        subject  `json:"subject"`
	Name           string   `json:"name"`
	Route          string   `json:"route"`
	Origin         string   `json:"origin"`
	Groups         []string `json:"groups"`
	TTLSeconds     *int     `json:"ttl_seconds"`
	SessionExpires string   `json:"session_expires"`
}

// ticketResult is the answer.
type ticketResult struct {
	Ticket  string    `json:"ticket"`
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
}

// postTicket answers POST /api/v1/tickets.
func (a *API) postTicket(w http.ResponseWriter, r *http.Request) (any, error) {
	if _, err := parameters(r); err != nil {
		return nil, err
	}
	var body ticketRequest
	if err := decode(w, r, maxSmallBody, false, &body); err != nil {
		return nil, err
	}
	if a.backend.Tickets == nil {
		return nil, badRequest("ticket", "this node makes no tickets")
	}
	p := authn.TicketParams{
		Subject: string(body.Subject), Name: body.Name, Route: body.Route, Origin: body.Origin, Groups: body.Groups,
	}
	if s := body.TTLSeconds; s != nil {
		if longest := int(authn.MaxTicketTTL / time.Second); *s < 1 || *s > longest {
			return nil, badRequest("ticket", fmt.Sprintf("ttl_seconds is %d; want 1 to %d", *s, longest))
		}
		p.TTL = time.Duration(*s) * time.Second
	}
	if body.SessionExpires != "" {
		var err error
		if p.SessionExpires, err = time.Parse(time.RFC3339, body.SessionExpires); err != nil {
			return nil, badRequest("ticket", "session_expires is no time; want RFC 3339, such as 2030-01-31T12:00:00Z")
		}
	}
	ticket, err := a.backend.Tickets.Issue(r.Context(), p)
	switch {
	case errors.Is(err, authn.ErrTicketParams):
		return nil, badRequest("ticket", strings.TrimPrefix(err.Error(), authn.ErrTicketParams.Error()+": "))
	case errors.Is(err, authn.ErrUnavailable):
		a.logger.Warn("a ticket could not be made", "error", err)
		return nil, unavailable("no ticket could be used now, so none is made: NATS or its JetStream is away; the log says more")
	case err != nil:
		return nil, err
	}
	return ticketResult{Ticket: ticket.Value, ID: ticket.ID, Expires: ticket.Expires}, nil
}
