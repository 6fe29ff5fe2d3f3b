package gateway

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/authn"
)

func TestParseHead(t *testing.T) {
	for _, c := range headCases() {
		t.Run(c.name, func(t *testing.T) {
			var r authn.Request
			var u upgrade
			if err := parseHead([]byte(c.raw), &r, &u); !isReason(err, c.want) {
				t.Errorf("parseHead(%q)\n got %v\nwant %v", c.raw, err, c.want)
			}
		})
	}
}

// isReason compares err with a want that may be nil.
func isReason(err error, want *reasonError) bool {
	if want == nil {
		return err == nil
	}
	return err == want //nolint:errorlint // the parser returns these very values
}

// A head that ends too early is refused, wherever it ends, and never read beyond.
func TestParseHeadTruncated(t *testing.T) {
	for n := range len(browserHead) {
		b := slices.Clip([]byte(browserHead[:n]))
		if err := parseHead(b, new(authn.Request), new(upgrade)); err == nil {
			t.Errorf("the first %d bytes are accepted: %q", n, b)
		}
	}
}

func TestParseHeadFillsRequest(t *testing.T) {
	raw := lines(
		"GET /ws/app_1?a=b&c=%20 HTTP/1.1",
		"Host: Example.com:80",
		"UPGRADE: h2c, WebSocket",
		"Connection: keep-alive",
		"Connection: , UPGRADE",
		"Authorization:  Token  abc ",
		"Cookie: a=b; c=d",
		"Origin: https://example.com",
		"Sec-WebSocket-Key: "+key,
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Protocol: one, two",
		"Sec-WebSocket-Protocol: three",
	)
	var r authn.Request
	var u upgrade
	if err := parseHead([]byte(raw), &r, &u); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"Path", string(r.Path), "/ws/app_1"},
		{"RawQuery", string(r.RawQuery), "a=b&c=%20"},
		{"Host", string(r.Host), "Example.com:80"},
		{"Authorization", string(r.Authorization), "Token  abc"},
		{"Cookie", string(r.Cookie), "a=b; c=d"},
		{"Origin", string(r.Origin), "https://example.com"},
		{"Protocols", string(bytes.Join(r.Protocols, []byte("|"))), "one|two|three"},
		{"key", string(u.key), key},
		{"version", string(u.version), "13"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", c.what, c.got, c.want)
		}
	}
	if !r.HasOrigin || !r.HasAuthorization || !u.websocket || !u.connection {
		t.Errorf("a field was not seen: %+v %+v", r, u)
	}
	if len(r.Header) != 11 || string(r.Header[1].Name) != "UPGRADE" || string(r.Header[1].Value) != "h2c, WebSocket" {
		t.Errorf("the fields are not those of the head: %q", r.Header)
	}
	if err := u.check(); err != nil {
		t.Errorf("check: %v", err)
	}
}

// What comes behind a borrowed slice must not be written over by an append to it.
func TestParseHeadFieldsAreClipped(t *testing.T) {
	b := []byte(browserHead)
	var r authn.Request
	if err := parseHead(b, &r, new(upgrade)); err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Header {
		_ = append(f.Name, '!')
		_ = append(f.Value, '!')
	}
	if string(b) != browserHead {
		t.Error("an append to a field changed the head")
	}
}

