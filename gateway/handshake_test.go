package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// memberRoute is the usual route: a token, and only groups of alice's.
func memberRoute(t testing.TB) Route {
	t.Helper()
	return Route{
		Path: "/ws/{group}", Category: "app", Join: []string{"{group}"}, Chain: testChain(t), Protocols: []string{"chat.v1"},
		Authorizer: authorizerFunc(func(_ context.Context, id *session.Identity, g session.Group, p authn.Params) error {
			gid, _ := p.Get("group.id")
			switch {
			case gid == "down":
				return errors.New("connection refused")
			case gid == "bare":
				return fmt.Errorf("it said no: %w", authn.ErrForbidden)
			case gid == "text":
				return &authn.Error{Kind: authn.ErrForbidden, Reason: authn.ReasonBadParameter}
			case id.Subject != "1" || g.String() != "app_1234":
				return &authn.Error{Kind: authn.ErrForbidden, Reason: authn.ReasonForbidden}
			}
			return nil
		}),
	}
}

// Every head that the parser refuses is refused on the wire, with its status and its text, and can be read by the client.
func TestServeRefusesHeads(t *testing.T) {
	s := serve(t, Config{Routes: []Route{open("/{rest...}", "")}}, nil)
	for _, c := range headCases() {
		if c.want == nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			before := s.count(c.want.reason)
			resp, body := s.ask(t, c.raw)
			if want := answers[c.want.reason].status; resp.status != want {
				t.Errorf("status %d, want %d", resp.status, want)
			}
			if body != c.want.Error()+"\n" {
				t.Errorf("body %q, want %q", body, c.want.Error())
			}
			waitFor(t, "the count", func() bool { return s.count(c.want.reason) == before+1 })
		})
	}
}

