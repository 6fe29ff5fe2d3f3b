package gateway

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/authn"
)

// testProxies are the networks that the tests trust.
var testProxies = proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}

// fields makes header fields of lines.
func fields(lines ...string) (f []authn.HeaderField) {
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		f = append(f, authn.HeaderField{Name: []byte(name), Value: []byte(value)})
	}
	return f
}

func TestProxiesClient(t *testing.T) {
	const peer, six, outside = "10.1.1.1:80", "[2001:db8:ffff::1]:80", "198.51.100.1:80"
	for name, c := range map[string]struct {
		peer  string
		lines []string
		want  string // "": peer
	}{
		"no field":            {peer, nil, ""},
		"another field":       {peer, []string{"X-Real-IP: 192.0.2.1", "X-Forwarded-Foo: 192.0.2.1", "Forwardes: for=192.0.2.1"}, ""},
		"not trusted":         {outside, []string{"X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1"}, ""},
		"one":                 {peer, []string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1:0"},
		"any case":            {peer, []string{"x-FORWARDED-for: 192.0.2.1"}, "192.0.2.1:0"},
		"IPv6 peer":           {six, []string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1:0"},
		"the rightmost":       {peer, []string{"X-Forwarded-For: 203.0.113.9, 192.0.2.1"}, "192.0.2.1:0"},
		"through two proxies": {peer, []string{"X-Forwarded-For: 203.0.113.9, 192.0.2.1, 10.2.2.2"}, "192.0.2.1:0"},
		"several lines":       {peer, []string{"X-Forwarded-For: 203.0.113.9", "A: b", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.2.2.2"}, "192.0.2.1:0"},
		"only proxies":        {peer, []string{"X-Forwarded-For: 10.3.3.3, 10.2.2.2"}, "10.3.3.3:0"},
		"empty elements":      {peer, []string{"X-Forwarded-For: ,192.0.2.1 ,\t, "}, "192.0.2.1:0"},
		"empty":               {peer, []string{"X-Forwarded-For: "}, ""},
		"IPv6":                {peer, []string{"X-Forwarded-For: 2001:db8::1"}, "[2001:db8::1]:0"},
		"IPv6 in brackets":    {peer, []string{"X-Forwarded-For: [2001:db8::1]"}, "[2001:db8::1]:0"},
		"with ports":          {peer, []string{"X-Forwarded-For: 192.0.2.1:4711, [2001:db8:ffff::2]:1"}, "192.0.2.1:4711"},
		"mapped":              {peer, []string{"X-Forwarded-For: ::ffff:192.0.2.1, ::ffff:10.2.2.2"}, "192.0.2.1:0"},
		"unknown":             {peer, []string{"X-Forwarded-For: 192.0.2.1, unknown"}, ""},
		"unknown behind one":  {peer, []string{"X-Forwarded-For: 192.0.2.1, unknown, 10.2.2.2"}, "10.2.2.2:0"},
		"a name":              {peer, []string{"X-Forwarded-For: client.example.com"}, ""},
		"a zone":              {peer, []string{"X-Forwarded-For: fe80::1%eth0"}, ""},
		"IPv4 in brackets":    {peer, []string{"X-Forwarded-For: [192.0.2.1]"}, ""},
		"half a bracket":      {peer, []string{"X-Forwarded-For: [2001:db8::1"}, ""},
		"a bad port":          {peer, []string{"X-Forwarded-For: 192.0.2.1:99999"}, ""},
		"very long":           {peer, []string{"X-Forwarded-For: " + strings.Repeat("1", 10_000)}, ""},

		"Forwarded":              {peer, []string{"Forwarded: for=192.0.2.1"}, "192.0.2.1:0"},
		"Forwarded, parameters":  {peer, []string{`Forwarded: proto=https ; For="192.0.2.1:4711";by=10.1.1.1;host="a, b"`}, "192.0.2.1:4711"},
		"Forwarded, IPv6":        {peer, []string{`Forwarded: for="[2001:db8::1]:4711"`}, "[2001:db8::1]:4711"},
		"Forwarded, no quotes":   {peer, []string{"Forwarded: for=[2001:db8::1]:4711"}, "[2001:db8::1]:4711"},
		"Forwarded, two proxies": {peer, []string{`Forwarded: for=203.0.113.9, for=192.0.2.1;proto=http,for="[2001:db8:ffff::2]"`}, "192.0.2.1:0"},
		"Forwarded, lines":       {peer, []string{"Forwarded: for=192.0.2.1", "Forwarded: for=10.2.2.2"}, "192.0.2.1:0"},
		"Forwarded, many":        {peer, []string{"Forwarded: " + strings.Repeat("for=203.0.113.9, ", 20) + "for=192.0.2.1"}, "192.0.2.1:0"},
		"Forwarded, hidden":      {peer, []string{"Forwarded: for=192.0.2.1, for=_hidden"}, ""},
		"Forwarded, unknown":     {peer, []string{"Forwarded: for=192.0.2.1, for=unknown, for=10.2.2.2"}, "10.2.2.2:0"},
		"Forwarded, no for":      {peer, []string{"Forwarded: for=192.0.2.1, proto=https"}, ""},
		"Forwarded, empty last":  {peer, []string{"Forwarded: for=192.0.2.1, ;,"}, "192.0.2.1:0"},
		"Forwarded, for twice":   {peer, []string{"Forwarded: for=192.0.2.1;for=192.0.2.2"}, ""},
		"Forwarded, escaped":     {peer, []string{`Forwarded: for="192.0.2.\1"`}, ""},
		"Forwarded, open quote":  {peer, []string{`Forwarded: for="203.0.113.9, for=192.0.2.1`}, ""},
		"Forwarded, bad rest":    {peer, []string{`Forwarded: for="203.0.113.9"x, for=192.0.2.1`}, ""},
		"Forwarded, no value":    {peer, []string{"Forwarded: for=, for=192.0.2.1"}, ""},
		"Forwarded, no pair":     {peer, []string{"Forwarded: 192.0.2.1"}, ""},

		"both, the same":       {peer, []string{"X-Forwarded-For: 192.0.2.1", `Forwarded: for="192.0.2.1:4711"`}, "192.0.2.1:4711"},
		"both, not the same":   {peer, []string{"X-Forwarded-For: 192.0.2.1", "Forwarded: for=203.0.113.9"}, ""},
		"both, one is no help": {peer, []string{"X-Forwarded-For: 192.0.2.1", "Forwarded: for=_x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			from := netip.MustParseAddrPort(c.peer)
			want := from
			if c.want != "" {
				want = netip.MustParseAddrPort(c.want)
			}
			if got := testProxies.client(from, fields(c.lines...)); got != want {
				t.Errorf("client = %v, want %v", got, want)
			}
		})
	}
}

// Whatever a client writes, what its proxy appends decides: nobody speaks for another address.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{
		"", "192.0.2.1", "for=192.0.2.1", `for="192.0.2.1`, `for="a\`, "10.0.0.1, 10.0.0.2", `for=10.0.0.1;by=x, for="[2001:db8:ffff::1]:1"`, ",,;=\"", "for=x;",
	} {
		f.Add(s)
	}
	peer, client := netip.MustParseAddrPort("10.1.1.1:80"), netip.MustParseAddrPort("192.0.2.99:0")
	f.Fuzz(func(t *testing.T, s string) {
		testProxies.client(peer, fields("Forwarded: "+s, "X-Forwarded-For: "+s))
		if got := testProxies.client(peer, fields("X-Forwarded-For: "+s+", 192.0.2.99")); got != client {
			t.Errorf("X-Forwarded-For: %q makes the client %v", s, got)
		}
		if got := testProxies.client(peer, fields("X-Forwarded-For: "+s, "X-Forwarded-For: 192.0.2.99")); got != client {
			t.Errorf("X-Forwarded-For: %q before another makes the client %v", s, got)
		}
		if got := testProxies.client(peer, fields("Forwarded: "+s+", for=192.0.2.99")); got != client && got != peer {
			t.Errorf("Forwarded: %q makes the client %v", s, got)
		}
		if got := testProxies.client(peer, fields("Forwarded: "+s, "Forwarded: for=192.0.2.99")); got != client {
			t.Errorf("Forwarded: %q before another makes the client %v", s, got)
		}
		if got := testProxies.client(peer, fields("Forwarded: "+s, "X-Forwarded-For: 192.0.2.99")); got != client && got != peer {
			t.Errorf("Forwarded: %q beside X-Forwarded-For makes the client %v", s, got)
		}
	})
}
