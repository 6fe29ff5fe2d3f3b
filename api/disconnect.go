package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/session"
)

const (
	maxReason        = 123 // bytes: what a close frame has room for
	maxSmallBody     = 16 << 10
	disconnectReason = "disconnected by an operator"
)

// disconnectRequest is the body of both ways to disconnect, and may be empty.
type disconnectRequest struct {
	Code   *uint16 `json:"code"`
	Reason *string `json:"reason"`
}

// disconnectQuestion means one session, or all of a user.
type disconnectQuestion struct {
	ID      session.ID `json:"id,omitzero"`
	Subject string     `json:"subject,omitempty"`
	Code    uint16     `json:"code"`
	Reason  string     `json:"reason"`
}

type disconnectAnswer struct {
	Disconnected int `json:"disconnected"`
	Silent       int `json:"silent"`
}

func (a disconnectAnswer) known() bool { return a != (disconnectAnswer{}) }

// disconnectResult is the answer to the client.
type disconnectResult struct {
	Disconnected int `json:"disconnected"`
	// Silent connections are closed as soon as their handler returns.
	Silent  int      `json:"silent"`
	Missing []absent `json:"missing"`
}

// mayClose reports whether whoever disconnects may give the code: one that says something to a client, and that Fairlead or
// the application could have sent.
func mayClose(code uint16) bool {
	switch actor.CloseCode(code) {
	case actor.CloseNormal, actor.CloseGoingAway, actor.ClosePolicyViolation, actor.CloseServiceRestart, actor.CloseTryAgainLater:
		return true
	}
	return 3000 <= code && code <= 4999
}

// localDisconnect closes the connections that are meant on this node.
func (b *Backend) localDisconnect(ctx context.Context, q disconnectQuestion) (disconnectAnswer, error) {
	f := actor.Filter{Subject: q.Subject}
	if q.Subject == "" {
		if q.ID.Epoch != b.Self().Epoch {
			return disconnectAnswer{}, nil
		}
		f.Number = q.ID.Number
	}
	if f == (actor.Filter{}) || !mayClose(q.Code) { // the zero Filter would mean everybody
		return disconnectAnswer{}, errors.New("nobody is meant, or the close code is none that may be given")
	}
	closed, silent := b.Sessions.Disconnect(ctx, f, actor.CloseCode(q.Code), q.Reason)
	return disconnectAnswer{closed, silent}, nil
}

// closing reads the code and the reason.
func closing(w http.ResponseWriter, r *http.Request) (q disconnectQuestion, err error) {
	if _, err := parameters(r); err != nil {
		return q, err
	}
	var body disconnectRequest
	if err := decode(w, r, maxSmallBody, true, &body); err != nil {
		return q, err
	}
	q.Code, q.Reason = uint16(actor.CloseForbidden), disconnectReason
	if body.Code != nil {
		q.Code = *body.Code
	}
	if body.Reason != nil {
		q.Reason = *body.Reason
	}
	switch {
	case !mayClose(q.Code):
		return q, badRequest("close_code", fmt.Sprintf("the close code %d may not be given; want 1000, 1001, 1008, 1012, 1013, or 3000 to 4999", q.Code))
	case len(q.Reason) > maxReason || !utf8.ValidString(q.Reason):
		return q, badRequest("reason", fmt.Sprintf("the reason has %d bytes; a close frame has room for %d", len(q.Reason), maxReason))
	}
	return q, nil
}

// postDisconnect answers POST /api/v1/sessions/{id}/disconnect.
func (a *API) postDisconnect(w http.ResponseWriter, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	q, err := closing(w, r)
	if err != nil {
		return nil, err
	}
	if q.ID = id; id.Number == 0 {
		return nil, badRequest("session", "number 0 stands for the node itself; want a session")
	}
	answer, err := askOwner(r.Context(), a, opDisconnect, id.Epoch, q, a.backend.localDisconnect)
	switch {
	case err != nil:
		return nil, err
	case !answer.known():
		return nil, notFound("no node that is there has this session open")
	}
	a.logger.Info("disconnected by the API", "session", id.String(), "code", q.Code, "by", caller(r.Context()))
	return disconnectResult{answer.Disconnected, answer.Silent, []absent{}}, nil
}

// postUserDisconnect answers POST /api/v1/users/{subject}/disconnect, when every node that can be reached has done it.
func (a *API) postUserDisconnect(w http.ResponseWriter, r *http.Request) (any, error) {
	subject, err := pathSubject(r)
	if err != nil {
		return nil, err
	}
	q, err := closing(w, r)
	if err != nil {
		return nil, err
	}
	q.Subject = subject
	parts, missing, err := askAll(r.Context(), a, opDisconnect, q, a.backend.localDisconnect)
	if err != nil {
		return nil, err
	}
	result := disconnectResult{Missing: missing}
	for _, part := range parts {
		result.Disconnected += part.Disconnected
		result.Silent += part.Silent
	}
	a.logger.Info("disconnected by the API", "subject", subject, "connections", result.Disconnected, "missing_nodes", len(missing),
		"code", q.Code, "by", caller(r.Context()))
	return result, nil
}
