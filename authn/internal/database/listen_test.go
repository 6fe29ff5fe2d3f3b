package database

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// A server that lets a client in and then says nothing, as a pooler may that has none behind it, is given up.
func TestListenIsNotAnswered(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		c, err := server.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Read(make([]byte, 1024))
		_, _ = c.Write([]byte{'R', 0, 0, 0, 8, 0, 0, 0, 0, 'Z', 0, 0, 0, 5, 'I'}) // AuthenticationOk, ReadyForQuery
		for {                                                                     // the driver asks by another connection that the question be given up
			another, err := server.Accept()
			if err != nil {
				return
			}
			another.Close()
		}
	}()
	l, err := NewListener("postgres://u:p@"+server.Addr().String()+"/d?sslmode=disable", "c")
	if err != nil {
		t.Fatal(err)
	}
	l.config.ConnectTimeout = 100 * time.Millisecond
	c, err := l.Connect(t.Context())
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
