package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// open is a configuration that lets in anonymous clients, and those with a token.
const openConfig = `
[drain]
window = "100ms"

[[verifier]]
name = "jwt"
kind = "jwt"
algorithms = ["HS256"]
secret = "throwaway-fixture-secret-key-0123456789abcdefghijklmnop"

[[route]]
path = "/ws/{group}"
join = ["{group}"]
anonymous = "allow"
no_origin = "allow"
credential = [{ from = "query", name = "token", verifier = "jwt" }]
`

// do asks the API with the key, "" for none, and reads the answer into v, which may be nil.
func (s *serving) do(method, path, key, body string, v any) (status int, err error) {
	req, err := http.NewRequest(method, "http://"+s.internal+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && v != nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, b)
	}
	return resp.StatusCode, err
}

// must is do, for a request that must succeed.
func (s *serving) must(t *testing.T, method, path, body string, v any) {
	t.Helper()
	if status, err := s.do(method, path, "", body, v); err != nil || status != 200 {
		t.Fatalf("%s %s: %d, %v", method, path, status, err)
	}
}

// token returns a token of openConfig.
func token(t *testing.T, file, subject string) string {
	t.Helper()
	res := fairlead(t, "", nil, "token", "issue", "--config", file, "--subject", subject)
	if res.code != 0 {
		t.Fatal(res.stderr)
	}
	return strings.TrimSpace(res.stdout)
}

type sessionsJSON struct {
	Sessions []struct {
		ID, Node, Subject, Phase string
		Groups                   []string
	}
	Missing []struct{ Name, Why string }
}

// What docs/api.md has to paste works: the requests of curl, and the function in Python.
func TestAPIDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, "open.toml", openConfig)
	s := startServe(t, nil, "--config", file)
	member := dial(t, "ws://"+s.public+"/ws/app_1234?token="+token(t, file, "42"))
	dial(t, "ws://"+s.public+"/ws/other")
	var list sessionsJSON
	s.must(t, "GET", "/api/v1/sessions?group=other", "", &list)
	if len(list.Sessions) != 1 {
		t.Fatalf("%+v", list)
	}
	if keys := regexp.MustCompile("(?ms)^```\n(# NAME:KEY.*?)^```$").FindSubmatch(page); keys == nil {
		t.Error("the page has no file of keys")
	} else if read, err := readAPIKeys(writeFile(t, "keys", string(keys[1]))); err != nil || len(read) != 1 {
		t.Errorf("the file of keys: %v, %v", read, err)
	}

	adapt := strings.NewReplacer("127.0.0.1:9000", s.internal, "10.0.0.7:9000", s.internal, "SESSION", list.Sessions[0].ID, "$KEY", "none")
	t.Run("curl", func(t *testing.T) {
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("there is no curl")
		}
		ran := 0
		for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllSubmatch(page, -1) {
			for line := range strings.Lines(adapt.Replace(string(block[1]))) {
				ran++
				out, err := exec.CommandContext(t.Context(), "sh", "-c", strings.TrimSpace(line)+" -sS --fail-with-body").CombinedOutput()
				if err != nil || !json.Valid(out) {
					t.Errorf("%s: %v: %s", line, err, out)
				}
			}
		}
		if ran < 8 {
			t.Errorf("%d lines were run: the page is written otherwise than this test reads it", ran)
		}
		member.want("hello")
	})
	t.Run("python", func(t *testing.T) {
		python, err := exec.LookPath("python3")
		if err != nil {
			t.Skip("there is no python3")
		}
		m := regexp.MustCompile("(?ms)^```python\n(.*?)^```$").FindSubmatch(page)
		if m == nil || strings.Count(strings.ReplaceAll(string(m[1]), "\n\n", "\n"), "\n") > 10 {
			t.Fatalf("the page has no Python, or more than ten lines: %s", m)
		}
		member := dial(t, "ws://"+s.public+"/ws/python")
		text := adapt.Replace(string(m[1])) + "\nprint(publish('python', {'price': 3})['published'])\nprint(publish('python', 'zoë', key='none')['reach'])\n"
		out, err := exec.CommandContext(t.Context(), python, "-c", text).CombinedOutput()
		if err != nil || string(out) != "1\ncluster\n" {
			t.Fatalf("%v: %s", err, out)
		}
		member.want(`{"price":3}`)
		member.want("zoë")
	})
}

