package proc

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestReadSockets follows a connection through its life: open, with bytes that nobody reads, closed.
func TestReadSockets(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	poll(t, "5 bytes wait in an open socket", func() bool {
		s := only(t, port)
		return s != nil && s.Established && s.Open() && s.Receive == 5 && s.Remote == netip.MustParseAddrPort(client.LocalAddr().String())
	})
	server.Close()
	poll(t, "the socket is closed", func() bool { s := only(t, port); return s == nil || !s.Open() })
}

func only(t *testing.T, port uint16) *Socket {
	t.Helper()
	all, err := ReadSockets(port)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) > 1 {
		t.Fatalf("%d sockets with local port %d: %+v", len(all), port, all)
	}
	for i := range all {
		return &all[i]
	}
	return nil
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0200007F:C350 01 00000010:00000005 01:00000014 00000000     0        0 4711 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:1F90 0300007F:C351 04 00000001:00000000 01:00000014 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1
   3: 0200007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
`

func TestParseSockets(t *testing.T) {
	got, err := parseSockets([]byte(table), 8080)
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v; want two sockets", got, err)
	}
	if s := got[1]; s.Established || s.Open() || s.Remote.String() != "127.0.0.3:50001" {
		t.Errorf("a closed one is %+v", s)
	}
	want := Socket{
		Local: netip.MustParseAddrPort("127.0.0.1:8080"), Remote: netip.MustParseAddrPort("127.0.0.2:50000"),
		Established: true, Send: 16, Receive: 5, Inode: 4711,
	}
	if got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	bad := []string{
		"   1: 0100007F:1F90 0200007F 01 0:0 00:0 0 0 0 1\n",
		"   1: 0100007F:1F90 0200007F:C350\n",
		"   1: 0100007F:1F90 0200007F:C350 01 00 01:00 0 0 0 4711\n",
		"   1: 0100007F:1F90 0200007F:C350 01 0:0 01:00 0 0 0 x\n",
		"   1: 0100007G:1F90 0200007F:C350 01 0:0 01:00 0 0 0 1\n",
	}
	for _, row := range bad {
		if got, err := parseSockets([]byte("heading\n"+row), 8080); !errors.Is(err, ErrFormat) {
			t.Errorf("parseSockets(%q) = %+v, %v; want ErrFormat", row, got, err)
		}
	}
	if got, err := parseSockets(nil, 8080); len(got) != 0 || err != nil {
		t.Errorf("an empty table: %+v, %v", got, err)
	}
}
