package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

func ids(list []sessionView) (texts []string) {
	for _, v := range list {
		texts = append(texts, v.ID.String())
	}
	return texts
}

func idsOf(members ...*member) (texts []string) {
	for _, m := range members {
		texts = append(texts, m.id.String())
	}
	return texts
}

func TestSessions(t *testing.T) {
	_, first, second := newPair(t)
	a := first.connect("1", "/ws/{group}", actor.Echo, "app_1")
	b := first.connect("2", "/ws/{group}", actor.Ignore, "app_1", "news")
	c := second.connect("1", "/news", actor.Ignore, "news")
	d := second.connect("", "/news", actor.Ignore, "news")
	e := second.connect("a/b c", "/news", actor.Ignore)

	for _, tt := range []struct {
		query string
		want  []string
		next  string
	}{
		{"", idsOf(a, b, c, d, e), ""},
		{"?user=1", idsOf(a, c), ""},
		{"?group=news", idsOf(b, c, d), ""},
		{"?route=/news", idsOf(c, d, e), ""},
		{"?user=1&group=news", idsOf(c), ""},
		{"?user=3", nil, ""},
		{"?limit=5", idsOf(a, b, c, d, e), ""},
		{"?limit=1", idsOf(a), a.id.String()},
		{"?limit=2", idsOf(a, b), b.id.String()},
		{"?limit=3", idsOf(a, b, c), c.id.String()},
		{"?limit=2&after=" + b.id.String(), idsOf(c, d), d.id.String()},
		{"?limit=2&after=" + d.id.String(), idsOf(e), ""},
		{"?after=" + e.id.String(), nil, ""},
	} {
		for _, n := range []*testNode{first, second} { // whoever is asked
			var got sessionList
			n.ask("GET", "/api/v1/sessions"+tt.query, "").as(200, &got)
			if !slices.Equal(ids(got.Sessions), tt.want) || got.Next != tt.next || len(got.Missing) != 0 || got.Silent != 0 {
				t.Errorf("%s asked %s: %v, next %q, missing %v; want %v, next %q", n.name, tt.query, ids(got.Sessions), got.Next, got.Missing, tt.want, tt.next)
			}
		}
	}
	var got sessionList
	first.ask("GET", "/api/v1/users/1/sessions", "").as(200, &got)
	if !slices.Equal(ids(got.Sessions), idsOf(a, c)) {
		t.Errorf("of user 1: %v", ids(got.Sessions))
	}
	first.ask("GET", "/api/v1/users/a%2Fb%20c/sessions?route=/news", "").as(200, &got)
	if !slices.Equal(ids(got.Sessions), idsOf(e)) {
		t.Errorf("of a user with a slash: %v", ids(got.Sessions))
	}
	for query, says := range map[string]string{
		"?usr=1":                             `no parameter "usr"; want user, group, route, limit, after`,
		"?user=1&user=2":                     "twice",
		"?user=%ff":                          "UTF-8",
		"?user=%zz":                          "well-formed",
		"?limit=0":                           "1 to 1000",
		"?limit=1001":                        "1 to 1000",
		"?limit=x":                           "1 to 1000",
		"?after=x":                           "want EPOCH-NUMBER",
		"?group=*":                           "has '*'",
		"?user=" + strings.Repeat("x", 1025): "at most 1024",
	} {
		code := "parameter"
		if strings.HasPrefix(query, "?group") {
			code = "group"
		}
		first.ask("GET", "/api/v1/sessions"+query, "").refused(400, code, says)
	}
}

