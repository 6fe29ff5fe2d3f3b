package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxyHeader returns a header of that version for a client at from.
func proxyHeader(t testing.TB, version byte, from string, tlvs ...proxyproto.TLV) string {
	t.Helper()
	source := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))
	h := proxyproto.HeaderProxyFromAddrs(version, source, source)
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const sigV2 = "\r\n\r\n\x00\r\nQUIT\n"

func TestReadProxyHeader(t *testing.T) {
	const rest = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, c := range map[string]struct {
		sent string
		want string // "": none
		err  error
	}{
		"v1":              {sent: "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", want: "192.0.2.1:4711"},
		"v1, shortest":    {sent: "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", want: "1.1.1.1:1"},
		"v1, TCP6":        {sent: "PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", want: "[2001:db8::1]:4711"},
		"v1, longest":     {sent: "PROXY TCP6 " + strings.Repeat("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ", 2) + "65535 65535\r\n", want: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
		"v1, unknown":     {sent: "PROXY UNKNOWN\r\n"},
		"v1, unknown and": {sent: "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"},
		"v2":              {sent: proxyHeader(t, 2, "192.0.2.1:4711"), want: "192.0.2.1:4711"},
		"v2, TCP6":        {sent: proxyHeader(t, 2, "[2001:db8::1]:4711"), want: "[2001:db8::1]:4711"},
		"v2, mapped":      {sent: sigV2 + "\x21\x21\x00\x24" + strings.Repeat("\x00", 10) + "\xff\xff\xc0\x00\x02\x01" + strings.Repeat("\x00", 16) + "\x00\x01\x00\x02", want: "192.0.2.1:1"},
		"v2, more": {
			sent: proxyHeader(t, 2, "192.0.2.1:4711", proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: bytes.Repeat([]byte("a"), 600)}),
			want: "192.0.2.1:4711",
		},
		"v2, local": {sent: sigV2 + "\x20\x00\x00\x00"},
		"v2, local with addresses": {
			sent: sigV2 + "\x20\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02",
		},
		"v2, unix": {sent: sigV2 + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 216)},

		"none":                {sent: rest, err: errProxyHeader},
		"TLS":                 {sent: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh", err: errProxyHeader},
		"v1, lower case":      {sent: "proxy TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", err: errProxyHeader},
		"v1, no address":      {sent: "PROXY TCP4 nobody 10.0.0.1 4711 80\r\n", err: errProxyHeader},
		"v1, another family":  {sent: "PROXY TCP4 2001:db8::1 ::1 4711 80\r\n", err: errProxyHeader},
		"v1, bare LF":         {sent: "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n" + rest, err: errProxyHeader},
		"v1, too few fields":  {sent: "PROXY TCP4 192.0.2.1\r\n" + rest, err: errProxyHeader},
		"v1, too many fields": {sent: "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 x\r\n", err: errProxyHeader},
		"v1, too long":        {sent: "PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n", err: errProxyHeader},
		"v2, too long":        {sent: sigV2 + "\x21\x11\x04\x00" + strings.Repeat("\x00", 1024), err: errProxyHeader},
		"v2, too short":       {sent: sigV2 + "\x21\x11\x00\x04" + rest, err: errProxyHeader},
		"v2, version 3":       {sent: sigV2 + "\x31\x11\x00\x0c" + strings.Repeat("\x00", 12), err: errProxyHeader},
		"nothing":             {sent: "", err: errGone},
		"v1, half":            {sent: "PROXY TCP4 192.0.2.1 10.0", err: errGone},
		"v2, half":            {sent: sigV2 + "\x21\x11\x00\x0c\xc0", err: errGone},
	} {
		t.Run(name, func(t *testing.T) {
			sent := c.sent
			if c.err == nil {
				sent += rest
			}
			for _, piece := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader} {
				in := strings.NewReader(sent)
				got, err := readProxyHeader(piece(in))
				if !errors.Is(err, c.err) {
					t.Fatalf("error %v, want %v", err, c.err)
				}
				if err != nil {
					continue
				}
				var want netip.AddrPort
				if c.want != "" {
					want = netip.MustParseAddrPort(c.want)
				}
				if left, _ := io.ReadAll(in); got != want || string(left) != rest {
					t.Errorf("got %v and left %q, want %v and all of the request", got, left, want)
				}
			}
		})
	}
}

// What is read as a header is one for the library too, says the same, and ends at the same byte.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\nGET"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("PROXY UNKNOWN \r\r\r\n"))
	f.Add([]byte("PROXY TCP6 ::1 ::2 1 2\r\n\r\n"))
	f.Add([]byte(proxyHeader(f, 2, "192.0.2.1:4711") + "GET"))
	f.Add([]byte(proxyHeader(f, 2, "[2001:db8::1]:4711", proxyproto.TLV{Type: 1, Value: []byte("h2")})))
	f.Add([]byte(sigV2 + "\x20\x11\x00\x01x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		got, err := readProxyHeader(in)
		took := len(b) - in.Len()
		if took > maxProxyV2 {
			t.Errorf("%d bytes were read", took)
		}
		whole := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		header, lerr := proxyproto.Read(whole)
		if err != nil {
			if e, ok := errors.AsType[*reasonError](err); !ok || e != errGone && e != errProxyHeader {
				t.Errorf("error %v", err)
			}
			if lerr == nil && took <= maxProxyV2-headProxy2 && whole.Buffered() > 0 && len(b)-whole.Buffered() <= maxProxyV2 {
				t.Errorf("%v, but it is a header of %d bytes", err, len(b)-whole.Buffered())
			}
			return
		}
		if lerr != nil || len(b)-whole.Buffered() != took {
			t.Fatalf("%d bytes were read; the library says %v and %d", took, lerr, len(b)-whole.Buffered())
		}
		if source, _, ok := header.TCPAddrs(); ok && !header.Command.IsLocal() && got.Port() != source.AddrPort().Port() {
			t.Errorf("got %v, the library %v", got, source)
		}
	})
}

