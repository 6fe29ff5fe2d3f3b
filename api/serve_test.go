package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve runs a on a loopback listener until stop is called, which returns what Serve returned.
func serve(t *testing.T, a *API) (url string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx, l) }()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		select {
		case err := <-served:
			return err
		case <-time.After(10 * time.Second):
			return errors.New("Serve did not return within 10 s")
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String(), stop
}

func client(t *testing.T) *http.Client {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func get(t *testing.T, c *http.Client, url string) (status int, body string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestServe(t *testing.T) {
	var f flag
	url, stop := serve(t, mustNew(t, Config{
		Interval: time.Millisecond,
		Ready:    []Check{{Name: "bus", OK: f.OK, Grace: 50 * time.Millisecond}},
	}))
	c := client(t)
	if status, body := get(t, c, url+"/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	if status, body := get(t, c, url+"/readyz"); status != 200 || body != "ready\n" {
		t.Errorf("/readyz: %d %q", status, body)
	}
	f.down.Store(true)
	deadline := time.Now().Add(10 * time.Second)
	for status := 0; status != 503; {
		if time.Now().After(deadline) {
			t.Fatal("not 503 within 10 s")
		}
		status, _ = get(t, c, url+"/readyz")
	}
	if err := stop(); err != nil { // with an idle connection kept by the client
		t.Errorf("Serve: %v", err)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
		conn.Close()
		t.Error("the port is open after Serve has returned")
	}
}

// A request in work is answered before Serve returns.
func TestServeStopsGracefully(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	url, stop := serve(t, mustNew(t, Config{Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "late\n")
	})}))
	answered := make(chan string, 1)
	c := client(t)
	go func() {
		res, err := c.Get(url + "/metrics")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		answered <- fmt.Sprintf("%d %s %v", res.StatusCode, b, err)
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	waitRefused(t, url) // it no longer accepts, so it is stopping
	select {
	case err := <-stopped:
		t.Fatalf("Serve returned %v before the request was answered", err)
	default:
	}
	close(release)
	if got, want := <-answered, "200 late\n <nil>"; got != want {
		t.Errorf("the request in work got %q, want %q", got, want)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// waitRefused waits until the server of url no longer accepts connections.
func waitRefused(t *testing.T, url string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still accepts after 10 s")
		}
	}
}

// A request that does not end is cut, and its goroutine is waited for.
func TestServeCutsWhatDoesNotEnd(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	a := mustNew(t, Config{Metrics: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	})})
	a.patience = 10 * time.Millisecond
	url, stop := serve(t, a)
	c := client(t)
	failed := make(chan error, 1)
	go func() {
		res, err := c.Get(url + "/metrics")
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()
	<-entered
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	select {
	case <-left:
	default:
		t.Error("Serve returned before the handler did")
	}
	if err := <-failed; err == nil {
		t.Error("the request that was cut has an answer")
	}
}

func TestServeReturnsTheListenersError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var f flag
	a := mustNew(t, Config{Ready: []Check{{Name: "bus", OK: f.OK, Grace: time.Second}}})
	if err := a.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve on a closed listener: %v, want net.ErrClosed", err)
	}
}

func TestServeWithAnEndedContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := mustNew(t, Config{}).Serve(ctx, l); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open after Serve: %v", err)
	}
}

func TestServeBoundsTheHead(t *testing.T) {
	url, _ := serve(t, mustNew(t, Config{}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() { // may fail half-way: the server hangs up
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a head of 64 KiB: %d, want 431", res.StatusCode)
	}
}