func TestSession(t *testing.T) {
	w, first, second := newPair(t)
	m := second.connect("1", "/ws/{group}", actor.Echo, "app_1")
	for _, n := range []*testNode{first, second} {
		var got sessionView
		n.ask("GET", "/api/v1/sessions/"+m.id.String(), "").as(200, &got)
		if got.ID != m.id || got.Node != "node-2" || got.Phase != "open" || got.Subject != "1" || got.Name != "name of 1" ||
			got.Source != "test" || got.Route != "/ws/{group}" || len(got.Groups) != 1 || time.Since(got.Opened) > time.Minute {
			t.Errorf("%s: %+v", n.name, got)
		}
	}
	const gone = "AAAAAAAAAAAAAAAAAAAA"
	for path, tt := range map[string]struct {
		status int
		code   string
	}{
		"/api/v1/sessions/" + second.epoch.String() + "-99":           {404, "not_found"},
		"/api/v1/sessions/" + second.epoch.String() + "-0":            {404, "not_found"},
		"/api/v1/sessions/" + session.Epoch{9}.String() + "-1":        {404, "not_found"},
		"/api/v1/sessions/" + gone + "-1":                             {400, "session"},
		"/api/v1/sessions/" + session.Epoch{9}.String() + "-1/events": {404, "not_found"},
		"/api/v1/sessions/x/events":                                   {400, "session"},
	} {
		first.ask("GET", path, "").refused(tt.status, tt.code, "")
	}

	// Once it is closed, the journal has it.
	var result disconnectResult
	first.ask("POST", "/api/v1/sessions/"+m.id.String()+"/disconnect", `{"code":4409,"reason":"elsewhere"}`).as(200, &result)
	if result.Disconnected != 1 || result.Silent != 0 {
		t.Errorf("%+v", result)
	}
	m.wantClose(4409, "elsewhere")
	m.Close()
	eventually(t, "the session is closed", func() bool { return second.actors.Len() == 0 })
	for _, n := range []*testNode{first, second} {
		var got sessionView
		n.ask("GET", "/api/v1/sessions/"+m.id.String(), "").as(200, &got)
		if got.Phase != "closed" || got.Code != 4409 || got.Reason != "elsewhere" || got.Node != "" || got.Closed.IsZero() ||
			got.Subject != "1" || got.Name != "" || got.Route != "/ws/{group}" || len(got.Groups) != 0 {
			t.Errorf("%s: %+v", n.name, got)
		}
	}
	first.ask("POST", "/api/v1/sessions/"+m.id.String()+"/disconnect", "").refused(404, "not_found", "open")

	// A node that does not answer is not taken for one that has nothing; what a shared journal has is shown.
	w.fail(second, bus.ErrNoPeer)
	for _, path := range []string{"", "/events"} {
		first.ask("GET", "/api/v1/sessions/"+m.id.String()+path, "").refused(503, "unavailable", "it does not answer in time")
	}
	first.ask("POST", "/api/v1/sessions/"+m.id.String()+"/disconnect", "").refused(503, "unavailable", "it does not answer in time")
	opened := session.Opened{Identity: &session.Identity{Subject: "7", Source: "drf"}, Route: "/ws", Protocol: "raw"}
	id := session.ID{Epoch: second.epoch, Number: 50}
	if err := first.journal.Append(t.Context(), session.Record{Time: time.Now(), Session: id, Seq: 1, Event: opened}); err != nil {
		t.Fatal(err)
	}
	var got sessionView
	first.ask("GET", "/api/v1/sessions/"+id.String(), "").as(200, &got)
	if got.Phase != "unreachable" || got.Subject != "7" || got.Node != "" {
		t.Errorf("%+v", got)
	}
	var events eventList
	first.ask("GET", "/api/v1/sessions/"+id.String()+"/events", "").as(200, &events)
	if len(events.Events) != 1 {
		t.Errorf("%+v", events)
	}
}

// A session of a node that ended without a word, in a journal that this node can read.
func TestLostSession(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	id := session.ID{Epoch: session.Epoch{9}, Number: 3}
	who := &session.Identity{Subject: "1", Source: "drf"}
	for i, e := range []session.Event{
		session.Opened{Identity: who, Route: "/ws", Protocol: "raw", Groups: []session.Group{group(t, "g")}}, session.Joined{Group: group(t, "h")},
	} {
		if err := n.journal.Append(t.Context(), session.Record{Time: time.Now(), Session: id, Seq: uint64(i + 1), Event: e}); err != nil {
			t.Fatal(err)
		}
	}
	var got sessionView
	n.ask("GET", "/api/v1/sessions/"+id.String(), "").as(200, &got)
	if got.Phase != "lost" || got.Subject != "1" || len(got.Groups) != 2 {
		t.Errorf("%+v", got)
	}
	if err := n.journal.Close(); err != nil {
		t.Fatal(err)
	}
	n.ask("GET", "/api/v1/sessions/"+id.String(), "").refused(503, "unavailable", "journal is closed")
}