// Keys of the file open the API, and nothing else does.
func TestAPIKeys(t *testing.T) {
	const key = "0123456789abcdefSECRET"
	keys := writeFile(t, "keys", "ops:"+key+"\n")
	s := startServe(t, []string{"FAIRLEAD_API_KEYS_FILE=" + keys}, "--config", writeFile(t, "open.toml", openConfig))
	for given, want := range map[string]int{key: 200, "": 401, key + "x": 401} {
		if status, err := s.do("GET", "/api/v1/nodes", given, "", nil); err != nil || status != want {
			t.Errorf("%d, %v; want %d", status, err, want)
		}
	}
	if strings.Contains(s.stderr.String(), "SECRET") {
		t.Error("the log has the key")
	}
	bad := writeFile(t, "bad", "ops:SECRET\n")
	res := fairlead(t, "", []string{"FAIRLEAD_API_KEYS_FILE=" + bad}, "config", "check", "--config", writeFile(t, "open.toml", openConfig))
	if res.code != 1 || !strings.Contains(res.stderr, "api.keys_file: "+bad+": line 1: the key of ops has 6 characters") || strings.Contains(res.stderr, "SECRET") {
		t.Errorf("%d %s", res.code, res.stderr)
	}
}

// Without keys, a port that others can reach has no API.
func TestAPIBeyondLoopback(t *testing.T) {
	s := startServe(t, nil, "--config", writeFile(t, "open.toml", openConfig), "--internal", "0.0.0.0:0")
	s.internal = strings.Replace(s.internal, "0.0.0.0", "127.0.0.1", 1)
	s.internal = strings.Replace(s.internal, "[::]", "127.0.0.1", 1)
	if status, err := s.do("GET", "/api/v1/nodes", "", "", nil); err != nil || status != 403 {
		t.Errorf("%d, %v; want 403", status, err)
	}
	if err := s.ready(200); err != nil {
		t.Error(err)
	}
	if !strings.Contains(s.stderr.String(), "api.keys_file is not set") {
		t.Error("the log does not say why")
	}
}

// TestAPICluster: whichever node is asked, the answer is the cluster's.
func TestAPICluster(t *testing.T) {
	nats := startNATS(t, "127.0.0.1:0")
	defer nats.Close(t.Context())
	file := writeFile(t, "open.toml", openConfig)
	start := func(name string) *serving {
		t.Helper()
		return startServe(t, []string{
			"FAIRLEAD_NATS_URL=" + nats.URL(), "FAIRLEAD_NATS_USER=u", "FAIRLEAD_NATS_PASSWORD=hidden", "FAIRLEAD_NODE_NAME=" + name,
		}, "--config", file)
	}
	one, two := start("one"), start("two")
	for _, s := range []*serving{one, two} {
		eventually(t, func() error {
			var list struct{ Nodes []struct{ Name string } }
			if _, err := s.do("GET", "/api/v1/nodes", "", "", &list); err != nil || len(list.Nodes) != 2 {
				return fmt.Errorf("the nodes are %v, %w", list.Nodes, err)
			}
			return nil
		})
	}
	alice := token(t, file, "1")
	a, b := dial(t, "ws://"+one.public+"/ws/g?token="+alice), dial(t, "ws://"+two.public+"/ws/g?token="+alice)
	c := dial(t, "ws://"+two.public+"/ws/g?token="+token(t, file, "2"))
	one.must(t, "POST", "/api/v1/publish", `{"group":"g","data":"to all"}`, nil)
	for _, client := range []*client{a, b, c} {
		client.want("to all")
	}
	for _, s := range []*serving{one, two} {
		var list sessionsJSON
		s.must(t, "GET", "/api/v1/sessions?group=g", "", &list)
		if len(list.Sessions) != 3 || len(list.Missing) != 0 {
			t.Errorf("%+v", list)
		}
		var group struct {
			Members int
			Nodes   []struct{ Node string }
		}
		s.must(t, "GET", "/api/v1/groups/g", "", &group)
		if group.Members != 3 || len(group.Nodes) != 2 {
			t.Errorf("%+v", group)
		}
	}
	var list sessionsJSON
	one.must(t, "GET", "/api/v1/sessions?user=2", "", &list)
	if len(list.Sessions) != 1 || list.Sessions[0].Node != "two" {
		t.Fatalf("%+v", list)
	}
	var done struct{ Disconnected int }
	one.must(t, "POST", "/api/v1/users/1/disconnect", `{"code":4403}`, &done)
	if done.Disconnected != 2 {
		t.Errorf("%+v", done)
	}
	a.wantClosed(4403)
	b.wantClosed(4403)
	var events struct{ Events []struct{ K string } }
	one.must(t, "GET", "/api/v1/sessions/"+list.Sessions[0].ID+"/events", "", &events)
	if len(events.Events) != 1 || events.Events[0].K != "opened" {
		t.Errorf("%+v", events)
	}
	if err := two.end(); err != nil {
		t.Error(err)
	}
	// It has said good-bye: nobody waits for it.
	eventually(t, func() error {
		var list struct{ Nodes []struct{ Name string } }
		if _, err := one.do("GET", "/api/v1/nodes", "", "", &list); err != nil || len(list.Nodes) != 1 {
			return fmt.Errorf("the nodes are %v, %w", list.Nodes, err)
		}
		return nil
	})
}
