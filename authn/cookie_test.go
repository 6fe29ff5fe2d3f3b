package authn

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func cookies(v string) Request { return Request{Cookie: []byte(v)} }

func TestCookie(t *testing.T) {
	runExtract(t, must(NewCookie("JWT")), "cookie", []extractCase{
		{name: "alone", req: cookies("JWT=KEY"), value: "KEY"},
		{name: "among others", req: cookies("a=1; JWT=KEY; b=2"), value: "KEY"},
		{name: "no space behind the semicolon", req: cookies("a=1;JWT=KEY;b=2"), value: "KEY"},
		{name: "spaces around", req: cookies(" JWT = KEY\t; a=1"), value: "KEY"},
		{name: "an equals sign in it", req: cookies("JWT=KEY=="), value: "KEY=="},
		{name: "the last wins", req: cookies("JWT=one; JWT=KEY"), value: "KEY"},
		{name: "the last wins, whatever came before", req: cookies("JWT=a b; JWT=KEY"), value: "KEY"},
		{name: "the last wins, and cannot be read", req: cookies("JWT=KEY; JWT=a b"), reason: ReasonMalformed},
		{name: "the last wins, and has half its quotes", req: cookies(`JWT=KEY; JWT="a;b"`), reason: ReasonMalformed},
		{name: "the last wins, and is beyond ASCII", req: cookies("JWT=KEY; JWT=é"), reason: ReasonMalformed},
		{name: "quoted", req: cookies(`JWT="KEY"`), value: "KEY"},
		{name: "quoted with octal", req: cookies(`JWT="\113EY"`), value: "KEY"},
		{name: "quoted with quote", req: cookies(`JWT="K\"E\\Y"`), value: `K"E\Y`},
		{name: "quoted with what Python quotes for", req: cookies(`JWT="K E,Y\073"`), value: "K E,Y;"},
		{name: "quoted with half an escape", req: cookies(`JWT="KEY\"`), value: `KEY\`},
		{name: "behind a word", req: cookies("foo; JWT=KEY"), value: "KEY"},
		{name: "behind a space", req: cookies("foo=a b; JWT=KEY"), value: "KEY"},
		{name: "behind an illegal name", req: cookies("f(o)=1; JWT=KEY"), value: "KEY"},
		{name: "behind JSON", req: cookies(`p={"a":1}; JWT=KEY`), value: "KEY"},
		{name: "behind UTF-8", req: cookies("x=é; JWT=KEY"), value: "KEY"},
		{name: "before a word", req: cookies("JWT=KEY; foo bar"), value: "KEY"},
		{name: "attributes are cookies", req: cookies("$Version=1; JWT=KEY; Path=/"), value: "KEY"},
		{name: "semicolons around", req: cookies(";;JWT=KEY;"), value: "KEY"},
		{name: "percent stays", req: cookies("JWT=K%45Y"), value: "K%45Y"},
		{name: "no cookies", absent: true},
		{name: "others", req: cookies("a=1; JWTX=KEY; XJWT=KEY"), absent: true},
		{name: "another case", req: cookies("jwt=KEY"), absent: true},
		{name: "empty value", req: cookies("JWT="), absent: true},
		{name: "empty quotes", req: cookies(`JWT=""`), absent: true},
		{name: "emptied later", req: cookies("JWT=KEY; JWT="), absent: true},
		{name: "no equals sign", req: cookies("JWT"), absent: true},
		{name: "a comma ends no cookie", req: cookies("a=1, JWT=KEY"), absent: true},
		{name: "a space ends no cookie", req: cookies("a=1 JWT=KEY"), absent: true},
		{name: "a comma in it", req: cookies("JWT=KEY,"), reason: ReasonMalformed},
		{name: "a backslash in it", req: cookies(`JWT=KEY\`), reason: ReasonMalformed},
		{name: "a control character in quotes", req: cookies("JWT=\"K\\\x01EY\""), reason: ReasonMalformed},
		{name: "a quote in quotes", req: cookies(`JWT="K"EY"`), reason: ReasonMalformed},
		{name: "one quote", req: cookies(`JWT="`), reason: ReasonMalformed},
		{name: "a byte beyond ASCII", req: cookies("JWT=K\xffY"), reason: ReasonMalformed},
		{name: "too long", req: cookies("JWT=KEY" + strings.Repeat("a", MaxCredential)), reason: ReasonMalformed},
	})
}

func TestNewCookieRefuses(t *testing.T) {
	for _, name := range []string{"", "a b", "a=", "a;", "é"} {
		if c, err := NewCookie(name); err == nil {
			t.Errorf("NewCookie(%q) = %v, want an error", name, c)
		}
	}
}

func TestCookieDoesNotAllocate(t *testing.T) {
	r := cookies(`a=1; b="2"; JWT="` + aliceKey + `"; c=3`)
	noAllocs(t, must(NewCookie("JWT")), &r)
}

func FuzzCookie(f *testing.F) {
	for _, c := range loadConformance(f) {
		if len(c.Request) > 0 {
			if r := parseHead(f, c.Request); len(r.Cookie) > 0 {
				f.Add(r.Cookie)
			}
		}
	}
	f.Add([]byte(`JWT="\145\"y"; a=b`))
	f.Add([]byte("JWT=00;JWT"))
	f.Add([]byte("JWT=0;JWT=\x00"))
	c := must(NewCookie("JWT"))
	f.Fuzz(func(t *testing.T, header []byte) {
		before := bytes.Clone(header)
		got, err := c.Extract(&Request{Cookie: header})
		if !bytes.Equal(before, header) {
			t.Fatal("Extract wrote to the request")
		}
		if err != nil && !errors.Is(err, ErrAbsent) && !errors.Is(err, ErrRejected) {
			t.Fatalf("a header gave %v", err)
		}
		if err == nil && !bytes.Contains(header, []byte("JWT")) {
			t.Fatalf("%q came out of a header without the name", got.Value)
		}
		// A credential survives being written as a cookie and read again.
		if err == nil && isCookieValue(got.Value) && !isQuoted(got.Value) {
			again, err := c.Extract(&Request{Cookie: append([]byte("JWT=x; JWT="), got.Value...)})
			if err != nil || !bytes.Equal(again.Value, got.Value) {
				t.Fatalf("%q became %q, %v", got.Value, again.Value, err)
			}
		}
		// net/http takes more bytes in a value, and fewer spaces around a name; elsewhere the rules agree.
		if len(header) > MaxCredential || bytes.ContainsAny(header, " \t\r\n\\,\"") {
			return
		}
		if bytes.Contains(slices.Concat([]byte(";"), header, []byte(";")), []byte(";JWT;")) {
			return // for net/http that is an empty cookie, for RFC 6265 none
		}
		if errors.Is(err, ErrRejected) { // the last one cannot be read; net/http takes the one before it
			for pair := range bytes.SplitSeq(before, []byte(";")) {
				if bytes.HasPrefix(pair, []byte("JWT=")) {
					header = pair
				}
			}
			if found := httpRequest("Cookie", string(header)).CookiesNamed("JWT"); len(found) > 0 {
				t.Fatalf("%v; net/http has %q", err, found[0].Value)
			}
			return
		}
		want := ""
		for _, hc := range httpRequest("Cookie", string(header)).CookiesNamed("JWT") {
			want = hc.Value
		}
		if string(got.Value) != want {
			t.Fatalf("got %q, %v; net/http has %q", got.Value, err, want)
		}
	})
}

func BenchmarkExtractCookie(b *testing.B) {
	r := cookies("csrftoken=abcdefghijklmnopqrstuvwxyz; sessionid=m30xq3ttktxoru159zz14zzoda37yhl0; JWT=" + aliceKey)
	benchmarkExtract(b, must(NewCookie("JWT")), &r)
}
