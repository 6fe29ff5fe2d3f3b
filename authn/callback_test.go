package authn

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/session"
)

// app is an application that is asked.
type app struct {
	*httptest.Server

	mu     sync.Mutex
	asked  []*http.Request
	answer func(w http.ResponseWriter, r *http.Request)
}

func newApp(t testing.TB, answer http.HandlerFunc) *app {
	t.Helper()
	a := &app{answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.asked = append(a.asked, r)
		answer := a.answer
		a.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

// questions returns what was asked so far.
func (a *app) questions() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

func (a *app) will(answer http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

// says answers with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func newCallback(t testing.TB, c CallbackConfig) *Callback {
	t.Helper()
	v, err := NewCallback(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// browser is a handshake as a browser sends it.
func browser() *Request {
	return &Request{
		Path: []byte("/ws/app_1%20x"), RawQuery: []byte("token=QUERYSECRET"), Route: "/ws/{group}", Host: []byte("ws.example"),
		Remote: netip.MustParseAddrPort("192.0.2.7:4711"),
		Header: []HeaderField{
			{[]byte("Host"), []byte("ws.example")},
			{[]byte("cookie"), []byte(" sessionid=abc; theme=dark ")},
			{[]byte("X-Team"), []byte("red")},
			{[]byte("x-team"), []byte("blue")},
			{[]byte("X-Private"), []byte("NOTFORWARDED")},
			{[]byte("X-Forwarded-For"), []byte("10.9.9.9")},
			{[]byte("Fairlead-Subject"), []byte("1")},
		},
	}
}

// wantSignature checks the signature of a question as an application does.
func wantSignature(t *testing.T, r *http.Request, secret []byte, now time.Time) {
	t.Helper()
	text := fmt.Sprintf("fairlead-v1\n%d\nGET\n%s", now.Unix(), r.URL.RequestURI())
	for name := range strings.SplitSeq(r.Header.Get("Fairlead-Signed"), ";") {
		text += "\n" + name + ":" + r.Header.Get(name)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	if got, want := r.Header.Get("Fairlead-Signature"), "v1="+hex.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("signature %s, want %s of\n%s", got, want, text)
	}
	if got := r.Header.Get("Fairlead-Timestamp"); got != fmt.Sprint(now.Unix()) {
		t.Errorf("timestamp %s", got)
	}
}

// TestCallbackQuestion: the application gets what is allowed, and nothing else of the handshake.
func TestCallbackQuestion(t *testing.T) {
	a := newApp(t, says(200, `{"subject":"42"}`))
	secret, now := bytes.Repeat([]byte("k"), 32), time.Unix(1790000000, 0)
	v := newCallback(t, CallbackConfig{
		Name: "app", URL: a.URL + "/who?x=1", Forward: []string{"cookie", "X-Team", "Authorization"}, Secret: secret, Now: func() time.Time { return now },
	})
	id, err := v.Verify(t.Context(), Credential{From: "request", Request: browser()})
	if err != nil || id.Subject != "42" || id.Source != "app" {
		t.Fatalf("%+v, %v", id, err)
	}
	r := a.questions()[0]
	want := http.Header{
		"Accept": {"application/json"}, "User-Agent": {"fairlead"}, "Cookie": {"sessionid=abc; theme=dark"}, "X-Team": {"red, blue"},
		"Fairlead-Path": {"/ws/app_1%20x"}, "Fairlead-Route": {"/ws/{group}"}, "X-Forwarded-For": {"192.0.2.7"},
		"Fairlead-Signed":    {"authorization;cookie;fairlead-credential;fairlead-path;fairlead-route;x-forwarded-for;x-team"},
		"Fairlead-Timestamp": {"1790000000"}, "Fairlead-Signature": r.Header["Fairlead-Signature"],
	}
	if r.Method != http.MethodGet || r.RequestURI != "/who?x=1" || !reflect.DeepEqual(r.Header, want) {
		t.Errorf("%s %s\n%v\nwant\n%v", r.Method, r.RequestURI, r.Header, want)
	}
	wantSignature(t, r, secret, now)

	if _, err := v.Verify(t.Context(), Credential{From: "query", Value: []byte("tok.en"), Request: browser()}); err != nil {
		t.Fatal(err)
	}
	r = a.questions()[1]
	if r.Header.Get("Fairlead-Credential") != "tok.en" {
		t.Error("the credential does not go along")
	}
	wantSignature(t, r, secret, now)
	for _, secret := range []string{"QUERYSECRET", "NOTFORWARDED", "10.9.9.9", "sessionid=zzz"} {
		if strings.Contains(fmt.Sprint(r.Header), secret) {
			t.Errorf("%s went along", secret)
		}
	}
}

func TestCallbackAnswers(t *testing.T) {
	now := time.Unix(1790000000, 0)
	long := `{"subject":"` + strings.Repeat("s", 64<<10) + `"}`
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   error // nil: let in
		reason Reason
		result string
		text   string // a part of the error
	}{
		{"fine", says(200, `{"subject":"42","more":[1]}`), nil, "", "allowed", ""},
		{"absent", says(204, ""), ErrAbsent, "", "absent", ""},
		{"401", says(401, ""), ErrRejected, ReasonUnknownToken, "rejected", "401"},
		{"a page for logging in", says(302, ""), ErrRejected, ReasonUnknownToken, "rejected", "302"},
		{"303", says(303, ""), ErrRejected, ReasonUnknownToken, "rejected", "303"},
		{"307", says(307, ""), ErrRejected, ReasonUnknownToken, "rejected", "307"},
		{"403", says(403, ""), ErrForbidden, ReasonForbidden, "forbidden", "403"},
		{"expired", says(200, `{"subject":"42","expires":1790000000}`), ErrRejected, ReasonExpired, "rejected", "expired"},
		{"another URL", says(301, ""), ErrUnavailable, ReasonVerifierUnavailable, "bad_status", "slash at its end"},
		{"another URL for good", says(308, ""), ErrUnavailable, ReasonVerifierUnavailable, "bad_status", "slash at its end"},
		{"404", says(404, ""), ErrUnavailable, ReasonVerifierUnavailable, "bad_status", "404"},
		{"405", says(405, ""), ErrUnavailable, ReasonVerifierUnavailable, "bad_status", "405"},
		{"201", says(201, `{"subject":"42"}`), ErrUnavailable, ReasonVerifierUnavailable, "bad_status", "201"},
		{"429", says(429, ""), ErrUnavailable, ReasonVerifierUnavailable, "bad_status", "429"},
		{"500", says(500, "BODYSECRET"), ErrUnavailable, ReasonVerifierUnavailable, "bad_status", "500"},
		{"503", says(503, ""), ErrUnavailable, ReasonVerifierUnavailable, "bad_status", "503"},
		{"no JSON", says(200, "<html>BODYSECRET"), ErrUnavailable, ReasonVerifierUnavailable, "bad_answer", "no JSON object"},
		{"empty", says(200, ""), ErrUnavailable, ReasonVerifierUnavailable, "bad_answer", "no JSON object"},
		{"no subject", says(200, `{"name":"BODYSECRET"}`), ErrUnavailable, ReasonVerifierUnavailable, "bad_answer", "no subject"},
		{"too long", says(200, long), ErrUnavailable, ReasonVerifierUnavailable, "bad_answer", "over 65536"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"subject":"42"}`)
		}, ErrUnavailable, ReasonVerifierUnavailable, "unreachable", "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, reg := newApp(t, tt.answer), prometheus.NewRegistry()
			v := newCallback(t, CallbackConfig{URL: a.URL + "/?key=URLSECRET", Forward: []string{"Cookie"}, Registerer: reg, Now: func() time.Time { return now }})
			id, err := v.Verify(t.Context(), Credential{From: "request", Request: browser()})
			switch {
			case tt.kind == nil:
				if err != nil || id == nil || id.Subject != "42" {
					t.Errorf("%+v, %v", id, err)
				}
			case errors.Is(tt.kind, ErrAbsent):
				if !errors.Is(err, ErrAbsent) || id != nil {
					t.Errorf("%+v, %v", id, err)
				}
			default:
				wantReason(t, err, tt.kind, tt.reason)
				if !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "SECRET") {
					t.Errorf("error %q, want %q", err, tt.text)
				}
			}
			if n := testutil.ToFloat64(v.asker.metrics.requests(tt.result)); n != 1 {
				t.Errorf("%s is counted %v times", tt.result, n)
			}
			if paths := a.questions(); paths[len(paths)-1].URL.Path != "/" {
				t.Error("a redirect was followed")
			}
		})
	}
}

// requests returns the counter of a result.
func (m *callbackMetrics) requests(result string) prometheus.Counter {
	return map[string]prometheus.Counter{
		"allowed": m.allowed, "absent": m.absent, "rejected": m.rejected, "forbidden": m.forbidden, "malformed": m.malformed,
		"bad_answer": m.badAnswer, "bad_status": m.badStatus, "timeout": m.timeout, "unreachable": m.unreachable,
		"abandoned": m.abandoned, "breaker_open": m.breaker,
	}[result]
}

func TestCallbackIdentity(t *testing.T) {
	now := time.Unix(1790000000, 0)
	for _, tt := range []struct {
		body string
		want *session.Identity
		text string
	}{
		{`{"subject":"42"}`, &session.Identity{Subject: "42"}, ""},
		{` {"subject":42,"name":null,"expires":null,"groups":null,"claims":null} `, &session.Identity{Subject: "42"}, ""},
		{
			`{"subject":"é","name":"ann","expires":1790000001,"groups":["app_1","b_*"],"claims":{"n":1,"deep":{"x":[]}}}`,
			&session.Identity{
				Subject: "é", Name: "ann", Expires: time.Unix(1790000001, 0).UTC(), Grants: []string{"app_1", "b_*"},
				Claims: map[string]any{"n": json.Number("1"), "deep": map[string]any{"x": []any{}}},
			}, "",
		},
		{`{"subject":"1","expires":"2030-01-31T12:00:00+01:00"}`, &session.Identity{Subject: "1", Expires: time.Date(2030, 1, 31, 11, 0, 0, 0, time.UTC)}, ""},
		{`{"subject":""}`, nil, "no subject"},
		{`{"subject":null}`, nil, "no subject"},
		{`{"Subject":"1"}`, nil, "no subject"},
		{`{"subject":true}`, nil, `"subject" is neither`},
		{`{"subject":1.5}`, nil, `"subject" is neither`},
		{`{"subject":"a\u0000b"}`, nil, "control character"},
		{`{"subject":"` + strings.Repeat("x", 1025) + `"}`, nil, "longer than 1024"},
		{`{"subject":"1","expires":"tomorrow"}`, nil, `"expires" is neither`},
		{`{"subject":"1","expires":1790000001000}`, nil, "milliseconds"},
		{`{"subject":"1","expires":[]}`, nil, `"expires" is not a number`},
		{`{"subject":"1","expires":1789999999.5}`, nil, "expired"},
		{`{"subject":"1","groups":"app_1"}`, nil, "list of strings"},
		{`{"subject":"1","claims":[1]}`, nil, "no object"},
		{`["subject"]`, nil, "no JSON object"},
		{`{"subject":"1"}{}`, nil, "no JSON object"},
	} {
		id, err := readIdentity([]byte(tt.body), now)
		if tt.text == "" && (err != nil || !reflect.DeepEqual(id, tt.want)) || tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%.80s: %+v, %v; want %+v, %q", tt.body, id, err, tt.want, tt.text)
		}
	}
}

// Where nothing came that could be a credential, none is rejected, whatever the page that wants one says.
func TestCallbackNothingCame(t *testing.T) {
	a := newApp(t, says(401, ""))
	v := newCallback(t, CallbackConfig{URL: a.URL, Forward: []string{"Cookie", "Authorization"}})
	bare := &Request{Path: []byte("/ws/x"), Header: []HeaderField{{[]byte("Host"), []byte("ws.example")}}}
	for status, absent := range map[int]bool{401: true, 302: true, 303: true, 307: true, 204: true, 403: false, 500: false} {
		a.will(says(status, ""))
		if _, err := v.Verify(t.Context(), Credential{From: "request", Request: bare}); errors.Is(err, ErrAbsent) != absent {
			t.Errorf("%d: %v", status, err)
		}
		if _, err := v.Verify(t.Context(), Credential{From: "query", Value: []byte("x"), Request: bare}); errors.Is(err, ErrAbsent) != (status == 204) {
			t.Errorf("%d about a credential: %v", status, err)
		}
		if _, err := v.Verify(t.Context(), Credential{From: "request", Request: browser()}); errors.Is(err, ErrAbsent) != (status == 204) {
			t.Errorf("%d about a cookie: %v", status, err)
		}
	}
}

// What cannot stand in a header field is the client's fault, and nobody is asked.
func TestCallbackMalformed(t *testing.T) {
	a := newApp(t, says(200, `{"subject":"42"}`))
	v := newCallback(t, CallbackConfig{URL: a.URL, Forward: []string{"Cookie"}})
	r := browser()
	for _, value := range []string{"", "a b", "a\r\nX: y", "é", "a\x00"} {
		_, err := v.Verify(t.Context(), Credential{From: "query", Value: []byte(value), Request: r})
		if value == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantReason(t, err, ErrRejected, ReasonMalformed)
	}
	r.Header = append(r.Header, HeaderField{[]byte("Cookie"), []byte("a\nb")})
	_, err := v.Verify(t.Context(), Credential{From: "request", Request: r})
	wantReason(t, err, ErrRejected, ReasonMalformed)
	if n := len(a.questions()); n != 1 {
		t.Errorf("%d questions, want that with the empty credential", n)
	}
	r.Header, r.Path = nil, []byte("/ws/\xff a")
	if _, err := v.Verify(t.Context(), Credential{From: "request", Request: r}); err != nil || a.questions()[1].Header.Get("Fairlead-Path") != "/ws/%FF%20a" {
		t.Errorf("an odd path: %v", err)
	}
}

// A credential that is verified again is the same question.
func TestCallbackRetain(t *testing.T) {
	a := newApp(t, says(200, `{"subject":"42"}`))
	v := newCallback(t, CallbackConfig{Name: "app", URL: a.URL, Forward: []string{"Cookie", "X-Team"}})
	chain, err := NewChain(Source{Extractor: NewWhole(), Verifier: v, Name: "app"})
	if err != nil {
		t.Fatal(err)
	}
	r := browser()
	found, err := chain.Find(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	kept := chain.Keep(found, r)
	for _, b := range [][]byte{r.Path, r.RawQuery, r.Host} {
		clear(b)
	}
	for _, f := range r.Header {
		clear(f.Name)
		clear(f.Value)
	}
	if id, err := kept.Verify(t.Context()); err != nil || id.Subject != "42" {
		t.Fatalf("%+v, %v", id, err)
	}
	q := a.questions()
	if !reflect.DeepEqual(q[0].Header, q[1].Header) {
		t.Errorf("asked\n%v\nand then\n%v", q[0].Header, q[1].Header)
	}
	if size := len(kept.credential.Request.Header); size != 3 {
		t.Errorf("%d fields are kept, want the forwarded", size)
	}
	a.will(says(204, ""))
	_, err = kept.Verify(t.Context())
	wantReason(t, err, ErrAbsent, ReasonNoCredential)
	if kept, again := v.Retain(nil); kept != nil || !again {
		t.Error("Retain of nothing")
	}
}

func TestCallbackAuthorizer(t *testing.T) {
	a := newApp(t, says(204, ""))
	secret, now := bytes.Repeat([]byte("k"), 32), time.Unix(1790000000, 0)
	z, err := NewCallbackAuthorizer(CallbackConfig{Name: "may", URL: a.URL + "/may", Forward: []string{"Cookie"}, Secret: secret, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	group, err := session.ParseGroup("app_1")
	if err != nil {
		t.Fatal(err)
	}
	q := &Question{Identity: &session.Identity{Subject: "a/b é"}, Group: group, Request: browser()}
	if rule, err := z.Authorize(t.Context(), q); err != nil || rule != "may" {
		t.Fatalf("%q, %v", rule, err)
	}
	r := a.questions()[0]
	if r.Header.Get("Fairlead-Subject") != "a%2Fb%20%C3%A9" || r.Header.Get("Fairlead-Group") != "app_1" || r.Header.Get("Cookie") == "" {
		t.Errorf("asked %v", r.Header)
	}
	wantSignature(t, r, secret, now)

	kept, again := z.Retain(q.Request)
	if _, err := z.Authorize(t.Context(), &Question{Identity: session.Anonymous(), Group: group, Request: kept}); err != nil || !again {
		t.Fatal(err)
	}
	r = a.questions()[1]
	if r.Header.Values("Fairlead-Subject") != nil || r.Header.Get("Cookie") != a.questions()[0].Header.Get("Cookie") {
		t.Errorf("for an anonymous client it is asked %v", r.Header)
	}
	wantSignature(t, r, secret, now)

	for status, kind := range map[int]error{
		200: nil, 204: nil, 401: ErrForbidden, 403: ErrForbidden, 302: ErrForbidden, 303: ErrForbidden, 307: ErrForbidden,
		301: ErrUnavailable, 404: ErrUnavailable, 429: ErrUnavailable, 500: ErrUnavailable, 201: ErrUnavailable,
	} {
		a.will(says(status, ""))
		rule, err := z.Authorize(t.Context(), q)
		e, ok := errors.AsType[*Error](err)
		switch {
		case kind == nil && (err != nil || rule != "may"), kind != nil && (!ok || !errors.Is(e.Kind, kind) || e.By != "may" || rule != ""):
			t.Errorf("%d: %q, %v; want %v", status, rule, err, kind)
		case errors.Is(kind, ErrUnavailable) && e.Reason != ReasonAuthorizerUnavailable:
			t.Errorf("%d: reason %s", status, e.Reason)
		}
	}
	q.Request.Header = append(q.Request.Header, HeaderField{[]byte("Cookie"), []byte("a\nb")})
	_, err = z.Authorize(t.Context(), q)
	wantReason(t, err, ErrForbidden, ReasonBadParameter)
}

func TestCallbackCheck(t *testing.T) {
	a := newApp(t, says(401, ""))
	v := newCallback(t, CallbackConfig{Name: "app", URL: a.URL})
	z, err := NewCallbackAuthorizer(CallbackConfig{Name: "may", URL: a.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for status, want := range map[int][2]bool{ // is the verifier fine, is the authorizer
		204: {true, true}, 401: {true, true}, 403: {true, true}, 302: {true, true}, 200: {false, true}, 404: {false, false}, 500: {false, false},
	} {
		a.will(says(status, `{"subject":"everybody"}`))
		verr, zerr := v.Check(t.Context()), z.Check(t.Context())
		if (verr == nil) != want[0] || (zerr == nil) != want[1] {
			t.Errorf("%d: %v, %v", status, verr, zerr)
		}
		if errors.Is(verr, ErrKnowsEverybody) != (status == 200) || verr != nil && !strings.HasPrefix(verr.Error(), "app: ") {
			t.Errorf("%d: %v", status, verr)
		}
	}
}

func TestNewCallback(t *testing.T) {
	for _, tt := range []struct {
		config CallbackConfig
		want   string
	}{
		{CallbackConfig{}, "URL is missing"},
		{CallbackConfig{URL: "app.example.com"}, "URL is missing or none"},
		{CallbackConfig{URL: "ftp://app.example.com"}, "URL is missing or none"},
		{CallbackConfig{URL: "http://:80/"}, "URL is missing or none"},
		{CallbackConfig{URL: "http://user:SECRET@app.example.com"}, "has a user"},
		{CallbackConfig{URL: "http://app.example.com/%zz?SECRET"}, "URL is missing or none"},
		{CallbackConfig{URL: "http://app.example.com/#x"}, "fragment"},
		{CallbackConfig{URL: "http://app.example.com", Timeout: -1}, "timeout"},
		{CallbackConfig{URL: "http://app.example.com", Forward: []string{"a b"}}, "header's name"},
		{CallbackConfig{URL: "http://app.example.com", Forward: []string{"host"}}, "cannot be forwarded"},
		{CallbackConfig{URL: "http://app.example.com", Forward: []string{"x-forwarded-for"}}, "cannot be forwarded"},
		{CallbackConfig{URL: "http://app.example.com", Forward: []string{"fairlead-subject"}}, "cannot be forwarded"},
		{CallbackConfig{URL: "http://app.example.com", Forward: []string{"If-None-Match"}}, "cannot be forwarded"},
		{CallbackConfig{URL: "http://app.example.com", Forward: []string{"Cookie", "cookie"}}, "twice"},
		{CallbackConfig{URL: "http://app.example.com", Secret: []byte("SECRET")}, "6 bytes; want at least 32"},
		{CallbackConfig{URL: "http://app.example.com", Name: "a b"}, "name"},
	} {
		_, err := NewCallback(tt.config)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
	if _, err := NewCallbackAuthorizer(CallbackConfig{Name: "may"}); err == nil || !strings.Contains(err.Error(), "authorizer may: ") {
		t.Errorf("error %v", err)
	}
}

// FuzzCallbackAnswer: whatever an application answers, an identity has a subject that can be kept, and an error says nothing
// of the answer.
func FuzzCallbackAnswer(f *testing.F) {
	for _, s := range []string{
		`{"subject":"42"}`, `{"subject":42,"name":"ann","expires":1790000001,"groups":["a"],"claims":{"a":1}}`, `{"subject":"1","expires":"2030-01-31T12:00:00Z"}`,
		`{"subject":null}`, `[]`, ``, `{"subject":"\ud800"}`, `{"subject":"1","expires":1e400}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := readIdentity(b, time.Unix(1790000000, 0))
		if err != nil {
			return
		}
		if id.Subject == "" || checkText(id.Subject) != nil || checkText(id.Name) != nil || id.Expires.Unix() > maxYear9999 {
			t.Fatalf("%+v", id)
		}
	})
}

func BenchmarkCallback(b *testing.B) {
	a := newApp(b, says(200, `{"subject":"42","name":"ann"}`))
	v := newCallback(b, CallbackConfig{URL: a.URL, Forward: []string{"Cookie"}, Secret: bytes.Repeat([]byte("k"), 32)})
	c := Credential{From: "request", Request: browser()}
	b.ReportAllocs()
	for b.Loop() {
		a.mu.Lock()
		a.asked = a.asked[:0]
		a.mu.Unlock()
		if _, err := v.Verify(context.Background(), c); err != nil {
			b.Fatal(err)
		}
	}
}
