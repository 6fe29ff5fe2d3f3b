//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// chromium is a browser without a window. It is told what to do over two pipes, in the DevTools protocol: JSON, each message
// with a NUL behind it (https://chromedevtools.github.io/devtools-protocol/).
type chromium struct {
	process *process
	to      *os.File
	ended   chan struct{} // closed when the browser says nothing more

	// Guarded by mu.
	mu      sync.Mutex
	last    int                     // id of the last call
	calls   map[int]chan<- devTools // those without an answer
	console map[string][]string     // what browsers complain of, by the session of the tab
}

// devTools is a message of the protocol, of any kind.
type devTools struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// startChromium starts a browser with a profile of its own, which is gone when the test ends.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("no browser here: want chromium in PATH (Debian: apt-get install chromium)")
	}
	home := t.TempDir()
	args := []string{
		"--headless", "--remote-debugging-pipe", "--user-data-dir=" + home, "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
		"--disable-dev-shm-usage", // /dev/shm of a container is small
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // which root cannot have
	}
	commands, to, err1 := os.Pipe()
	from, answers, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append(args, "about:blank")...)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	cmd.ExtraFiles = []*os.File{commands, answers} // 3 and 4, as the browser expects
	c := &chromium{to: to, ended: make(chan struct{}), calls: map[int]chan<- devTools{}, console: map[string][]string{}}
	c.process = startProcess(t, "chromium", cmd)
	commands.Close()
	answers.Close()
	go c.listen(from)
	t.Cleanup(func() {
		if err := c.call("", "Browser.close", nil, nil); err != nil {
			t.Log(err) // it may be gone already
		}
		to.Close()
		<-c.ended
		from.Close()
	})
	return c
}

// listen takes what the browser says until it ends.
func (c *chromium) listen(from io.Reader) {
	defer close(c.ended)
	for r := bufio.NewReader(from); ; {
		b, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m devTools
		if json.Unmarshal(b[:len(b)-1], &m) != nil {
			continue
		}
		c.mu.Lock()
		if answer, ok := c.calls[m.ID]; ok {
			answer <- m
			delete(c.calls, m.ID)
		}
		if text := complaint(m); text != "" {
			c.console[m.Session] = append(c.console[m.Session], text)
		}
		c.mu.Unlock()
	}
}

// complaint returns what an event says that a developer would see in red or yellow in the console, and "" for other messages.
func complaint(m devTools) string {
	var e struct {
		Type, Text       string // of Runtime.consoleAPICalled
		Args             []struct{ Value any }
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if json.Unmarshal(m.Params, &e) != nil {
		return ""
	}
	switch {
	case m.Method == "Runtime.exceptionThrown":
		return e.ExceptionDetails.Text + " " + e.ExceptionDetails.Exception.Description
	case m.Method == "Runtime.consoleAPICalled" && (e.Type == "error" || e.Type == "warning"):
		return fmt.Sprint(e.Type, ": ", e.Args)
	case m.Method == "Log.entryAdded" && (e.Entry.Level == "error" || e.Entry.Level == "warning"):
		return e.Entry.Level + ": " + e.Entry.Text + " " + e.Entry.URL
	}
	return ""
}

// call calls a method, of a tab where session is not "", and fills in result where it is not nil.
func (c *chromium) call(session, method string, params, result any) error {
	p, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan devTools, 1)
	c.mu.Lock()
	c.last++
	b, err := json.Marshal(devTools{ID: c.last, Session: session, Method: method, Params: p})
	if err == nil {
		c.calls[c.last] = answer
		_, err = c.to.Write(append(b, 0))
	}
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-c.ended:
		return fmt.Errorf("%s: %w", method, errors.Join(errors.New("the browser is gone"), c.process.running()))
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%s: no answer", method)
	}
}

// profile is a jar of cookies for tabs, apart from those of others: a visitor.
type profile struct {
	chromium *chromium
	id       string
}

