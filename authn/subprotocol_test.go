package authn

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func offers(list ...string) Request {
	var r Request
	for _, p := range list {
		r.Protocols = append(r.Protocols, []byte(p))
	}
	return r
}

func TestSubprotocol(t *testing.T) {
	runExtract(t, must(NewSubprotocol("bearer.")), "subprotocol", []extractCase{
		{name: "alone", req: offers("bearer.KEY"), value: "KEY"},
		{name: "among others", req: offers("chat.v1", "bearer.KEY", "chat.v2"), value: "KEY"},
		{name: "the prefix in it", req: offers("bearer.bearer.KEY"), value: "bearer.KEY"},
		{name: "none", absent: true},
		{name: "others", req: offers("chat.v1", "bearer", "xbearer.KEY"), absent: true},
		{name: "another case", req: offers("Bearer.KEY"), absent: true},
		{name: "prefix alone", req: offers("bearer."), reason: ReasonMalformed},
		{name: "two", req: offers("bearer.KEY", "bearer.KEY2"), reason: ReasonMalformed},
		{name: "too long", req: offers("bearer.KEY" + strings.Repeat("a", MaxCredential)), reason: ReasonMalformed},
	})
	for _, prefix := range []string{"", "bearer ", "a,b"} {
		if s, err := NewSubprotocol(prefix); err == nil {
			t.Errorf("NewSubprotocol(%q) = %v, want an error", prefix, s)
		}
	}
}

func FuzzSubprotocol(f *testing.F) {
	for _, c := range loadConformance(f) {
		if len(c.Request) > 0 {
			if r := parseHead(f, c.Request); len(r.Protocols) > 0 {
				f.Add(bytes.Join(r.Protocols, []byte(",")))
			}
		}
	}
	f.Add([]byte("bearer.KEY,v1.chat"))
	f.Add([]byte("bearer.,bearer.x"))
	s := must(NewSubprotocol("bearer."))
	f.Fuzz(func(t *testing.T, header []byte) {
		var r Request
		for p := range bytes.SplitSeq(header, []byte(",")) {
			r.Protocols = append(r.Protocols, trim(p))
		}
		got, err := s.Extract(&r)
		var with []string
		for _, p := range r.Protocols {
			if rest, ok := strings.CutPrefix(string(p), "bearer."); ok {
				with = append(with, rest)
			}
		}
		switch {
		case len(with) == 0:
			if !errors.Is(err, ErrAbsent) {
				t.Fatalf("got %q, %v, want none", got.Value, err)
			}
		case len(with) > 1 || with[0] == "" || len(with[0]) > MaxCredential:
			if !errors.Is(err, ErrRejected) {
				t.Fatalf("got %q, %v, want a refusal", got.Value, err)
			}
		case err != nil || string(got.Value) != with[0]:
			t.Fatalf("got %q, %v, want %q", got.Value, err, with[0])
		}
	})
}

func BenchmarkExtractSubprotocol(b *testing.B) {
	r := offers("chat.v1", "bearer."+aliceKey)
	benchmarkExtract(b, must(NewSubprotocol("bearer.")), &r)
}
