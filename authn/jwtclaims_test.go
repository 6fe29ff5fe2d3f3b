package authn

import (
	"encoding/json"
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
		if !utf8.Valid(payload) { // encoding/json repairs names, which makes them other names
			return
		}
		var got claims
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