func (c *chromium) newProfile(t *testing.T) *profile {
	t.Helper()
	var made struct{ BrowserContextID string }
	if err := c.call("", "Target.createBrowserContext", nil, &made); err != nil {
		t.Fatal(err)
	}
	return &profile{c, made.BrowserContextID}
}

// tab is a tab of the browser.
type tab struct {
	chromium *chromium
	session  string
}

// open opens a tab and waits for the page to be there.
func (p *profile) open(t *testing.T, url string) *tab {
	t.Helper()
	var made struct{ TargetID string }
	var attached struct{ SessionID string }
	c := p.chromium
	err := c.call("", "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": p.id}, &made)
	if err == nil {
		err = c.call("", "Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &attached)
	}
	for _, domain := range []string{"Runtime", "Log", "Page"} {
		if err == nil {
			err = c.call(attached.SessionID, domain+".enable", nil, nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	tab := &tab{c, attached.SessionID}
	tab.visit(t, url)
	return tab
}

// visit goes to a page and waits for it.
func (b *tab) visit(t *testing.T, url string) {
	t.Helper()
	var visited struct{ ErrorText string }
	err := b.chromium.call(b.session, "Page.navigate", map[string]any{"url": url}, &visited)
	if err != nil || visited.ErrorText != "" {
		t.Fatalf("%s: %v %s", url, err, visited.ErrorText)
	}
	b.until(t, fmt.Sprintf(`document.readyState === "complete" && location.href.startsWith(%q)`, url))
}

// evaluate runs JavaScript in the page and returns its value, of a promise that of which it is one.
func (b *tab) evaluate(code string) (any, error) {
	var done struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := b.chromium.call(b.session, "Runtime.evaluate",
		map[string]any{"expression": code, "returnByValue": true, "awaitPromise": true, "userGesture": true}, &done)
	if err == nil && done.ExceptionDetails != nil {
		err = fmt.Errorf("%s %s", done.ExceptionDetails.Text, done.ExceptionDetails.Exception.Description)
	}
	return done.Result.Value, err
}

// run runs JavaScript in the page and returns its value as text.
func (b *tab) run(t *testing.T, code string) string {
	t.Helper()
	v, err := b.evaluate(code)
	if err != nil {
		t.Fatalf("%v, in\n%s", err, code)
	}
	return fmt.Sprint(v)
}

// until waits until JavaScript says that something is so. What goes wrong meanwhile may be that a page makes room for the next.
func (b *tab) until(t *testing.T, condition string) {
	t.Helper()
	eventually(t, 15*time.Second, func() error {
		v, err := b.evaluate(condition)
		if err == nil && v != true {
			text, _ := b.evaluate(`location.href + "\n" + document.body.innerText`)
			err = fmt.Errorf("%s is %v, on the page\n%v", condition, v, text)
		}
		return err
	})
}

// click clicks on what the selector finds.
func (b *tab) click(t *testing.T, selector string) {
	t.Helper()
	b.run(t, fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// fill writes into a field of a form, or chooses in a list.
func (b *tab) fill(t *testing.T, selector, value string) {
	t.Helper()
	b.run(t, fmt.Sprintf(`{
		const field = document.querySelector(%q);
		field.value = %q;
		field.dispatchEvent(new Event("change", { bubbles: true }));
	}`, selector, value))
}

// wantComplaints fails the test unless the console has as many errors and warnings as texts are given, each with its text.
// What was there is forgotten.
func (b *tab) wantComplaints(t *testing.T, texts ...string) {
	t.Helper()
	b.run(t, "0") // what came before its answer is here
	c := b.chromium
	c.mu.Lock()
	got := c.console[b.session]
	delete(c.console, b.session)
	c.mu.Unlock()
	left := slices.Clone(got)
	for _, text := range texts {
		i := slices.IndexFunc(left, func(s string) bool { return strings.Contains(s, text) })
		if i < 0 {
			t.Errorf("the console does not say %q but\n%s", text, strings.Join(got, "\n"))
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		t.Errorf("the console complains:\n%s", strings.Join(left, "\n"))
	}
}
