package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fact is a small world: alice is active, bob is not.
func fact() *Facts {
	return &Facts{
		users:  map[string]bool{"alice": true, "bob": false},
		secret: []byte("a secret of this test"),
		tokens: map[string]holder{"a1": {"alice", true}, "b0": {"bob", false}},
		jwts:   map[string]string{goodToken: "alice", badToken: "", unending: "alice"},

		sessions: map[string]string{"s1": "dave"},
	}
}

var (
	goodToken = token(`{"alg":"HS256"}`, `{"username":"alice","exp":4000000000}`)
	unending  = token(`{"alg":"HS256"}`, `{"username":"alice"}`)
	fresh     = sign(`{"username":"alice","exp":4000000000}`)
	freshBob  = sign(`{"username":"bob","exp":4000000000}`)
	badToken  = token(`{"alg":"HS256"}`, `{"username":"nobody","exp":4000000000}`)
)

func token(head, claims string) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(head) + "." + part(claims) + "." + part("signature")
}

// sign returns a token that is signed with the secret of fact.
func sign(claims string) string {
	var c jwt.MapClaims
	if err := json.Unmarshal([]byte(claims), &c); err != nil {
		panic(err)
	}
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(fact().secret)
	if err != nil {
		panic(err)
	}
	return s
}

func jwtCookie(head, claims string) string { return "Cookie: JWT=" + token(head, claims) }

