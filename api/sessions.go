package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/session"
)

// The bounds of a list.
const (
	defaultLimit, maxLimit = 100, 1000
	maxPageBytes           = 512 << 10 // of the list that one node gives: another node's must go into one message of NATS
	maxSubject             = 1024
)

// sessionView is a session, as the API shows it.
type sessionView struct {
	ID        session.ID `json:"id"`
	Node      string     `json:"node,omitempty"` // "" once the session is closed
	Phase     string     `json:"phase"`          // "opening", "open", "closing", "closed", "lost" or "unreachable"
	Subject   string     `json:"subject"`
	Name      string     `json:"name,omitempty"`
	Source    string     `json:"source"`
	Anonymous bool       `json:"anonymous"`
	Expires   time.Time  `json:"expires,omitzero"`
	// Silent: the session's handler does not return; what follows is not known.
	Silent bool            `json:"silent,omitempty"`
	Route  string          `json:"route"`
	Opened time.Time       `json:"opened,omitzero"`
	Groups []session.Group `json:"groups"`

	Heard       time.Time `json:"heard,omitzero"` // when the client was last heard of
	Paused      bool      `json:"paused,omitempty"`
	QueuedBytes int       `json:"queued_bytes,omitempty"`

	Closed time.Time `json:"closed,omitzero"`
	Code   uint16    `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`

	MessagesReceived uint64 `json:"messages_received"`
	MessagesSent     uint64 `json:"messages_sent"`
	BytesReceived    uint64 `json:"bytes_received"`
	BytesSent        uint64 `json:"bytes_sent"`
}

func (v *sessionView) identity(id *session.Identity) {
	v.Subject, v.Name, v.Source, v.Anonymous = id.Subject, id.Name, id.Source, id.Anonymous
	v.Expires = id.Expires.UTC()
}

func viewOf(i actor.Info, node string) sessionView {
	v := sessionView{
		ID: i.ID, Node: node, Phase: "open", Silent: i.Silent, Route: i.Route, Opened: i.Opened.UTC(), Groups: i.Groups,
		Heard: i.Heard.UTC(), Paused: i.Paused, QueuedBytes: i.Queued,
		MessagesReceived: i.MessagesReceived, MessagesSent: i.MessagesSent, BytesReceived: i.BytesReceived, BytesSent: i.BytesSent,
	}
	if i.Closing {
		v.Phase = "closing"
	}
	if v.Groups == nil {
		v.Groups = []session.Group{}
	}
	v.identity(i.Identity)
	return v
}

// sessionsQuestion asks a node for its sessions. It crosses nodes of different versions: members are only ever added.
type sessionsQuestion struct {
	Subject string        `json:"subject,omitempty"`
	Group   session.Group `json:"group,omitzero"`
	Route   string        `json:"route,omitempty"`
	After   session.ID    `json:"after,omitzero"`
	Limit   int           `json:"limit"`
}

// sessionsAnswer is what one node has.
type sessionsAnswer struct {
	Sessions []sessionView `json:"sessions"`
	More     bool          `json:"more"`   // there are more behind the last one
	Silent   int           `json:"silent"` // actors that did not answer
}

// sessionList is the answer to the client.
type sessionList struct {
	Sessions []sessionView `json:"sessions"`
	Next     string        `json:"next,omitempty"` // the value of after for what follows; "": nothing does
	Silent   int           `json:"silent"`
	Missing  []absent      `json:"missing"`
}

// compareIDs orders sessions: by epoch, then by number, so that each node's stand together.
func compareIDs(a, b session.ID) int {
	if c := bytes.Compare(a.Epoch[:], b.Epoch[:]); c != 0 {
		return c
	}
	switch {
	case a.Number < b.Number:
		return -1
	case a.Number > b.Number:
		return 1
	}
	return 0
}

// localSessions answers the question for this node.
func (b *Backend) localSessions(ctx context.Context, q sessionsQuestion) sessionsAnswer {
	self := b.Self()
	answer := sessionsAnswer{Sessions: []sessionView{}}
	after := uint64(0)
	switch c := bytes.Compare(self.Epoch[:], q.After.Epoch[:]); {
	case c < 0:
		return answer // all of this node's come before it
	case c == 0:
		after = q.After.Number
	}
	limit := min(max(q.Limit, 1), maxLimit)
	f := actor.Filter{Subject: q.Subject, Group: q.Group, Route: q.Route}
	infos, silent := b.Sessions.Sessions(ctx, f, after, limit+1)
	answer.Silent = silent
	size := 0
	for i, info := range infos {
		v := viewOf(info, self.Name)
		size += viewSize(v)
		if i == limit || size > maxPageBytes && i > 0 {
			answer.More = true
			break
		}
		answer.Sessions = append(answer.Sessions, v)
	}
	return answer
}

// viewSize is about what v takes as JSON, and rather more.
func viewSize(v sessionView) int {
	n := 640 + 2*(len(v.Subject)+len(v.Name)+len(v.Route))
	for _, g := range v.Groups {
		n += len(g.String()) + 3
	}
	return n
}

