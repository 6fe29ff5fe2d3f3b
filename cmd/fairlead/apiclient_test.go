package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answering is a server that answers everything so.
func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// What answers in place of a Fairlead, or not at all, is said.
func TestAPIClientErrors(t *testing.T) {
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, tt := range map[string]struct {
		h    http.HandlerFunc
		says string
	}{
		"another program": {text(404, "not here"), "answers 404 to /api/v1/sessions, and is no internal port of a Fairlead that has an API"},
		"no JSON":         {text(200, "<html>"), "answers what is no JSON of a Fairlead"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "answers 302"},
		"busy":      {text(503, `{"error":{"code":"busy","message":"too many"}}`), "too many (try again in a moment)"},
		"an escape": {text(400, `{"error":{"code":"x","message":"\u001b[2J"}}`), `\x1b[2J`},
		"slow":      {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "did not answer within 50ms"},
	} {
		timeout := "10s"
		if name == "slow" {
			timeout = "50ms"
		}
		res := fairlead(t, "", nil, "conn", "ls", "--api", answering(t, tt.h), "--timeout", timeout)
		if res.code != 1 || !strings.Contains(res.stderr, tt.says) {
			t.Errorf("%s: %d %q, want %q", name, res.code, res.stderr, tt.says)
		}
	}
}

// A list is read page by page, up to the limit, with the key on each question.
func TestConnLsPages(t *testing.T) {
	var asked []string
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery+" "+r.Header.Get("Authorization"))
		next := ""
		if r.FormValue("after") == "" {
			next = `"next":"dc2nog01081g81860s40-2",`
		}
		fmt.Fprintf(w, `{"sessions":[{"id":"a\u001b"},{"id":"b","groups":["1","2","3","4","5"],"phase":"closing","paused":true,"queued_bytes":7,"silent":true}],%s"silent":2,"missing":[{"name":"n2","epoch":"e","why":"it sleeps"}]}`, next)
	})
	env := []string{"FAIRLEAD_API=" + url, "FAIRLEAD_API_KEY_FILE=" + writeFile(t, "key", "# mine\nops: k3y\n")}
	res := fairlead(t, "", env, "conn", "ls", "--limit", "0")
	want := []string{"limit=1000 Bearer k3y", "after=dc2nog01081g81860s40-2&limit=1000 Bearer k3y"}
	if res.code != 0 || strings.Join(asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("%d %s; asked %q", res.code, res.stderr, asked)
	}
	for _, text := range []string{`a\x1b`, "1,2,3,… (2 more)", "silent, closing, paused, 7 bytes queued"} {
		if !strings.Contains(res.stdout, text) {
			t.Errorf("%q is missing in\n%s", text, res.stdout)
		}
	}
	for _, text := range []string{"node n2 (e) is missing in this: it sleeps", "2 connections did not answer"} {
		if !strings.Contains(res.stderr, text) {
			t.Errorf("%q is missing in\n%s", text, res.stderr)
		}
	}
	asked = nil
	if res := fairlead(t, "", env, "conn", "ls", "--limit", "2"); !strings.Contains(res.stderr, "there are more") || asked[0] != "limit=2 Bearer k3y" || len(asked) != 1 {
		t.Errorf("%q, asked %q", res.stderr, asked)
	}
}

// A node that is missing on one page is missing in the list, also when it is gone for good before the next one.
func TestPagesMissANode(t *testing.T) {
	for command, items := range map[string]string{"conn": `"sessions":[{"id":"a"}]`, "group": `"groups":[{"group":"g","members":1}]`} {
		url := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("after") == "" {
				fmt.Fprintf(w, `{%s,"next":"x","missing":[{"name":"n2","epoch":"e","why":"it sleeps"}]}`, items)
				return
			}
			fmt.Fprintf(w, `{%s,"missing":[]}`, items)
		})
		res := fairlead(t, "", nil, command, "ls", "--api", url, "--limit", "0")
		if res.code != 0 || strings.Count(res.stderr, "node n2 (e) is missing in this: it sleeps") != 1 {
			t.Errorf("%s ls: %d %q", command, res.code, res.stderr)
		}
		if res := fairlead(t, "", nil, command, "ls", "--api", url, "--limit", "0", "-o", "json"); !strings.Contains(res.stdout, `"why": "it sleeps"`) {
			t.Errorf("%s ls -o json: %s", command, res.stdout)
		}
	}
}

// A kick that is not done everywhere fails, and says where.
func TestKickMissesANode(t *testing.T) {
	url := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"disconnected":1,"silent":1,"missing":[{"name":"n2","epoch":"e","why":"it sleeps"}]}`)
	})
	res := fairlead(t, "", nil, "conn", "kick", "--api", url, "--user", "1")
	if res.code != 1 || !strings.Contains(res.stdout, "closed 1\n1 more will be closed when their handler returns\n") || !strings.Contains(res.stderr, "not done everywhere: n2: it sleeps") {
		t.Errorf("%d %q %q", res.code, res.stdout, res.stderr)
	}
}

func TestReadKey(t *testing.T) {
	for text, want := range map[string]string{"abc\n": "abc", "# x\n\n ops : a-b= \nnext:c": "a-b="} {
		if got, err := readKey(writeFile(t, "key", text)); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "\n# x\n", "ops:\n", "a SECRET", "a\x01SECRET"} {
		if got, err := readKey(writeFile(t, "key", text)); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// What users are called is in one cell, whatever it is.
func TestConnLsForgedRow(t *testing.T) {
	url := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"sessions":[{"id":"a-1","phase":"open","subject":"7","name":"al\nFAKE\tnode-9\u202e\u001b[2K","node":"n1"}],"missing":[{"name":"n2\nx","epoch":"e","why":"\u2066away"}]}`))
	})
	got := fairlead(t, "", nil, "conn", "ls", "--api", url)
	lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], `7 (al\nFAKE\tnode-9\u202e\x1b[2K)  n1`) {
		t.Errorf("got %q", got.stdout)
	}
	if want := "fairlead: node n2\\nx (e) is missing in this: \\u2066away\n"; got.stderr != want {
		t.Errorf("got %q, want %q", got.stderr, want)
	}
}

func TestInLine(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "zoë 日本 👋": "zoë 日本 👋", `DOMAIN\al "x"`: `DOMAIN\al "x"`,
		"a\nb\tc\r\v\f": `a\nb\tc\r\v\f`, "\x1b[2K\x7f\x00": `\x1b[2K\x7f\x00`, "\u009b1m\u0085": `\u009b1m\u0085`,
		"\u202e\u2066\u200f": `\u202e\u2066\u200f`, "\u2028\u00a0\u200b": `\u2028\u00a0\u200b`, "\xff\ufffd": `\xff` + "\ufffd", "\U000e0041": `\U000e0041`,
	} {
		if got := inLine(in); got != want {
			t.Errorf("inLine(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 90 * time.Minute: "1h30m", 50 * time.Hour: "2d02h",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := ago(now, time.Time{}); got != "" {
		t.Errorf("never: %q", got)
	}
}

var errTest = errors.New("test")

func TestUnreachable(t *testing.T) {
	a := &apiClient{base: "http://h:1"}
	if err := a.unreachable(errTest); !errors.Is(err, errTest) || !strings.Contains(err.Error(), "http://h:1") {
		t.Error(err)
	}
}