func TestDisconnectUser(t *testing.T) {
	w, first, second := newPair(t)
	a := first.connect("1", "/ws", actor.Ignore)
	b := second.connect("1", "/ws", actor.Ignore)
	c := second.connect("2", "/ws", actor.Ignore)
	var got disconnectResult
	first.ask("POST", "/api/v1/users/1/disconnect", `{"reason":"bye"}`).as(200, &got)
	if got.Disconnected != 2 || got.Silent != 0 || len(got.Missing) != 0 {
		t.Errorf("%+v", got)
	}
	// All have their close frame when it has answered.
	a.wantClose(4403, "bye")
	b.wantClose(4403, "bye")
	first.ask("POST", "/api/v1/users/1/disconnect", "").as(200, &got)
	if got.Disconnected != 0 {
		t.Errorf("once more: %+v", got)
	}
	w.fail(second, bus.ErrNoPeer)
	first.ask("POST", "/api/v1/users/2/disconnect", "").as(200, &got)
	if got.Disconnected != 0 || len(got.Missing) != 1 || got.Missing[0].Name != "node-2" || got.Missing[0].Epoch != second.epoch {
		t.Errorf("with a node that does not answer: %+v", got)
	}
	w.fail(second, nil)
	first.ask("POST", "/api/v1/users/2/disconnect", "{}").as(200, &got)
	c.wantClose(4403, disconnectReason)
	if log := first.log.String(); !strings.Contains(log, `msg="disconnected by the API" subject=2 connections=1`) {
		t.Errorf("the log is\n%s", log)
	}
}

func TestDisconnectRefuses(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	m := n.connect("1", "/ws", actor.Echo)
	for body, tt := range map[string]struct{ code, says string }{
		`{"code":1005}`:  {"close_code", "1005 may not be given"},
		`{"code":1006}`:  {"close_code", "want 1000"},
		`{"code":1002}`:  {"close_code", "want 1000"},
		`{"code":999}`:   {"close_code", "want 1000"},
		`{"code":5000}`:  {"close_code", "want 1000"},
		`{"code":70000}`: {"invalid_json", "code is a JSON number 70000"},
		`{"code":-1}`:    {"invalid_json", "code is a JSON number"},
		`{"code":"x"}`:   {"invalid_json", "code is a JSON string"},
		`{"cod":1000}`:   {"invalid_json", `unknown field "cod"`},
		`{"reason":"` + strings.Repeat("ä", 62) + `"}`: {"reason", "124 bytes"},
		`[]`: {"invalid_json", "want an object"},
	} {
		for _, path := range []string{"/api/v1/users/1/disconnect", "/api/v1/sessions/" + m.id.String() + "/disconnect"} {
			n.ask("POST", path, body).refused(400, tt.code, tt.says)
		}
	}
	n.ask("POST", "/api/v1/sessions/"+n.epoch.String()+"-0/disconnect", "").refused(400, "session", "number 0")
	n.ask("POST", "/api/v1/users/1/disconnect?code=1000", "").refused(400, "parameter", "want none")
	if res := n.ask("POST", "/api/v1/users//disconnect", ""); res.Code < 300 {
		t.Errorf("an empty user: %d", res.Code)
	}
	// Another node cannot mean everybody either, nor give a code that may not be given.
	for _, question := range []string{
		`{}`, `{"code":4403}`, `{"id":"` + n.epoch.String() + `-0","code":4403}`, `{"subject":"1","code":1005}`, `x`,
	} {
		b, err := n.Answerers()[opDisconnect](t.Context(), []byte(question))
		if err == nil && string(b) != `{"disconnected":0,"silent":0}` {
			t.Errorf("%s: %s", question, b)
		}
	}
	if n.actors.Len() != 1 {
		t.Error("somebody was disconnected")
	}
}

