package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/golang-jwt/jwt/v5"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// limited is a configuration with a route /echo for anybody and a route /user for who has a token.
func limited(keys string) string {
	return keys + `
[drain]
window = "10ms"
[[verifier]]
name = "jwt"
kind = "jwt"
algorithms = ["HS256"]
secret = "` + keysSecret + `"
[[route]]
path = "/echo"
anonymous = "allow"
on_message = "echo"
[[route]]
path = "/user"
on_message = "echo"
credential = [{ from = "query", name = "token", verifier = "jwt" }]
`
}

// A user's third connection is refused; another user's is not; and the place of one that ends is free again.
func TestConnectionsPerUser(t *testing.T) {
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", limited("[limits]\nconnections_per_user = 2")))
	as := func(user int) string {
		return "ws://" + s.public + "/user?token=" + claims(t, jwt.MapClaims{"user_id": user})
	}
	first := dial(t, as(7))
	second := dial(t, as(7))
	if _, err := tryDial(t, as(7), nil); status(err) != 429 {
		t.Fatalf("a third connection: %v, want 429", err)
	}
	dial(t, as(8))
	for range 3 {
		dial(t, "ws://"+s.public+"/echo") // nobody's
	}
	first.conn.Close()
	eventually(t, func() error {
		_, err := tryDial(t, as(7), nil)
		return err
	})
	second.send("still here")
	second.want("still here")
	if _, err := tryDial(t, as(7), nil); status(err) != 429 {
		t.Errorf("one more: %v, want 429", err)
	}
}

// A client over a rate is closed with 4429; one that keeps to it is not.
func TestMessageRates(t *testing.T) {
	for keys, payload := range map[string]string{
		"messages_per_second = 20\nmessage_burst = 10":                     "x",
		"message_bytes = 1000\nbytes_per_second = 6000\nbyte_burst = 6000": strings.Repeat("x", 500),
	} {
		t.Run(keys, func(t *testing.T) {
			s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", limited("[limits]\n"+keys)))
			polite := dial(t, "ws://"+s.public+"/echo")
			for range 4 {
				polite.send(payload)
				polite.want(payload)
			}
			rude := dial(t, "ws://"+s.public+"/echo")
			go func() { // until it is closed
				for ws.WriteFrame(rude.conn, ws.MaskFrame(ws.NewTextFrame([]byte(payload)))) == nil {
				}
			}()
			for {
				f, err := rude.read()
				if err != nil {
					t.Fatalf("no close frame came: %v", err)
				}
				if f.Header.OpCode == ws.OpClose {
					if code, reason := ws.ParseCloseFrameData(f.Payload); code != 4429 || reason == "" {
						t.Errorf("closed with %d %q, want 4429", code, reason)
					}
					break
				}
			}
			polite.send(payload)
			polite.want(payload)
		})
	}
}

// Behind a proxy that is trusted, an address is the client's.
func TestAddressLimits(t *testing.T) {
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml",
		limited("[listen]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[limits]\nconnections_per_address = 1\nhandshakes_per_address = 3")))
	from := func(address string) error {
		_, err := tryDial(t, "ws://"+s.public+"/echo", http.Header{"X-Forwarded-For": {address}})
		return err
	}
	if err := errors.Join(from("192.0.2.1"), from("192.0.2.2"), from("2001:db8::1")); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"203.0.113.9, 192.0.2.1", "2001:db8::2"} {
		if err := from(address); status(err) != 429 {
			t.Errorf("another from %s: %v, want 429", address, err)
		}
	}
	status, header := rawRequest(t, s.public, "GET /echo HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.2\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", status, header.Get("Retry-After"))
	}
}

// rawRequest sends a request as it is, and returns what the answer says. The connection stays open until the test ends.
func rawRequest(t *testing.T, addr, raw string) (status int, header http.Header) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp.StatusCode, resp.Header
}

// With proxy_protocol, what a trusted proxy's header says is the address, and a connection without one is refused.
func TestProxyProtocolKey(t *testing.T) {
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml",
		limited("[listen]\ntrusted_proxies = [\"127.0.0.0/8\"]\nproxy_protocol = true\n[limits]\nconnections_per_address = 1")))
	const request = "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for i, c := range []struct {
		header string
		want   int
	}{
		{"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n", 101},
		{"PROXY TCP4 192.0.2.2 127.0.0.1 4711 80\r\n", 101},
		{"PROXY TCP4 192.0.2.1 127.0.0.1 4712 80\r\n", 429},
		{"", 400},
	} {
		if got, _ := rawRequest(t, s.public, c.header+request); got != c.want {
			t.Errorf("case %d: %d, want %d", i, got, c.want)
		}
	}
}

// The accept loop takes as many connections in a second as accept_rate says, and refuses none.
func TestAcceptRateKey(t *testing.T) {
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", limited("[limits]\naccept_rate = 20")))
	start := time.Now()
	for range 11 {
		dial(t, "ws://"+s.public+"/echo")
	}
	if took := time.Since(start); took < 450*time.Millisecond {
		t.Errorf("11 connections at 20 a second took %v", took)
	}
}

// Each key of the limits reaches its field.
func TestActorLimits(t *testing.T) {
	c := config.Default().Limits
	if got, want := actorLimits(c, 5), (actor.Limits{Connections: 5, GroupsPerConnection: 100}); got != want {
		t.Errorf("the defaults are %+v, want %+v", got, want)
	}
	c = config.Limits{
		ConnectionsPerAddress: 1, ConnectionsPerUser: 2, MessagesPerSecond: 3, MessageBurst: 4, BytesPerSecond: 5, ByteBurst: 6,
		GroupsPerConnection: 7, MaxAge: 8, AcceptRate: 9, HandshakesPerAddress: 10, RejectionsPerAddress: 12,
	}
	got := fmt.Sprint(actorLimits(c, 11), gatewayLimits(c))
	if want := "{11 1 2 3 4 5 6 7 8ns} {9 10 12}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, v := range []reflect.Value{reflect.ValueOf(actorLimits(c, 11)), reflect.ValueOf(gatewayLimits(c))} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("no key is for %s", v.Type().Field(i).Name)
			}
		}
	}
}
