package session

import (
	"net/netip"
	"testing"
)

func TestTruncateAddr(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.77":                "192.0.2.0/24",
		"255.255.255.255":           "255.255.255.0/24",
		"127.0.0.1":                 "127.0.0.0/24",
		"::ffff:192.0.2.77":         "192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6":      "2001:db8:1::/48",
		"::1":                       "::/48",
		"fe80::1%eth0":              "fe80::/48",
		"::ffff:192.0.2.77%eth0":    "192.0.2.0/24",
		"2001:db8:ffff:ffff::1%lo0": "2001:db8:ffff::/48",
	} {
		if got := TruncateAddr(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("TruncateAddr(%s) = %v, want %s", addr, got, want)
		}
	}
	if got := TruncateAddr(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("TruncateAddr of the zero Addr = %v, want the zero Prefix", got)
	}
}

func TestAnonymous(t *testing.T) {
	a := Anonymous()
	if a != Anonymous() {
		t.Error("Anonymous() is not shared")
	}
	if !a.Anonymous || a.Subject != "" || a.Source != AnonymousSource {
		t.Errorf("Anonymous() = %+v", *a)
	}
}
