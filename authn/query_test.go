package authn

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"testing"
)

func query(v string) Request { return Request{RawQuery: []byte(v)} }

func TestQuery(t *testing.T) {
	long := strings.Repeat("a", MaxCredential)
	runExtract(t, must(NewQuery("token")), "query", []extractCase{
		{name: "alone", req: query("token=KEY"), value: "KEY"},
		{name: "among others", req: query("a=1&token=KEY&b=2"), value: "KEY"},
		{name: "beside one without a value", req: query("x&token=KEY&y"), value: "KEY"},
		{name: "ampersands around", req: query("&&token=KEY&"), value: "KEY"},
		{name: "the last wins", req: query("token=one&token=KEY"), value: "KEY"},
		{name: "the last with = wins", req: query("token=KEY&token"), value: "KEY"},
		{name: "an equals sign in it", req: query("token=K=Y=="), value: "K=Y=="},
		{name: "encoded name", req: query("to%6Be%6e=KEY"), value: "KEY"},
		{name: "encoded value", req: query("token=%4bE%59"), value: "KEY"},
		{name: "plus is a space", req: query("token=+K%20E+Y%2B"), value: " K E Y+"},
		{name: "a bad name is another name", req: query("token=KEY&tok%zzen=x&token%=y"), value: "KEY"},
		{name: "semicolon is a letter", req: query("token=KEY;x=1"), value: "KEY;x=1"},
		{name: "NUL", req: query("token=%00"), value: "\x00"},
		{name: "no UTF-8", req: query("token=%FF"), value: "\xff"},
		{name: "longest", req: query("token=" + long), value: long},
		{name: "longest, encoded", req: query("token=%61" + long[1:]), value: long},
		{name: "a bad one before", req: query("token=%zz&token=KEY"), value: "KEY"},
		{name: "none", absent: true},
		{name: "no equals sign", req: query("token"), absent: true},
		{name: "empty", req: query("token="), absent: true},
		{name: "emptied later", req: query("token=KEY&token="), absent: true},
		{name: "another case", req: query("TOKEN=KEY"), absent: true},
		{name: "longer name", req: query("tokens=KEY&xtoken=KEY"), absent: true},
		{name: "in another value", req: query("a=1?token=KEY"), absent: true},
		{name: "bad escape", req: query("token=KEY%zz"), reason: ReasonMalformed},
		{name: "half an escape", req: query("token=KEY%4"), reason: ReasonMalformed},
		{name: "the last is bad", req: query("token=KEY&token=%"), reason: ReasonMalformed},
		{name: "too long", req: query("token=KEY" + long), reason: ReasonMalformed},
	})
	if _, err := NewQuery(""); err == nil {
		t.Error("a parameter without a name was accepted")
	}
}

func TestQueryDoesNotAllocate(t *testing.T) {
	r := query("a=b&%61=c&token=" + aliceKey)
	noAllocs(t, must(NewQuery("token")), &r)
}

func FuzzQuery(f *testing.F) {
	for _, c := range loadConformance(f) {
		if len(c.Request) > 0 {
			if r := parseHead(f, c.Request); len(r.RawQuery) > 0 {
				f.Add(r.RawQuery)
			}
		}
	}
	f.Add([]byte("token=%zz&to%6ben=+a"))
	q := must(NewQuery("token"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		got, err := q.Extract(&Request{RawQuery: raw})
		if !bytes.Equal(before, raw) {
			t.Fatal("Extract wrote to the request")
		}
		// The rule once more, with net/url's decoder.
		want, bad := "", false
		for pair := range strings.SplitSeq(string(raw), "&") {
			name, value, ok := strings.Cut(pair, "=")
			if n, nameErr := url.QueryUnescape(name); !ok || nameErr != nil || n != "token" {
				continue
			}
			var valueErr error
			want, valueErr = url.QueryUnescape(value)
			bad = valueErr != nil
		}
		switch {
		case bad || len(want) > MaxCredential:
			if !errors.Is(err, ErrRejected) {
				t.Fatalf("got %q, %v, want a refusal", got.Value, err)
			}
		case want == "":
			if !errors.Is(err, ErrAbsent) {
				t.Fatalf("got %q, %v, want none", got.Value, err)
			}
		case err != nil || string(got.Value) != want:
			t.Fatalf("got %q, %v, want %q", got.Value, err, want)
		}
		// Where net/url has no complaint, and no parameter goes without =, it sees the same.
		values, parseErr := url.ParseQuery(string(raw))
		if parseErr == nil && err == nil && !strings.Contains("&"+string(raw)+"&", "&token&") {
			if v := values["token"]; len(v) == 0 || v[len(v)-1] != string(got.Value) {
				t.Fatalf("got %q, net/url has %q", got.Value, v)
			}
		}
	})
}

func BenchmarkExtractQuery(b *testing.B) {
	r := query("v=1&token=" + aliceKey)
	benchmarkExtract(b, must(NewQuery("token")), &r)
}

func BenchmarkExtractQueryEncoded(b *testing.B) {
	r := query("v=1&token=%61" + aliceKey[1:])
	benchmarkExtract(b, must(NewQuery("token")), &r)
}