// stuck is a Handler that does not return from a message until it is released.
type stuck struct{ entered, release chan struct{} }

func (stuck) Open(*actor.Actor)                 {}
func (stuck) Close(*actor.Actor, actor.Closure) {}
func (s stuck) Message(*actor.Actor, actor.Message) {
	close(s.entered)
	<-s.release
}

// A handler that does not return holds up nobody.
func TestSilentSession(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	h := stuck{make(chan struct{}), make(chan struct{})}
	m := n.connect("1", "/ws", h, "g")
	go ws.WriteFrame(m.Conn, ws.MaskFrame(ws.NewTextFrame([]byte("x")))) //nolint:errcheck // the test sees whether it comes
	<-h.entered
	var list sessionList
	n.ask("GET", "/api/v1/sessions?group=g", "").as(200, &list)
	if len(list.Sessions) != 0 || list.Silent != 1 {
		t.Errorf("%+v", list)
	}
	var one sessionView
	n.ask("GET", "/api/v1/sessions/"+m.id.String(), "").as(200, &one)
	if !one.Silent || one.Subject != "1" || one.Route != "" {
		t.Errorf("%+v", one)
	}
	var got disconnectResult
	n.ask("POST", "/api/v1/sessions/"+m.id.String()+"/disconnect", "").as(200, &got)
	if got.Disconnected != 0 || got.Silent != 1 {
		t.Errorf("%+v", got)
	}
	close(h.release)
	m.wantClose(4403, disconnectReason)
}

// What goes wrong on another node is said, and what the others have is shown.
func TestMissingNodes(t *testing.T) {
	w, first, second := newPair(t)
	m := first.connect("1", "/ws", actor.Ignore, "app_1")
	for err, says := range map[error]string{
		bus.ErrNoPeer:                           "does not answer in time",
		bus.ErrUnknownOp:                        "another version",
		bus.ErrTooLarge:                         "max_payload",
		fmt.Errorf("%w: SECRET", bus.ErrAnswer): "could not find the answer",
		bus.ErrAway:                             "NATS is away",
		errors.New("SECRET"):                    "not understood",
	} {
		w.fail(second, err)
		for _, path := range []string{"/api/v1/sessions", "/api/v1/groups", "/api/v1/groups/app_1"} {
			var got struct {
				Sessions []sessionView
				Missing  []absent
			}
			res := first.ask("GET", path, "")
			res.as(200, &got)
			if len(got.Missing) != 1 || got.Missing[0].Name != "node-2" || !strings.Contains(got.Missing[0].Why, says) || strings.Contains(res.Body.String(), "SECRET") {
				t.Errorf("%s after %v: %+v", path, err, got.Missing)
			}
			if path == "/api/v1/sessions" && !slices.Equal(ids(got.Sessions), idsOf(m)) {
				t.Errorf("the others' sessions are %v", ids(got.Sessions))
			}
		}
	}
}

// A page is bounded in bytes, too: another node's answer must go into one message.
func TestSessionsPageBytes(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	var groups []string
	for i := range 400 {
		groups = append(groups, fmt.Sprintf("%s_%d", strings.Repeat("g", 90), i))
	}
	var want []string
	for range 20 {
		want = append(want, n.connect("1", "/ws", actor.Ignore, groups...).id.String())
	}
	var got []string
	pages := 0
	for after := ""; ; pages++ {
		q := sessionsQuestion{Limit: maxLimit}
		if after != "" {
			var err error
			if q.After, err = session.ParseID(after); err != nil {
				t.Fatal(err)
			}
		}
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.Answerers()[opSessions](t.Context(), text)
		if err != nil || len(b) > maxPageBytes {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		var list sessionList
		n.ask("GET", "/api/v1/sessions?limit=1000&after="+after, "").as(200, &list)
		got = append(got, ids(list.Sessions)...)
		if after = list.Next; after == "" {
			break
		}
	}
	if !slices.Equal(got, want) || pages == 0 {
		t.Errorf("%d pages: %v, want %v", pages+1, got, want)
	}
}
