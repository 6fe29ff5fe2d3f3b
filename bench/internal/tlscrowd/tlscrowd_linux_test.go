package tlscrowd

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/certificate"
	"github.com/fairlead-ws/fairlead/bench/internal/peer"
)

func start(t *testing.T, c Clients) *Crowd {
	t.Helper()
	crowd, err := Start(t.Context(), c, os.Args[0], childWord)
	if err != nil {
		t.Fatal(err)
	}
	return crowd
}

// Clients open, answer pings, see the end of the server, and end themselves when they are told to.
func TestClients(t *testing.T) {
	pair, err := certificate.New()
	if err != nil {
		t.Fatal(err)
	}
	s := peer.Start(t, peer.Config{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, Ping: true})
	c := start(t, Clients{Address: s.Address, Path: "/ws/g", Secret: peer.Secret, Number: 20, Window: 4})
	got, err := c.Open()
	if err != nil || got.Open != 20 || got.Error != "" {
		t.Fatalf("Open = %+v, %v; want 20", got, err)
	}
	if n := s.Members("g"); n != 20 {
		t.Errorf("the server has %d members", n)
	}
	s.Say("g", "hello") // and a ping with it
	deadline := time.Now().Add(10 * time.Second)
	for got.Pings < 20 && time.Now().Before(deadline) {
		if got, err = c.Look(); err != nil {
			t.Fatal(err)
		}
	}
	if got.Pings != 20 || got.Open != 20 {
		t.Errorf("the clients have seen %+v, want 20 pings", got)
	}
	s.Close()
	for got.Open > 0 && time.Now().Before(deadline) {
		if got, err = c.Look(); err != nil {
			t.Fatal(err)
		}
	}
	if got.Open != 0 {
		t.Errorf("%d are open after the end of the server", got.Open)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
}

// What keeps clients out is told.
func TestClientsFail(t *testing.T) {
	s := peer.Start(t, peer.Config{}) // without TLS
	c := start(t, Clients{Address: s.Address, Path: "/ws/g", Secret: peer.Secret, Number: 2, Window: 1})
	if got, err := c.Open(); err != nil || got.Open != 0 || !strings.Contains(got.Error, "connection 0: ") {
		t.Errorf("a server without TLS: %+v, %v", got, err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	pair, err := certificate.New()
	if err != nil {
		t.Fatal(err)
	}
	s = peer.Start(t, peer.Config{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}})
	c = start(t, Clients{Address: s.Address, Path: "/ws/g", Secret: "another key, and long enough for HS256", Number: 2, Window: 1})
	if got, err := c.Open(); err != nil || got.Open != 0 || !strings.Contains(got.Error, "status 401") {
		t.Errorf("a wrong key: %+v, %v", got, err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
}