// TestRules: what each rule makes of a request where Django answered seen, and which requests it leaves alone.
func TestRules(t *testing.T) {
	decided := map[string]bool{}
	for name, tt := range map[string]struct {
		target string
		fields []string
		seen   string
		want   string
		rule   string // "": none has anything to say that Django does not
	}{
		"a long head":                  {"/a/who/", []string{"X: " + strings.Repeat("x", 17000)}, "101 anonymous", "431", "head"},
		"many lines":                   {"/a/who/", slices.Repeat([]string{"X: x"}, 130), "101 anonymous", "431", "head"},
		"another method":               {"POST /a/who/ HTTP/1.1", nil, "400", "405", "request-line"},
		"another protocol":             {"GET /a/who/ HTTP/1.0", nil, "101 anonymous", "505", "request-line"},
		"a whole URL":                  {"GET http://localhost/a/who/ HTTP/1.1", nil, "101 anonymous", "400", "request-line"},
		"no protocol":                  {"GET /a/who/", nil, "404", "400", "request-line"},
		"two keys":                     {"/a/who/", []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}, "101 anonymous", "400", "twice"},
		"a folded line":                {"/a/who/", []string{"Authorization: Token\r\n a1"}, "101 user=alice", "400", "bad-http"},
		"a Host that is a URL":         {"/a/who/", []string{"Host: http://localhost"}, "101 anonymous", "400", "bad-http"},
		"a Host with such a port":      {"/a/who/", []string{"Host: localhost:99999"}, "101 anonymous", "400", "bad-http"},
		"a Host of IPv6":               {"/a/who/", []string{"Host: [::1]:80"}, "101 anonymous", "101 anonymous", ""},
		"a body":                       {"/a/who/", []string{"Content-Length: 5"}, "101 anonymous", "400", "body"},
		"a body of no bytes":           {"/a/who/", []string{"Content-Length: 0"}, "101 anonymous", "101 anonymous", ""},
		"a key that is short":          {"/d/who/", []string{"Sec-WebSocket-Key: c2hvcnQ="}, "403", "400", "key"},
		"no upgrade of Connection":     {"/a/who/", []string{"Connection: keep-alive"}, "404", "426", "not-websocket"},
		"a list of protocols":          {"/a/who/", []string{"Upgrade: h2c, websocket", "Authorization: Token a1"}, "400", "101 user=alice", "upgrade-list"},
		"such a list, and an Origin":   {"/o/who/", []string{"Upgrade: h2c, websocket", "Origin: http://evil.test"}, "404", "403", "upgrade-list"},
		"an encoded slash":             {"/ws%2Fapp_1?token=a1", nil, "101 joined", "400", "path"},
		"an encoded route":             {"/%61/who/", []string{"Authorization: Token a1"}, "101 user=alice", "101 user=alice", ""},
		"a page elsewhere":             {"/s/who/", []string{"Origin: http://evil.test", "Cookie: sessionid=s1"}, "101 user=dave", "403", "own-origin"},
		"a page that is told":          {"/s/late/", []string{"Origin: http://evil.test"}, "101 close=4401", "101 close=4403", "own-origin"},
		"a page of nowhere":            {"/ws/app_1?token=a1", []string{"Origin: null"}, "101 joined", "403", "own-origin"},
		"a page of the host":           {"/s/who/", []string{"Origin: http://127.0.0.1:80", "Cookie: sessionid=s1"}, "101 user=dave", "101 user=dave", ""},
		"an address spelled long":      {"/d/who/?token=a1", []string{"Origin: http://[0:0::1]"}, "403", "403", ""},
		"two Authorization":            {"/a/who/", []string{"Authorization: Token a1", "Authorization: Token a1"}, "500", "400", "twice"},
		"two Origin":                   {"/d/who/", []string{"Origin: http://a", "origin: http://b"}, "403", "400", "twice"},
		"a byte over ASCII":            {"/d/who/?token=\xff", nil, "101 anonymous", "400", "bad-http"},
		"a fragment":                   {"/d/who/?token=a1#x", nil, "101 anonymous", "400", "bad-http"},
		"NUL in a field":               {"/a/who/", []string{"Authorization: Token a\x00b"}, "101 anonymous", "400", "bad-http"},
		"a subprotocol of two words":   {"/s/proto/", []string{"Sec-WebSocket-Protocol: v1 chat"}, "101 selected=", "400", "bad-http"},
		"another version":              {"/a/who/", []string{"Sec-WebSocket-Version: 12"}, "400", "426", "not-websocket"},
		"no upgrade":                   {"/a/who/", []string{"Upgrade"}, "404", "426", "not-websocket"},
		"no such path":                 {"/a/nowhere/", nil, "500", "404", "no-route"},
		"another category":             {"/ws/other_1234?token=a1", nil, "403", "404", "no-route"},
		"no category":                  {"/ws/app?token=a1", nil, "500", "404", "no-route"},
		"no id":                        {"/ws/app_?token=a1", nil, "500", "404", "no-route"},
		"an empty segment":             {"/ws//app_1?token=a1", nil, "403", "404", "no-route"},
		"one segment more":             {"/ws/app_1/x?token=a1", nil, "500", "404", "no-route"},
		"digits of another script":     {"/ws/app_%D9%A1?token=a1", nil, "101 joined", "400", "group-name"},
		"a plus":                       {"/ws/app_+1234?token=a1", nil, "101 joined", "400", "group-name"},
		"a broken escape":              {"/ws/app_%zz?token=a1", nil, "500", "400", "path"},
		"a name of 100":                {"/ws/app_" + strings.Repeat("0", 96) + "?token=a1", nil, "500", "400", "group-name"},
		"an Origin with a user":        {"/d/who/?token=a1", []string{"Origin: http://user@localhost"}, "101 user=alice", "403", "origin"},
		"an Origin with a path":        {"/d/who/?token=a1", []string{"Origin: http://localhost/path"}, "101 user=alice", "403", "origin"},
		"an Origin without a scheme":   {"/d/who/?token=a1", []string{"Origin: //localhost"}, "101 user=alice", "403", "origin"},
		"an Origin of a backslash":     {"/d/who/?token=a1", []string{`Origin: http://evil.test\@localhost`}, "101 user=alice", "403", "origin"},
		"an Origin of files":           {"/d/who/?token=a1", []string{"Origin: file://localhost"}, "101 user=alice", "403", "origin"},
		"an Origin with such a port":   {"/d/who/?token=a1", []string{"Origin: http://localhost:99999"}, "101 user=alice", "403", "origin"},
		"an Origin of an address":      {"/d/who/?token=a1", []string{"Origin: http://[::1]:3000"}, "101 user=alice", "101 user=alice", ""},
		"no Origin":                    {"/d/who/?token=a1", nil, "403", "403", ""},
		"an inactive user":             {"/a/who/", []string{"Authorization: Token b0"}, "101 user=bob (inactive)", "101 anonymous", "inactive"},
		"NBSP":                         {"/a/who/", []string{"Authorization: Token\u00a0a1"}, "101 user=alice", "101 anonymous", "white-space"},
		"NBSP in Latin-1":              {"/a/socket/", []string{"Authorization: Token\xa0a1"}, "500", "401", "white-space"},
		"an em space":                  {"/a/who/", []string{"Authorization: Token\u2003a1"}, "101 user=alice", "101 anonymous", "white-space"},
		"another case":                 {"/a/who/", []string{"Authorization: tOKEN a1"}, "101 anonymous", "101 user=alice", "scheme-case"},
		"another case, no such key":    {"/a/who/", []string{"Authorization: TOKEN zz"}, "101 anonymous", "101 anonymous", ""},
		"another scheme":               {"/a/who/", []string{"Authorization: Bearer a1"}, "101 anonymous", "101 anonymous", ""},
		"no exp":                       {"/b/who/", []string{jwtCookie(`{}`, `{"username":"alice"}`)}, "101 user=alice", "101 anonymous", "jwt-expiry"},
		"exp as text":                  {"/b/socket/", []string{jwtCookie(`{}`, `{"exp":"4000000000"}`)}, "101 user=alice", "401", "jwt-expiry"},
		"exp":                          {"/b/who/", []string{jwtCookie(`{}`, `{"exp":4000000000.5}`)}, "101 user=alice", "101 user=alice", ""},
		"exp in milliseconds":          {"/b/who/", []string{jwtCookie(`{}`, `{"exp":4000000000000}`)}, "101 user=alice", "101 anonymous", "jwt-expiry"},
		"nbf as text":                  {"/b/who/", []string{jwtCookie(`{}`, `{"exp":4000000000,"nbf":"1"}`)}, "101 user=alice", "101 anonymous", "jwt-claims"},
		"aud of no kind":               {"/b/who/", []string{jwtCookie(`{}`, `{"exp":4000000000,"aud":{}}`)}, "101 user=alice", "101 anonymous", "jwt-claims"},
		"groups by number":             {"/b/who/", []string{jwtCookie(`{}`, `{"exp":4000000000,"groups":[1]}`)}, "101 user=alice", "101 anonymous", "jwt-claims"},
		"claims as they should be":     {"/b/who/", []string{jwtCookie(`{"kid":"x"}`, `{"exp":4e9,"nbf":1,"aud":["x"],"jti":7,"groups":["a"]}`)}, "101 user=alice", "101 user=alice", ""},
		"NaN":                          {"/b/who/", []string{jwtCookie(`{}`, `{"exp":4000000000,"x":NaN}`)}, "101 user=alice", "101 anonymous", "jwt-json"},
		"a token in Latin-1":           {"/b/socket/", []string{jwtCookie(`{}`, "{\"exp\":4000000000,\"x\":\"\xe9\"}")}, "101 user=alice", "401", "jwt-json"},
		"a deep token":                 {"/b/who/", []string{jwtCookie(`{}`, `{"exp":4000000000,"x":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)+`}`)}, "101 user=alice", "101 anonymous", "jwt-json"},
		"a padded token":               {"/b/who/", []string{"Cookie: JWT=" + goodToken + "="}, "101 user=alice", "101 anonymous", "jwt-form"},
		"a long token":                 {"/b/who/", []string{"Cookie: JWT=" + token(`{}`, `{"exp":4000000000,"x":"`+strings.Repeat("x", 7000)+`"}`)}, "101 user=alice", "101 anonymous", "jwt-form"},
		"an escape in quotes":          {"/b/who/", []string{`Cookie: JWT="\145` + goodToken[1:] + `"`}, "101 user=alice", "101 user=alice", ""},
		"an attribute, and no exp":     {"/b/who/", []string{"Cookie: path=/; JWT=" + unending}, "101 anonymous", "101 anonymous", ""},
		"an attribute in front":        {"/b/who/", []string{"Cookie: path=/; JWT=" + goodToken}, "101 anonymous", "101 user=alice", "cookie"},
		"the last is no cookie":        {"/b/who/", []string{"Cookie: JWT=" + goodToken + "; JWT=a b"}, "101 anonymous", "101 anonymous", ""},
		"crit":                         {"/b/who/", []string{jwtCookie(`{"crit":["x"],"x":1}`, `{"exp":4000000000}`)}, "101 user=alice", "101 anonymous", "jwt-crit"},
		"a cookie without a name":      {"/b/who/", []string{"Cookie: foo; JWT=" + goodToken}, "101 anonymous", "101 user=alice", "cookie"},
		"a cookie of JSON":             {"/b/who/", []string{`Cookie: p={"a":1}; JWT=` + goodToken}, "101 anonymous", "101 user=alice", "cookie"},
		"cookies with a comma":         {"/b/who/", []string{"Cookie: a=1, JWT=" + goodToken}, "101 user=alice", "101 anonymous", "cookie"},
		"one odd, and a JWT that is":   {"/b/socket/", []string{"Cookie: ; JWT=" + badToken}, "403", "401", "cookie"},
		"cookies":                      {"/b/who/", []string{"Cookie: a=1; JWT=" + goodToken}, "101 user=alice", "101 user=alice", ""},
		"a parameter without =":        {"/d/who/?token=a1&x", []string{"Origin: http://localhost"}, "101 anonymous", "101 user=alice", "query"},
		"an encoded name":              {"/d/who/?to%6Ben=a1", []string{"Origin: http://localhost"}, "101 anonymous", "101 user=alice", "query"},
		"the last of a name":           {"/d/who/?token=a1&token=bad", []string{"Origin: http://localhost"}, "101 anonymous", "101 anonymous", ""},
		"the last cannot be decoded":   {"/d/who/?token=a1&token=%zz", []string{"Origin: http://localhost"}, "101 anonymous", "101 anonymous", ""},
		"one odd, and a strict one":    {"/d/socket/?token=a1&x", []string{"Origin: http://localhost"}, "403", "101 user=alice", "query"},
		"one odd, and a bad Origin":    {"/d/socket/?token=a1&x", []string{"Origin: http://evil.test"}, "403", "403", ""},
		"no token and a bad Origin":    {"/d/socket/", []string{"Origin: http://evil.test"}, "403", "403", ""},
		"no token at a strict one":     {"/d/socket/", []string{"Origin: http://localhost"}, "403", "401", "status"},
		"an id that is no number":      {"/ws/app_x?token=a1", nil, "500", "403", "group-id"},
		"an id beyond int64":           {"/ws/app_99999999999999999999?token=a1", nil, "500", "403", "group-id"},
		"that of nobody":               {"/ws/app_x?token=zz", nil, "403", "401", "status"},
		"a leading zero":               {"/ws/app_01?token=a1", nil, "101 joined", "101 joined", ""},
		"one word":                     {"/a/who/", []string{"Authorization: a1"}, "500", "101 anonymous", "other-scheme"},
		"one word, and a session":      {"/a/who/", []string{"Authorization: a1", "Cookie: sessionid=s1"}, "500", "101 user=dave", "other-scheme"},
		"several words, and a session": {"/a/who/", []string{"Authorization: Digest a=1, b=2", "Cookie: sessionid=s1"}, "500", "101 user=dave", "other-scheme"},
		"NBSP behind a session":        {"/s/who/", []string{"Cookie: sessionid=s1\xa0"}, "101 user=dave", "101 anonymous", "white-space"},
		"NEL in front of its name":     {"/a/socket/", []string{"Cookie: x=1; \x85sessionid=s1"}, "101 user=dave", "401", "white-space"},
		"an inactive one before":       {"/d/who/?token=b0&t%6Fken=a1", []string{"Origin: http://localhost"}, "101 user=bob (inactive)", "101 user=alice", "query"},
		"NBSP of bob, and a session":   {"/a/who/", []string{"Authorization: Token\u00a0b0", "Cookie: sessionid=s1"}, "101 user=bob (inactive)", "101 user=dave", "white-space"},
		"a JWT that is in no list":     {"/b/who/", []string{`Cookie: p={"a":1}; JWT=` + fresh}, "101 anonymous", "101 user=alice", "cookie"},
		"such a JWT of bob":            {"/b/socket/", []string{`Cookie: p={"a":1}; JWT=` + freshBob}, "403", "401", "cookie"},
		"a token, and a bad session":   {"/a/who/", []string{"Authorization: Token a1", "Cookie: sessionid=odd"}, "500", "101 user=alice", "exception"},
		"NBSP, and a session":          {"/a/who/", []string{"Authorization: Token\u00a0a1", "Cookie: sessionid=s1"}, "101 user=alice", "101 user=dave", "white-space"},
		"a scheme alone, and one":      {"/a/who/", []string{"Authorization: Token", "Cookie: sessionid=s1"}, "500", "101 anonymous", "exception"},
		"the last of a name is empty":  {"/ws/app_1?token=a1&token=", nil, "101 joined", "401", "query"},
		"a mis-typed id of a session":  {"/s/who/", []string{"Cookie: sessionid=x"}, "500", "101 anonymous", "exception"},
		"no token for the group":       {"/ws/app_1234", nil, "403", "401", "status"},
		"an inactive one":              {"/ws/app_1234?token=b0", nil, "403", "401", "status"},
		"no permission":                {"/ws/app_1234?token=a1", nil, "403", "403", ""},
		"nobody at a strict endpoint":  {"/b/socket/", nil, "403", "401", "status"},
		"a bad Origin, as daphne says": {"/o/who/", []string{"Origin: https://elsewhere.test"}, "400", "403", "status"},
	} {
		c := &Case{Name: name, Request: handshake(tt.target, tt.fields...), Observed: map[string]string{"daphne": tt.seen}}
		if strings.Contains(tt.target, " ") { // it is a whole line
			c.Request = bytes.Replace(handshake("/", tt.fields...), []byte("GET / HTTP/1.1"), []byte(tt.target), 1)
		}
		got := NewExpecter(fact()).Expect(c)
		if len(got) != 1 || got[0] != (Expectation{tt.want, tt.rule}) {
			t.Errorf("%s: got %v, want %q by %q", name, got, tt.want, tt.rule)
		}
		decided[tt.rule] = true
	}
	for _, r := range Rules {
		if !decided[r.Name] {
			t.Errorf("no request here is decided by the rule %s", r.Name)
		}
	}
}

func TestSeen(t *testing.T) {
	for observed, want := range map[string]string{
		"101 user=zoë":            "101 user=zoë",
		"101 user=bob (inactive)": "101 user=bob (inactive)",
		"101, echo b'hi'":         "101 joined",
		"101 Switching Protocols | headers: server=daphne | body 0 bytes b'' | tcp closed=?": "101",
		"101  | headers: upgrade=WebSocket":                                                  "101",
		"403 Access denied | headers:  | body 0 bytes b'' | tcp closed=True":                 "403",
		"426 [('sec-websocket-version', '13')] b''":                                          "426",
		"500 after 1.0 s": "500",
		"101 selected=['v1.chat'] first frame b'{\"offered\": [\"x\", \"v1.chat\"]}'": "101 selected=v1.chat",
		"101 selected=[] first frame b'{\"offered\": []}'":                            "101 selected=",
		"101 close=4401":         "101 close=4401",
		"close=none":             "close=none",
		"close=1011 after 1.0 s": "close=1011",
		"TimeoutError('timed out') then close=1009": "close=1009",
		"abrupt EOF (1006) after 0.0 s":             "EOF",
		"ConnectionResetError":                      "EOF",
		"('timeout', b'')":                          "nothing",
		`(1, b'zo\xc3\xab')`:                        "text:zoë",
		"(1, b'')":                                  "text:",
		"((10, b'p'), (1, b'hello'))":               "pong:p, text:hello",
		"op=1 len=1048576 ":                         "text of 1048576 bytes",
		"server=daphne, upgrade=WebSocket, connection=Upgrade, sec-websocket-accept=x=": headers("websocket", "Upgrade"),
		"['permessage-deflate']": "['permessage-deflate']",
		"True":                   "in order",
	} {
		if got := canonical(observed); got != want {
			t.Errorf("%q: got %q, want %q", observed, got, want)
		}
	}
}

// TestSpoken: what was offered in a request and selected is spoken, and nothing else.
func TestSpoken(t *testing.T) {
	selected := func(request []byte, name string) Case {
		return Case{Request: request, Observed: map[string]string{"daphne": "101 selected=['" + name + "'] first frame b''"}}
	}
	r := handshake("/s/proto/")
	got := Spoken([]Case{selected(r, "v2"), selected(r, ""), selected(nil, "v9"), selected(r, "v1"), selected(r, "v2")})
	if want := []string{"v2", "v1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestJudge: where the servers disagree, any of their answers will do, and one that is only a rule's is a difference.
func TestJudge(t *testing.T) {
	c := &Case{Request: handshake("/a/nowhere/"), Observed: map[string]string{"daphne": "500", "uvicorn": "404"}}
	want := NewExpecter(fact()).Expect(c)
	for got, verdict := range map[string]Verdict{"404": Agreed, "500": Wrong, "101": Wrong} {
		if v, _ := Judge(got, want); v != verdict {
			t.Errorf("%s: %v, want %v", got, v, verdict)
		}
	}
	c.Observed = map[string]string{"daphne": "500"}
	if v, rule := Judge("404", NewExpecter(fact()).Expect(c)); v != Differs || rule != "no-route" {
		t.Errorf("%v by %q", v, rule)
	}
	if v, _ := Judge("101 user=alice", []Expectation{{Answer: "101"}}); v != Agreed {
		t.Errorf("let in, whoever it is: %v", v)
	}
}

// TestActs: a behaviour that nobody here knows is said to be unknown, and is not taken for a success.
func TestActs(t *testing.T) {
	e, report := NewExpecter(fact()), &Report{}
	report.Add(Run(e, &Actor{}, &Case{Group: "proto", Name: "something new", Observed: map[string]string{"daphne": "101"}}))
	if report.Count(Unknown) != 1 {
		t.Errorf("%d unknown, want one", report.Count(Unknown))
	}
	var b strings.Builder
	if err := report.Write(&b); err != nil || !strings.Contains(b.String(), "not acted out  proto: something new") {
		t.Errorf("%v\n%s", err, &b)
	}
}