func TestServeRefuses(t *testing.T) {
	origins, err := authn.NewOriginPolicy([]string{"https://app.example.com"}, true)
	if err != nil {
		t.Fatal(err)
	}
	member, strict := memberRoute(t), memberRoute(t)
	strict.Path, strict.Origins = "/strict/{group}", origins
	s := serve(t, Config{Routes: []Route{member, strict, open("/free/{group}", "", "{group}")}}, nil)
	token := func(t string) string { return "Authorization: Token " + t }
	for _, c := range []struct {
		name   string
		raw    string
		status int
		reason reason
		header string // that must be there, as "Name: value"
	}{
		{"a page", lines("GET / HTTP/1.1", "Host: h"), 426, reasonNotUpgrade, "Upgrade: websocket"},
		{"Upgrade without Connection", strings.Replace(withLines(), "Connection: Upgrade\r\n", "", 1), 426, reasonNotUpgrade, "Upgrade: websocket"},
		{"another protocol", strings.Replace(withLines(), "websocket", "h2c", 1), 426, reasonNotUpgrade, "Upgrade: websocket"},
		{"version 8", strings.Replace(withLines(), ": 13", ": 8", 1), 426, reasonWebSocketVersion, "Sec-Websocket-Version: 13"},
		{"no version", strings.Replace(withLines(), "Sec-WebSocket-Version: 13\r\n", "", 1), 426, reasonWebSocketVersion, "Sec-Websocket-Version: 13"},
		{"bad key", strings.Replace(withLines(), key, "abc", 1), 400, reasonKey, ""},
		{"no key", strings.Replace(withLines(), "Sec-WebSocket-Key: "+key+"\r\n", "", 1), 400, reasonKey, ""},
		{"POST", strings.Replace(withLines(), "GET", "POST", 1), 405, reasonMethod, "Allow: GET"},
		{"too large", withLines("X: " + strings.Repeat("x", 20<<10)), 431, reasonHeadTooLarge, ""},

		{"unknown path", handshakeTo("/nothing"), 404, reasonNoRoute, ""},
		{"other category", handshakeTo("/ws/room_1", token("alice")), 404, reasonNoRoute, ""},
		{"no group", handshakeTo("/ws/app_$"), 400, reasonGroup, ""},
		{"encoded slash", handshakeTo("/ws/app%2f1"), 400, reasonPath, ""},
		{"foreign origin, no token", handshakeTo("/strict/app_1234", "Origin: https://evil.example"), 403, reasonOrigin, ""},
		{"unknown path before foreign origin", handshakeTo("/nothing", "Origin: https://evil.example"), 404, reasonNoRoute, ""},
		{"foreign origin by default", handshakeTo("/free/app_1", "Origin: https://evil.example"), 403, reasonOrigin, ""},

		{"no token", handshakeTo("/ws/app_1234"), 401, reasonNoCredential, `Www-Authenticate: Token realm="fairlead"`},
		{"unknown token", handshakeTo("/ws/app_1234", token("mallory")), 401, reasonUnknownToken, `Www-Authenticate: Token realm="fairlead"`},
		{"malformed token", handshakeTo("/ws/app_1234", token("two words")), 401, reasonMalformed, `Www-Authenticate: Token realm="fairlead"`},
		{"expired token", handshakeTo("/ws/app_1234?token=expired"), 401, reasonExpired, `Www-Authenticate: Token realm="fairlead"`},
		{"no token before forbidden", handshakeTo("/ws/app_9"), 401, reasonNoCredential, ""},
		{"dead verifier", handshakeTo("/ws/app_1234?token=down"), 503, reasonVerifierUnavailable, "Retry-After: *"},
		{"forbidden", handshakeTo("/ws/app_9", token("alice")), 403, reasonForbidden, ""},
		{"forbidden, barely", handshakeTo("/ws/app_bare", token("alice")), 403, reasonForbidden, ""},
		{"bad parameter", handshakeTo("/ws/app_text", token("alice")), 403, reasonBadParameter, ""},
		{"dead authorizer", handshakeTo("/ws/app_down", token("alice")), 503, reasonAuthorizerUnavailable, "Retry-After: *"},
		{"panic", handshakeTo("/ws/app_1234", token("panic")), 500, reasonPanic, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.count(c.reason)
			resp, body := s.ask(t, c.raw)
			if resp.status != c.status || s.count(c.reason) != before+1 {
				t.Errorf("status %d, %d more of %v, want %d and 1", resp.status, s.count(c.reason)-before, c.reason, c.status)
			}
			if name, want, ok := strings.Cut(c.header, ": "); ok {
				if got := resp.header.Get(name); got != want && (want != "*" || got == "") {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if resp.header.Get("Www-Authenticate") != "" && c.status != 401 || resp.header.Get("Retry-After") != "" && c.status != 503 {
				t.Errorf("a %d has headers of another: %v", c.status, resp.header)
			}
			if strings.Count(body, "\n") != 1 || !strings.HasSuffix(body, "\n") || len(body) < 10 || len(body) > 160 {
				t.Errorf("the body is no short line: %q", body)
			}
			if ct := resp.header.Get("Content-Type"); ct != "text/plain; charset=utf-8" {
				t.Errorf("Content-Type %q", ct)
			}
			if !resp.close || resp.length != int64(len(body)) {
				t.Errorf("close %v, length %d", resp.close, resp.length)
			}
		})
	}
	if n := len(s.actors.born()); n != 0 {
		t.Errorf("%d of them have an actor", n)
	}
}

func TestServeAccepts(t *testing.T) {
	member := memberRoute(t)
	member.Greet = true
	s := serve(t, Config{Routes: []Route{member, open("/free/{rest...}", "", "lobby", "all")}}, nil)
	const alice = "alice"
	for _, c := range []struct {
		name     string
		raw      string
		who      string // the identity's name; "" anonymous
		groups   string
		protocol string
		pending  string
	}{
		{"header", handshakeTo("/ws/app_1234", "Authorization: Token alice"), alice, "[app_1234]", "", ""},
		{"query", handshakeTo("/ws/app_1234/?token=alice"), alice, "[app_1234]", "", ""},
		{"cookie", handshakeTo("/ws/app_1234", "Cookie: a=b; JWT=alice"), alice, "[app_1234]", "", ""},
		{"token as subprotocol", handshakeTo("/ws/app_1234", "Sec-WebSocket-Protocol: bearer.alice"), alice, "[app_1234]", "", ""},
		{"and a second one", handshakeTo("/ws/app_1234", "Sec-WebSocket-Protocol: bearer.alice, chat.v1"), alice, "[app_1234]", "chat.v1", ""},
		{"in two lines", handshakeTo("/ws/app_1234", "Sec-WebSocket-Protocol: chat.v9", "Sec-WebSocket-Protocol: bearer.alice,chat.v1"), alice, "[app_1234]", "chat.v1", ""},
		{"none that is spoken", handshakeTo("/ws/app_1234?token=alice", "Sec-WebSocket-Protocol: chat.v9"), alice, "[app_1234]", "", ""},
		{"own origin", handshakeTo("/ws/app_1234?token=alice", "Origin: http://localhost:8000"), alice, "[app_1234]", "", ""},
		{"anonymous", handshakeTo("/free/x/y"), "", "[lobby all]", "", ""},
		{"lists", strings.Replace(strings.Replace(handshakeTo("/free"), "Upgrade: websocket", "Upgrade: h2c, WEBSOCKET", 1), "Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade, x", 1), "", "[lobby all]", "", ""},
		{"extensions", handshakeTo("/free", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), "", "[lobby all]", "", ""},
		{"frames behind", handshakeTo("/free") + "\x81\x80\x01\x02\x03\x04", "", "[lobby all]", "", "\x81\x80\x01\x02\x03\x04"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := len(s.actors.born())
			conn := s.dial(t)
			if _, err := io.WriteString(conn, c.raw); err != nil {
				t.Fatal(err)
			}
			want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" // RFC 6455 section 1.3
			if c.protocol != "" {
				want += "Sec-WebSocket-Protocol: " + c.protocol + "\r\n"
			}
			want += "\r\n"
			got := make([]byte, len(want))
			if m, err := io.ReadFull(conn, got); err != nil || string(got) != want {
				t.Fatalf("got %q, %v\nwant %q", got[:m], err, want)
			}
			b := s.actors.born()[n]
			if b.Identity.Name != c.who || b.Identity.Anonymous != (c.who == "") {
				t.Errorf("identity %+v, want %q", b.Identity, c.who)
			}
			if fmt.Sprint(b.Groups) != c.groups || string(b.Response) != want || string(b.Pending) != c.pending {
				t.Errorf("groups %v, response %q, pending %q", b.Groups, b.Response, b.Pending)
			}
			if want := netip.MustParseAddrPort(conn.LocalAddr().String()).Addr(); b.Remote != want {
				t.Errorf("remote %v, want %v", b.Remote, want)
			}
			if b.Handler == nil || b.Greet != (c.who == alice) || b.Route != "/ws/{group}" && b.Route != "/free/{rest...}" {
				t.Errorf("handler %v, greet %v, route %q", b.Handler, b.Greet, b.Route)
			}
		})
	}
	waitFor(t, "the count of the accepted", func() bool { return s.count(reasonOK) == len(s.actors.born()) })
}