func TestUpgradeCheck(t *testing.T) {
	good := upgrade{websocket: true, connection: true, version: []byte("13"), key: []byte(key)}
	for _, c := range []struct {
		name   string
		change func(*upgrade)
		want   *reasonError
	}{
		{"good", func(*upgrade) {}, nil},
		{"no Upgrade", func(u *upgrade) { u.websocket = false }, errNotUpgrade},
		{"no Connection", func(u *upgrade) { u.connection = false }, errNotUpgrade},
		{"no version", func(u *upgrade) { u.version = nil }, errWebSocketVersion},
		{"version 8", func(u *upgrade) { u.version = []byte("8") }, errWebSocketVersion},
		{"two versions", func(u *upgrade) { u.version = []byte("13, 8") }, errWebSocketVersion},
		{"no key", func(u *upgrade) { u.key = nil }, errKey},
		{"short key", func(u *upgrade) { u.key = []byte("dGhlIHNhbXBsZQ==") }, errKey},
		{"long key", func(u *upgrade) { u.key = []byte("dGhlIHNhbXBsZSBub25jZXN0") }, errKey},
		{"key of 17 bytes", func(u *upgrade) { u.key = []byte("dGhlIHNhbXBsZSBub25jZXM=") }, errKey},
		{"key not base64", func(u *upgrade) { u.key = []byte("dGhlIHNhbXBsZSBub25j-Q==") }, errKey},
	} {
		u := good
		c.change(&u)
		if err := u.check(); !isReason(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// FuzzHead holds that whatever parseHead accepts, net/http accepts with the same method, URI, host and fields.
func FuzzHead(f *testing.F) {
	for _, c := range headCases() {
		f.Add([]byte(c.raw))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		orig := bytes.Clone(b)
		var r authn.Request
		var u upgrade
		err := parseHead(b, &r, &u)
		if !bytes.Equal(b, orig) {
			t.Fatal("the parser changed the head")
		}
		if err != nil {
			if _, ok := err.(*reasonError); !ok { //nolint:errorlint // the contract is this very type
				t.Fatalf("error of type %T", err)
			}
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatalf("we accept what net/http refuses: %v", err)
		}
		uri := string(r.Path)
		if bytes.IndexByte(b[:bytes.IndexByte(b, '\n')], '?') >= 0 {
			uri += "?" + string(r.RawQuery)
		}
		if theirs.Method != http.MethodGet || theirs.RequestURI != uri || theirs.Host != string(r.Host) || theirs.ProtoMinor != 1 {
			t.Fatalf("they read %s %q of %q, we GET %q of %q", theirs.Method, theirs.RequestURI, theirs.Host, uri, r.Host)
		}
		if theirs.ContentLength > 0 || len(theirs.TransferEncoding) > 0 {
			t.Fatal("they read a body")
		}
		compareFields(t, &r, theirs.Header)
		if _, err := splitPath(nil, r.Path); err == nil {
			// What we route by is what they would route by.
			if got := theirs.URL.Path; strings.Trim(got, "/") != strings.Trim(joinPath(r.Path), "/") {
				t.Fatalf("they decode the path to %q, we to %q", got, joinPath(r.Path))
			}
		}
	})
}

func joinPath(path []byte) string {
	s, _ := splitPath(nil, path)
	return string(bytes.Join(s, []byte("/")))
}

// compareFields compares all fields. ReadRequest takes Host out, joins equal lengths, and adds a Cache-Control to Pragma.
func compareFields(t *testing.T, r *authn.Request, theirs http.Header) {
	t.Helper()
	ours := http.Header{}
	for _, f := range r.Header {
		ours.Add(string(f.Name), string(f.Value))
	}
	for _, name := range []string{"Host", "Content-Length", "Trailer"} {
		ours.Del(name)
		theirs.Del(name)
	}
	if ours.Get("Pragma") != "" && ours.Get("Cache-Control") == "" {
		ours.Del("Cache-Control")
		theirs.Del("Cache-Control")
	}
	if len(ours) != len(theirs) {
		t.Fatalf("they have fields %q, we %q", theirs, ours)
	}
	for name, values := range ours {
		if !slices.Equal(values, theirs[name]) {
			t.Fatalf("%s: they have %q, we %q", name, theirs[name], values)
		}
	}
	for name, got := range map[string][]byte{"Origin": r.Origin, "Cookie": r.Cookie, "Authorization": r.Authorization} {
		if theirs.Get(name) != string(got) {
			t.Fatalf("%s: they have %q, we %q", name, theirs.Get(name), got)
		}
	}
}

// BenchmarkParseHead also says what net/http takes for the same heads.
func BenchmarkParseHead(b *testing.B) {
	for _, c := range []struct{ name, raw string }{{"client", withLines("Authorization: Token " + strings.Repeat("a", 40))}, {"browser", browserHead}} {
		b.Run(c.name, func(b *testing.B) {
			raw := []byte(c.raw)
			var r authn.Request
			var u upgrade
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				r.Reset()
				u = upgrade{}
				if err := parseHead(raw, &r, &u); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+" net/http", func(b *testing.B) {
			var raw bytes.Reader
			br := bufio.NewReader(nil)
			b.ReportAllocs()
			b.SetBytes(int64(len(c.raw)))
			for b.Loop() {
				raw.Reset([]byte(c.raw))
				br.Reset(&raw)
				if _, err := http.ReadRequest(br); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
