package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// TestLibraryLog: an application that sends more than it said, such as a page for debugging that shows what it was asked,
// does not bring a cookie into the log by way of the HTTP client, which logs what it did not expect.
func TestLibraryLog(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 204 No Content\r\n\r\nyou asked with %s", r.Header.Get("Cookie"))
		_, _ = io.Copy(io.Discard, conn) // until the other side closes
	}))
	defer app.Close()
	s := startServe(t, nil, "--config", writeFile(t, "fairlead.toml", fmt.Sprintf(withCallback, app.URL, strings.Repeat("k", 32))))
	if _, err := tryDial(t, "ws://"+s.public+"/ws/open", http.Header{"Cookie": {"session=COOKIESECRET"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if !strings.Contains(s.stderr.String(), "Unsolicited response received on idle HTTP channel starting with") {
			return fmt.Errorf("the log does not say what the application did: %s", s.stderr)
		}
		return nil
	})
	for line := range strings.Lines(s.stderr.String()) {
		if strings.Contains(line, "SECRET") || !strings.HasPrefix(line, "{") {
			t.Errorf("the log has %s", line)
		}
	}
}

// TestLibraryLogIsShort: what a library says of each of a thousand questions is a line a second.
func TestLibraryLogIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		l := &libraryLog{logger: newLogger(&out, config.Log{Level: "info", Format: "text"})}
		for range 1000 {
			fmt.Fprintf(l, "it said %q\nand goroutine 1 had %s\n", "SECRET", "SECRET")
		}
		time.Sleep(time.Second)
		fmt.Fprintln(l, "again")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `says="it said" left_out=true lines_held_back=0`) ||
			!strings.Contains(lines[1], "says=again left_out=false lines_held_back=999") || strings.Contains(out.String(), "SECRET") {
			t.Errorf("got %s", out.String())
		}
	})
}