// Absent, rejected and unavailable are three answers.
func TestServeAnonymous(t *testing.T) {
	var routes []Route
	for _, allow := range []bool{false, true} {
		for _, invalid := range []bool{false, true} {
			routes = append(routes, Route{
				Path: fmt.Sprintf("/%v/%v", allow, invalid), Chain: testChain(t), AllowAnonymous: allow, InvalidAnonymous: invalid,
			})
		}
	}
	s := serve(t, Config{Routes: routes}, nil)
	for _, c := range []struct {
		path                      string
		absent, rejected, misread int
	}{
		{"/false/false", 401, 401, 401},
		{"/true/false", 101, 401, 401},
		{"/false/true", 401, 101, 101},
		{"/true/true", 101, 101, 101},
	} {
		for _, ask := range []struct {
			line string
			want int
		}{
			{"X: nothing", c.absent},
			{"Authorization: Bearer x", c.absent},
			{"Authorization: Token mallory", c.rejected},
			{"Authorization: Token a b", c.misread},
			{"Authorization: Token down", 503},
			{"Authorization: Token down:rejected", 503},
			{"Authorization: Token down:absent", 503},
			{"Authorization: Token panic", 500},
			{"Authorization: Token alice", 101},
		} {
			n := len(s.actors.born())
			resp, _ := s.ask(t, handshakeTo(c.path, ask.line))
			if resp.status != ask.want {
				t.Errorf("%s with %q: status %d, want %d", c.path, ask.line, resp.status, ask.want)
			}
			if born := s.actors.born(); resp.status == 101 {
				if anonymous := !strings.Contains(ask.line, "alice"); len(born) != n+1 || born[n].Identity.Anonymous != anonymous {
					t.Errorf("%s with %q: %d births, the last anonymous: %v", c.path, ask.line, len(born)-n, !anonymous)
				}
			}
		}
	}
}

func TestServeOpenerErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		reason reason
	}{
		{actor.ErrFull, 503, reasonFull},
		{fmt.Errorf("wrapped: %w", actor.ErrDraining), 503, reasonDraining},
		{actor.ErrUnavailable, 503, reasonUnavailable},
		{errors.New("something else"), 500, reasonInternal},
	} {
		s := serve(t, Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{err: c.err}}, nil)
		resp, _ := s.ask(t, handshakeTo("/")+"frames")
		if resp.status != c.status || s.count(c.reason) != 1 || (resp.header.Get("Retry-After") != "") != (c.status == 503) {
			t.Errorf("%v: status %d, reason counted %d times, %v", c.err, resp.status, s.count(c.reason), resp.header)
		}
	}
}

// Nobody can say whose the connection is when Open panics. It ends, the node lives.
func TestServeOpenerPanics(t *testing.T) {
	var log syncBuffer
	s := serve(t, Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{panic: errors.New("secret")}, Logger: log.logger()}, nil)
	conn := s.dial(t)
	if _, err := io.WriteString(conn, handshakeTo("/")); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
		t.Errorf("read %q, %v, want the end and nothing before", b, err)
	}
	waitFor(t, "the count", func() bool { return s.count(reasonPanic) == 1 })
	if resp, _ := s.ask(t, lines("GET / HTTP/1.1", "Host: h")); resp.status != http.StatusUpgradeRequired {
		t.Errorf("after it: status %d", resp.status)
	}
	if strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "*errors.errorString") {
		t.Errorf("the log has what was panicked with, or not its type: %s", log.String())
	}
}

// An error that panics when it is looked at is contained like any panic.
func TestServeErrorPanics(t *testing.T) {
	route := open("/", "", "lobby")
	route.Authorizer = authorizerFunc(func(context.Context, *session.Identity, session.Group, authn.Params) error {
		return (*authn.Error)(nil)
	})
	var log syncBuffer
	s := serve(t, Config{Routes: []Route{route}, Logger: log.logger()}, nil)
	if r, _ := s.ask(t, handshakeTo("/")); r.status != 500 || s.count(reasonPanic) != 1 {
		t.Errorf("status %d, %d panics, want 500 and 1", r.status, s.count(reasonPanic))
	}
	if !strings.Contains(log.String(), "nil pointer dereference") {
		t.Errorf("the log does not say why: %s", log.String())
	}
}

