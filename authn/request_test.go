package authn

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestRequestGet(t *testing.T) {
	r := &Request{Header: []HeaderField{
		{[]byte("X-Token"), []byte("one")},
		{[]byte("x-token"), []byte("two")},
		{[]byte("Empty"), nil},
		{[]byte("K"), []byte("ASCII")},
	}}
	for _, c := range []struct {
		name, value string
		ok          bool
	}{
		{"X-Token", "one", true},
		{"x-tOKEN", "one", true},
		{"empty", "", true},
		{"X-Tokens", "", false},
		{"", "", false},
		{"\u212a", "", false}, // the Kelvin sign folds to k in Unicode, and not here
	} {
		if got, ok := r.Get(c.name); string(got) != c.value || ok != c.ok {
			t.Errorf("Get(%q) = %q, %v, want %q, %v", c.name, got, ok, c.value, c.ok)
		}
	}
}

func TestRequestReset(t *testing.T) {
	r := &Request{
		Path: []byte("/p"), RawQuery: []byte("q"), Host: []byte("h"), Origin: []byte("o"), HasOrigin: true,
		Authorization: []byte("a"), HasAuthorization: true, Cookie: []byte("c"),
		Protocols: [][]byte{[]byte("p")}, Header: []HeaderField{{[]byte("n"), []byte("v")}},
		Remote: netip.MustParseAddrPort("192.0.2.1:5"), TLS: true, Route: "/r",
	}
	for i, v := 0, reflect.ValueOf(*r); i < v.NumField(); i++ { // so that a new field cannot be forgotten here
		if v.Field(i).IsZero() {
			t.Fatalf("the test does not set %s", v.Type().Field(i).Name)
		}
	}
	protocols, header := r.Protocols, r.Header
	r.Reset()
	if cap(r.Protocols) != 1 || cap(r.Header) != 1 {
		t.Error("Reset lost the capacity")
	}
	if protocols[0] != nil || header[0].Name != nil {
		t.Error("Reset keeps the last handshake's bytes alive")
	}
	r.Protocols, r.Header = nil, nil
	if !reflect.DeepEqual(*r, Request{}) {
		t.Errorf("after Reset: %+v", r)
	}
}