// listSessions asks all nodes, and puts together the first q.Limit sessions of what they say.
func (a *API) listSessions(ctx context.Context, q sessionsQuestion) (sessionList, error) {
	answers, missing, err := askAll(ctx, a, opSessions, q, infallible(a.backend.localSessions))
	if err != nil {
		return sessionList{}, err
	}
	list := sessionList{Sessions: []sessionView{}, Missing: missing}
	more := false
	horizon := session.ID{} // behind it, a node with more to say may have what comes first
	for _, part := range answers {
		list.Silent += part.Silent
		list.Sessions = append(list.Sessions, part.Sessions...)
		if n := len(part.Sessions); part.More && n > 0 {
			if last := part.Sessions[n-1].ID; !more || compareIDs(last, horizon) < 0 {
				horizon = last
			}
			more = true
		}
	}
	slices.SortFunc(list.Sessions, func(x, y sessionView) int { return compareIDs(x.ID, y.ID) })
	if more {
		if i := slices.IndexFunc(list.Sessions, func(v sessionView) bool { return compareIDs(v.ID, horizon) > 0 }); i >= 0 {
			list.Sessions = list.Sessions[:i]
		}
	}
	if len(list.Sessions) > q.Limit {
		list.Sessions, more = list.Sessions[:q.Limit], true
	}
	if more {
		list.Next = list.Sessions[len(list.Sessions)-1].ID.String()
	}
	return list, nil
}

// getSessions answers GET /api/v1/sessions.
func (a *API) getSessions(_ http.ResponseWriter, r *http.Request) (any, error) {
	q, err := parameters(r, "user", "group", "route", "limit", "after")
	if err != nil {
		return nil, err
	}
	return a.sessionsFor(r, q, q.Get("user"))
}

// getUserSessions answers GET /api/v1/users/{subject}/sessions.
func (a *API) getUserSessions(_ http.ResponseWriter, r *http.Request) (any, error) {
	q, err := parameters(r, "group", "route", "limit", "after")
	if err != nil {
		return nil, err
	}
	subject, err := pathSubject(r)
	if err != nil {
		return nil, err
	}
	return a.sessionsFor(r, q, subject)
}

func (a *API) sessionsFor(r *http.Request, q url.Values, subject string) (any, error) {
	question := sessionsQuestion{Subject: subject, Route: q.Get("route")}
	var err error
	if g := q.Get("group"); g != "" {
		if question.Group, err = session.ParseGroup(g); err != nil {
			return nil, badRequest("group", err.Error())
		}
	}
	if after := q.Get("after"); after != "" {
		if question.After, err = session.ParseID(after); err != nil {
			return nil, badRequest("parameter", "after: "+err.Error()+"; it is the next of the answer before")
		}
	}
	if question.Limit, err = limitOf(q); err != nil {
		return nil, err
	}
	if len(question.Subject) > maxSubject || len(question.Route) > maxSubject {
		return nil, badRequest("parameter", fmt.Sprintf("user and route have at most %d bytes", maxSubject))
	}
	return a.listSessions(r.Context(), question)
}

// getSession answers GET /api/v1/sessions/{id}: what the node that has it sees, else what the journal has.
func (a *API) getSession(_ http.ResponseWriter, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	if id.Number == 0 {
		return nil, notFound("number 0 stands for the node itself, which is no session; its events are at /api/v1/sessions/" + id.String() + "/events")
	}
	answer, err := askOwner(r.Context(), a, opSession, id.Epoch, sessionQuestion{id}, a.backend.localSession)
	switch {
	case err != nil:
		return nil, err
	case answer.Session == nil:
		return nil, notFound("no node has this session, and no journal that this node can read: it never was, or it ended too long ago")
	}
	return answer.Session, nil
}

type sessionQuestion struct {
	ID session.ID `json:"id"`
}

type sessionAnswer struct {
	Session *sessionView `json:"session"` // null: not known here
}

func (a sessionAnswer) known() bool { return a.Session != nil }

// localSession returns what this node knows of a session: its connection's state, or what the journal has.
func (b *Backend) localSession(ctx context.Context, q sessionQuestion) (sessionAnswer, error) {
	self := b.Self()
	if q.ID.Epoch == self.Epoch {
		if info, ok := b.Sessions.Session(ctx, q.ID.Number); ok {
			v := viewOf(info, self.Name)
			return sessionAnswer{&v}, nil
		}
	}
	v := sessionView{ID: q.ID, Groups: []session.Group{}}
	var state session.State
	for record, err := range b.Journal.Session(ctx, q.ID) {
		if err != nil {
			return sessionAnswer{}, fmt.Errorf("the journal: %w", err)
		}
		state = state.Apply(record)
		if e, ok := record.Event.(session.Closed); ok {
			v.Closed, v.Code, v.Reason = record.Time, e.Code, e.Reason
			v.MessagesReceived, v.BytesReceived = e.MessagesReceived, e.BytesReceived
			v.MessagesSent, v.BytesSent = e.MessagesSent, e.BytesSent
		}
	}
	switch state.Phase {
	case session.PhaseNone: // or its beginning is gone: what is left says neither who nor what
		return sessionAnswer{}, nil
	case session.PhaseClosed:
		v.Phase = "closed"
	default:
		v.Groups = state.Groups
		switch {
		case q.ID.Epoch == self.Epoch:
			v.Phase, v.Node = "opening", self.Name
		case b.there(q.ID.Epoch):
			v.Phase = "unreachable" // its node does not answer, and may have it open
		default:
			v.Phase = "lost" // its node has ended without a word
		}
	}
	v.Route, v.Opened = state.Route, state.Opened
	v.identity(state.Identity)
	if v.Groups == nil {
		v.Groups = []session.Group{}
	}
	return sessionAnswer{&v}, nil
}
