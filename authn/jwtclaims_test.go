package authn

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzClaims compares the walk over an object with encoding/json.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[{"c":"]}\""},"\\"],"a":null , "\u0064" : -1.5e3,"e":{}, "f":true}`))
	f.Add([]byte("\t{ }\n"))
	f.Add([]byte(`{"":"","a\"b":[[],{}],"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9,"10":10,"11":11}`))
	f.Add([]byte(`{"a" : {"b" : "}" } }`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var got claims
		if !utf8.Valid(payload) { // encoding/json repairs it
			if got.parse(payload) {
				t.Fatal("it is no UTF-8")
			}
			return
		}
		if bytes.Count(payload, []byte("["))+bytes.Count(payload, []byte("{")) > maxClaimDepth { // it may be too deep
			return
		}
		var want map[string]json.RawMessage
		ok := got.parse(payload)
		if wantOK := json.Unmarshal(payload, &want) == nil && want != nil; ok != wantOK {
			t.Fatalf("got %v, encoding/json %v", ok, wantOK)
		}
		if !ok {
			return
		}
		for name, raw := range want {
			if g, ok := got.get(name); !ok || string(g) != string(raw) {
				t.Fatalf("%q is %q, want %q", name, g, raw)
			}
		}
		for _, m := range got.members {
			if _, ok := want[string(m.name)]; !ok {
				t.Fatalf("there is no %q", m.name)
			}
		}
	})
}

// The short way to read a date says what the long one says, or leaves it to that.
func TestWholeSeconds(t *testing.T) {
	for raw, want := range map[string]int64{"0": 0, "7": 7, "1764030000": 1764030000, "99999999999": 99999999999} {
		got, ok := wholeSeconds([]byte(raw))
		long, err := strconv.ParseFloat(raw, 64)
		if !ok || got != want || err != nil || float64(got) != long || long > maxYear9999 {
			t.Errorf("%s is %d, %v; in the long way %v, %v", raw, got, ok, long, err)
		}
	}
	for _, raw := range []string{"", "-1", "1.5", "1e3", `"1"`, "null", "100000000000", "12345678901234567890"} {
		if got, ok := wholeSeconds([]byte(raw)); ok {
			t.Errorf("%s is %d", raw, got)
		}
	}
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// TestJWTLetsPass: what a header may also have, and a claim that is as deep as one may be.
func TestJWTLetsPass(t *testing.T) {
	v := newTestJWT(t, nil)
	for _, token := range []string{
		sign(`{"alg":"HS256","b64":true,"kid":"","x":false}`, `{"exp":3976214400,"user_id":1}`, []byte(fixtureSecret)),
		signed(`{"exp":3976214400,"x":` + nested(maxClaimDepth-1) + `,"user_id":1,"y":[{"a":"]"}]}`),
	} {
		if id, err := verify(t, v, token); err != nil || id.Subject != "1" {
			t.Errorf("got %+v, %v", id, err)
		}
	}
}
