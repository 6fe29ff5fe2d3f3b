package authn

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func authorization(v string) Request {
	return Request{Authorization: []byte(v), HasAuthorization: true}
}

func TestHeaderWithScheme(t *testing.T) {
	long := strings.Repeat("a", MaxCredential)
	runExtract(t, must(NewHeader("authorization", "Token")), "header", []extractCase{
		{name: "scheme and key", req: authorization("Token KEY"), value: "KEY"},
		{name: "scheme in another case", req: authorization("tOKEN KEY"), value: "KEY"},
		{name: "two spaces", req: authorization("Token  KEY"), value: "KEY"},
		{name: "tab", req: authorization("Token\tKEY"), value: "KEY"},
		{name: "spaces around", req: authorization("   Token KEY \t "), value: "KEY"},
		{name: "quotes are part of it", req: authorization(`Token "KEY"`), value: `"KEY"`},
		{name: "longest", req: authorization("Token " + long), value: long},
		{name: "no header", absent: true},
		{name: "empty value", req: authorization(""), absent: true},
		{name: "only spaces", req: authorization("   "), absent: true},
		{name: "other scheme", req: authorization("Bearer KEY"), absent: true},
		{name: "scheme is a prefix", req: authorization("Tokens KEY"), absent: true},
		{name: "key alone", req: authorization("KEY"), absent: true},
		{name: "no-break space does not split", req: authorization("Token\u00a0KEY"), absent: true},
		{name: "scheme alone", req: authorization("Token"), reason: ReasonMalformed},
		{name: "scheme and spaces", req: authorization("Token  \t"), reason: ReasonMalformed},
		{name: "three words", req: authorization("Token KEY extra"), reason: ReasonMalformed},
		{name: "list", req: authorization("Token KEY, Token KEY"), reason: ReasonMalformed},
		{name: "too long", req: authorization("Token KEY" + long), reason: ReasonMalformed},
	})
}

func fields(nameValue ...string) Request {
	var r Request
	for i := 0; i < len(nameValue); i += 2 {
		r.Header = append(r.Header, HeaderField{[]byte(nameValue[i]), []byte(nameValue[i+1])})
	}
	return r
}

func TestHeaderWithoutScheme(t *testing.T) {
	runExtract(t, must(NewHeader("X-Token", "")), "header", []extractCase{
		{name: "value", req: fields("x-token", "KEY"), value: "KEY"},
		{name: "whole value", req: fields("Other", "x", "X-Token", " one KEY\t"), value: "one KEY"},
		{name: "no header", req: fields("X-Token2", "KEY"), absent: true},
		{name: "Authorization is another one", req: authorization("KEY"), absent: true},
		{name: "empty", req: fields("X-Token", ""), absent: true},
		{name: "twice", req: fields("X-Token", "KEY", "x-token", "KEY"), reason: ReasonMalformed},
	})
	runExtract(t, must(NewHeader("Authorization", "")), "header", []extractCase{
		{name: "whole Authorization", req: authorization("Token KEY"), value: "Token KEY"},
	})
}

func TestNewHeaderRefuses(t *testing.T) {
	for _, c := range [][2]string{{"", "Token"}, {"X Token", ""}, {"X:", ""}, {"Authorization", "To ken"}, {"Authorization", "Token,"}} {
		if h, err := NewHeader(c[0], c[1]); err == nil {
			t.Errorf("NewHeader(%q, %q) = %v, want an error", c[0], c[1], h)
		}
	}
}

func TestHeaderDoesNotAllocate(t *testing.T) {
	r := authorization("Token " + aliceKey)
	noAllocs(t, must(NewHeader("Authorization", "Token")), &r)
}

func FuzzHeader(f *testing.F) {
	for _, c := range loadConformance(f) {
		if len(c.Request) > 0 {
			if r := parseHead(f, c.Request); r.HasAuthorization && len(r.Authorization) < 500 {
				f.Add(r.Authorization)
			}
		}
	}
	f.Add([]byte("Basic YTpi"))
	h, basic := must(NewHeader("Authorization", "Token")), must(NewHeader("Authorization", "Basic"))
	f.Fuzz(func(t *testing.T, value []byte) {
		r := &Request{Authorization: value, HasAuthorization: true}
		got, err := h.Extract(r)
		words := bytes.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' })
		ours := len(words) > 0 && strings.EqualFold(string(words[0]), "token") && !bytes.ContainsRune(words[0], '\u212a')
		switch {
		case !ours:
			if !errors.Is(err, ErrAbsent) {
				t.Fatalf("another scheme: got %v", err)
			}
		case len(words) != 2 || len(words[1]) > MaxCredential:
			if !errors.Is(err, ErrRejected) {
				t.Fatalf("%d words: got %v", len(words), err)
			}
		case err != nil || !bytes.Equal(got.Value, words[1]):
			t.Fatalf("got %q, %v, want %q", got.Value, err, words[1])
		}
		// What net/http takes for a Basic credential, we take for the same.
		q := httpRequest("Authorization", string(value))
		if user, password, ok := q.BasicAuth(); ok && len(value) < MaxCredential && !bytes.ContainsAny(value, "\r\n") {
			got, err := basic.Extract(r)
			plain, _ := base64.StdEncoding.DecodeString(string(got.Value))
			if err != nil || string(plain) != user+":"+password {
				t.Fatalf("Basic: got %q, %v, want %q", plain, err, user+":"+password)
			}
		}
	})
}

func BenchmarkExtractHeader(b *testing.B) {
	r := authorization("Token " + aliceKey)
	benchmarkExtract(b, must(NewHeader("Authorization", "Token")), &r)
}

func benchmarkExtract(b *testing.B, e Extractor, r *Request) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Extract(r); err != nil {
			b.Fatal(err)
		}
	}
}