// The address that comes of the proxy's header and of what it forwards is the one of the actor, of the events and of the
// limits, and the connection below stays what it was.
func TestServeBehindProxies(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	for name, c := range map[string]struct {
		protocol bool
		sent     string
		want     string
	}{
		"direct":             {false, handshakeTo("/"), "127.0.0.1"},
		"forwarded":          {false, handshakeTo("/", "X-Forwarded-For: 203.0.113.9, 192.0.2.1"), "192.0.2.1"},
		"v1":                 {true, "PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n" + handshakeTo("/"), "192.0.2.1"},
		"v2":                 {true, proxyHeader(t, 2, "[2001:db8::1]:4711") + handshakeTo("/"), "2001:db8::1"},
		"of the proxy's own": {true, sigV2 + "\x20\x00\x00\x00" + handshakeTo("/"), "127.0.0.1"},
		"both, trusted":      {true, proxyHeader(t, 2, "10.1.1.1:80") + handshakeTo("/", "X-Forwarded-For: 192.0.2.1"), "192.0.2.1"},
		"both, not trusted":  {true, proxyHeader(t, 2, "192.0.2.1:80") + handshakeTo("/", "X-Forwarded-For: 203.0.113.9"), "192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, Config{Routes: []Route{open("/", "")}, TrustedProxies: loopback, ProxyProtocol: c.protocol}, nil)
			if resp, body := s.ask(t, c.sent+"frame"); resp.status != 101 {
				t.Fatalf("status %d: %s", resp.status, body)
			}
			b := s.actors.born()[0]
			if b.Remote != netip.MustParseAddr(c.want) || string(b.Pending) != "frame" {
				t.Errorf("the client is %v, and sent %q; want %s", b.Remote, b.Pending, c.want)
			}
			type fast interface {
				CloseWrite() error
				SetLinger(int) error
			}
			if _, ok := s.actors.conns[0].(fast); !ok {
				t.Errorf("the actor got a %T", s.actors.conns[0])
			}
		})
	}
}

func TestServeProxyProtocolRefuses(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	s := serve(t, Config{Routes: []Route{open("/", "")}, TrustedProxies: trusted, ProxyProtocol: true}, nil)
	if resp, body := s.ask(t, handshakeTo("/")); resp.status != 400 || !strings.Contains(body, "PROXY protocol") {
		t.Errorf("without a header: %d, %q", resp.status, body)
	}
	other := serve(t, Config{
		Routes: []Route{open("/", "")}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, ProxyProtocol: true,
	}, nil)
	if resp, _ := other.ask(t, handshakeTo("/", "X-Forwarded-For: 203.0.113.9")); resp.status != 101 {
		t.Errorf("from elsewhere without a header: %d", resp.status)
	}
	if got := other.actors.born()[0].Remote.String(); got != "127.0.0.1" {
		t.Errorf("from elsewhere the client is %s", got)
	}
	if resp, _ := other.ask(t, proxyHeader(t, 1, "203.0.113.9:1")+handshakeTo("/")); resp.status != 400 {
		t.Errorf("from elsewhere with a header: %d", resp.status)
	}
	if _, err := New(Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{}, ProxyProtocol: true}); err == nil {
		t.Error("New without proxies that are trusted gives no error")
	}
}

// remoteListener gives a listener's connections an address.
type remoteListener struct {
	*pipeListener
	remote net.Addr
}

type remoteConn struct {
	net.Conn
	remote net.Addr
}

func (c remoteConn) RemoteAddr() net.Addr { return c.remote }

func (l remoteListener) Accept() (net.Conn, error) {
	conn, err := l.pipeListener.Accept()
	if err != nil {
		return nil, err
	}
	return remoteConn{conn, l.remote}, nil
}

// The header of a proxy has the handshake's time, no more.
func TestServeProxyHeaderIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := remoteListener{newPipeListener(), &net.TCPAddr{IP: net.IPv4(10, 1, 1, 1), Port: 80}}
		s := serve(t, Config{
			Routes: []Route{open("/", "")}, HandshakeTimeout: 3 * time.Second, TrustedProxies: testProxies, ProxyProtocol: true,
		}, l)
		client := l.dial(t)
		start := time.Now()
		send(t, client, "PROXY TCP4 192.0.2.1")
		resp, _ := readAnswer(t, client)
		if took := time.Since(start); resp.status != 408 || took < 3*time.Second || took > 3*time.Second+lingerTime {
			t.Errorf("status %d after %v, want 408 after 3 s", resp.status, time.Since(start))
		}
		if s.count(reasonTimeout) != 1 {
			t.Error("it is not counted")
		}
	})
}

// Behind a proxy each client has attempts of its own, and a request that is none is counted against nobody.
func TestServeAttemptsBehindProxies(t *testing.T) {
	s := serve(t, Config{
		Routes: []Route{open("/", "")}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Limits: Limits{HandshakesPerAddress: 1},
	}, nil)
	var got []int
	for _, head := range []string{
		handshakeTo("/", "X-Forwarded-For: 192.0.2.1"), handshakeTo("/", "X-Forwarded-For: 192.0.2.1"),
		handshakeTo("/", "X-Forwarded-For: 192.0.2.2"), withLines("Bad : header"), withLines("Bad : header"), handshakeTo("/"),
	} {
		resp, _ := s.ask(t, head)
		got = append(got, resp.status)
	}
	if want := []int{101, 429, 101, 400, 400, 101}; !slices.Equal(got, want) {
		t.Errorf("status %v, want %v", got, want)
	}
}