// The log names the fault and the place, and nothing that a stranger sent.
func TestServeLogsNoSecrets(t *testing.T) {
	var log syncBuffer
	s := serve(t, Config{Routes: []Route{memberRoute(t), open("/bad/{group}", "", "{group}")}, Logger: log.logger()}, nil)
	for _, raw := range []string{
		handshakeTo("/ws/app_1234?token=mallory-secret"),
		handshakeTo("/ws/app_1234?token=%zz-secret"),
		handshakeTo("/ws/app_1234?token=down&x=secret"),
		handshakeTo("/ws/app_1234", "Authorization: Token mallory-secret"),
		handshakeTo("/ws/app_1234", "Authorization: Token secret secret"),
		handshakeTo("/ws/app_1234", "Cookie: JWT=secret"),
		handshakeTo("/ws/app_1234", "Sec-WebSocket-Protocol: bearer.secret"),
		handshakeTo("/ws/app_1234", "Authorization: Token panic", "Cookie: secret=1"),
		handshakeTo("/ws/app_1234?token=nil", "Cookie: secret=1"),
		handshakeTo("/ws/app_9?token=alice", "X: secret"),
		handshakeTo("/bad/secret%20secret"),
		handshakeTo("/nothing/secret", "Secret: secret"),
		withLines("secret : x"),
	} {
		_, body := s.ask(t, raw)
		if strings.Contains(body, "secret") {
			t.Errorf("the answer to %q repeats it: %q", raw, body)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	got := log.String()
	if strings.Contains(got, "secret") {
		t.Errorf("a secret is in the log:\n%s", got)
	}
	for _, want := range []string{"level=DEBUG", "reason=unknown_token", "reason=panic", "route=/ws/{group}", "tokenVerifier", "remote=127.0.0.0/24", "level=ERROR"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the log:\n%s", want, got)
		}
	}
}

// A handshake that is used again has nothing of the one before, also of one that was as large as can be.
func TestHandshakeReset(t *testing.T) {
	g, err := New(Config{Routes: []Route{open("/{rest...}", "")}, Actors: &fakeActors{err: errors.New("no")}})
	if err != nil {
		t.Fatal(err)
	}
	h := g.handshakes.New().(*handshake)
	for _, raw := range []string{
		handshakeTo("/ws?a=b", "Origin: http://localhost:8000", "Cookie: a=b", "Authorization: c", "Sec-WebSocket-Protocol: a, b"),
		handshakeTo("/"+strings.Repeat("a/", 4000), "Sec-WebSocket-Protocol: "+strings.Repeat("a,", 3000)),
	} {
		h.conn = &benchConn{in: *bytes.NewReader([]byte(raw))}
		g.heads <- struct{}{}
		if err := h.open(t.Context(), newServing(g), time.Now().Add(time.Minute)); err == nil || err.Error() != "no" {
			t.Fatal(err)
		}
		h.release()
		h.release() // it has one place to give back
		h.reset()
		r := &h.request
		if h.conn != nil || h.opening || h.entered || h.released || len(g.heads)+len(g.slots) > 0 || h.head.lent != nil || h.upgrade.key != nil || h.match.route != nil {
			t.Errorf("reset left %+v", h)
		}
		if r.Path != nil || r.RawQuery != nil || r.Cookie != nil || r.HasOrigin || r.HasAuthorization || len(r.Header)+len(r.Protocols) > 0 {
			t.Errorf("reset left %+v", r)
		}
		if n := cap(r.Header) + cap(r.Protocols) + cap(h.match.segments); n > maxFields+2*maxKept {
			t.Errorf("lists for %d elements are kept", n)
		}
	}
}

// What the runtime says of a panic is for the log; what anyone else panicked with is not.
func TestPanicError(t *testing.T) {
	for value, want := range map[any]string{
		"secret":              "panic: a value of type string",
		fmt.Stringer(nil):     "panic: a value of type <nil>",
		secretError{}:         "panic: a value of type gateway.secretError",
		runtimeError{"bug 7"}: "panic: bug 7",
	} {
		if got := newPanicError(value, nil).Error(); got != want {
			t.Errorf("%#v: got %q, want %q", value, got, want)
		}
	}
}

type secretError struct{}

func (secretError) Error() string { return "secret" }

type runtimeError struct{ text string }

func (e runtimeError) Error() string { return e.text }
func (runtimeError) RuntimeError()   {}
