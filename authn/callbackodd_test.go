package authn

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// raw answers with bytes that are no HTTP of net/http's.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, answer)
		conn.Close()
	}
}

// TestCallbackQuotesNothing: what came back may be what was sent, and net/http likes to show it.
func TestCallbackQuotesNothing(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: %s\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"HTTP/1.1 %s OK\r\n\r\n",
		"%s",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n%s\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: %s\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length, %s\r\n\r\n0\r\n\r\n",
	} {
		app := newApp(t, raw(fmt.Sprintf(answer, "sessionid=COOKIESECRET")))
		v := newCallback(t, CallbackConfig{URL: app.URL})
		if id, err := v.Verify(t.Context(), Credential{From: "request", Request: browser()}); id != nil || err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %v, %v", answer, id, err)
		}
	}
}

// What is wrong below HTTP is told: an operator finds it by that.
func TestCallbackTellsWhatIsWrong(t *testing.T) {
	plain, secure := newApp(t, says(204, "")), httptest.NewUnstartedServer(says(204, ""))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it would say that its certificate is not trusted
	secure.StartTLS()
	t.Cleanup(secure.Close)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	long := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", maxCallbackHeader))
	})
	for url, want := range map[string]string{
		"http://" + nobody.Addr().String():               "connection refused",
		strings.Replace(plain.URL, "http:", "https:", 1): "does not look like a TLS handshake",
		secure.URL: "certificate",
		long.URL:   "header of its answer is over 65536 bytes",
		newApp(t, raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{")).URL: "unexpected EOF",
		newApp(t, raw("")).URL: "EOF",
	} {
		v := newCallback(t, CallbackConfig{URL: url})
		_, err := v.Verify(t.Context(), Credential{From: "request", Request: browser()})
		wantReason(t, err, ErrUnavailable, ReasonVerifierUnavailable)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
}

// TestCallbackSwitchesNoProtocol: behind 101 comes what the connection brings, for as long as it is there.
func TestCallbackSwitchesNoProtocol(t *testing.T) {
	switches := func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = conn.Read(make([]byte, 1)) // until the other side closes
	}
	inTrouble(t, switches, func(t *testing.T, v *trouble) {
		start := time.Now()
		answered := make(chan error, 1)
		go func() { answered <- v.ask(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-answered:
			wantReason(t, err, ErrUnavailable, ReasonVerifierUnavailable)
			if !strings.Contains(err.Error(), "101") {
				t.Errorf("%v, want the status", err)
			}
		default:
			t.Fatalf("no answer after %v", time.Since(start))
		}
		v.count(t, "bad_status", 1)
	})
}
