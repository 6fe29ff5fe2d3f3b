package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

const (
	defaultAPI     = "http://127.0.0.1:9000"
	maxAPIAnswer   = 16 << 20 // bytes
	apiPage        = 1000     // what a list asks for at once
	maxAPIKeyBytes = 4 << 10  // of a file with a key
)

// apiFlags are the flags of every command that asks a node.
type apiFlags struct {
	API     string        `name:"api" placeholder:"URL" help:"The internal port of any node. Else the one in the environment variable FAIRLEAD_API, else http://127.0.0.1:9000."`
	KeyFile string        `placeholder:"FILE" help:"A file with the key, or with NAME:KEY. Else the one in FAIRLEAD_API_KEY_FILE, else no key."`
	Output  string        `short:"o" enum:"text,json" default:"text" help:"text for people, json for programs."`
	Timeout time.Duration `default:"15s" help:"For each question."`
}

// apiClient asks a node.
type apiClient struct {
	base    string
	key     string
	timeout time.Duration
	http    *http.Client
}

// client returns who asks the node that the flags and the environment mean.
func (f apiFlags) client(c *console) (*apiClient, error) {
	base := firstOf(f.API, c.getenv("FAIRLEAD_API"), defaultAPI)
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, &exitError{exitUsage, errors.New("--api: want http://HOST:PORT or https://HOST:PORT, the address of a node's listen.internal")}
	}
	client := &apiClient{
		base: u.Scheme + "://" + u.Host, timeout: f.Timeout,
		http: &http.Client{
			Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true}, // a proxy would see the key
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if file := firstOf(f.KeyFile, c.getenv("FAIRLEAD_API_KEY_FILE")); file != "" {
		if client.key, err = readKey(file); err != nil {
			return nil, err
		}
	}
	return client, nil
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// readKey returns the first key in the file, which has it alone or behind its name. Errors do not quote it.
func readKey(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("--key-file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAPIKeyBytes))
	if err != nil {
		return "", fmt.Errorf("--key-file: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			key := strings.TrimSpace(line[strings.LastIndexByte(line, ':')+1:])
			if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return "", fmt.Errorf("--key-file: %s has no key in its first line; want KEY or NAME:KEY", file)
			}
			return key, nil
		}
	}
	return "", fmt.Errorf("--key-file: %s is empty; want KEY or NAME:KEY", file)
}

// apiError is an answer that is an error.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string {
	text := e.message
	switch e.status {
	case http.StatusUnauthorized:
		text += " (give it with --key-file FILE, or in FAIRLEAD_API_KEY_FILE)"
	case http.StatusServiceUnavailable:
		text += " (try again in a moment)"
	}
	return text
}

// get asks for a path and reads the answer into v.
func (a *apiClient) get(ctx context.Context, path string, query url.Values, v any) error {
	for name := range query {
		if query.Get(name) == "" {
			query.Del(name)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return a.do(ctx, http.MethodGet, path, nil, v)
}

// post sends a body, and reads the answer into v.
func (a *apiClient) post(ctx context.Context, path string, body, v any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return a.do(ctx, http.MethodPost, path, b, v)
}

func (a *apiClient) do(ctx context.Context, method, path string, body []byte, v any) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return a.unreachable(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAPIAnswer))
	if err != nil {
		return a.unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		var e struct {
			Error struct{ Code, Message string }
		}
		if json.Unmarshal(b, &e) != nil || e.Error.Message == "" {
			return fmt.Errorf("%s answers %d to %s, and is no internal port of a Fairlead that has an API", a.base, resp.StatusCode, strings.SplitN(path, "?", 2)[0])
		}
		return &apiError{resp.StatusCode, e.Error.Code, inLine(e.Error.Message)}
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s answers what is no JSON of a Fairlead", a.base)
	}
	return nil
}

// unreachable says what could be done about a node that does not answer.
func (a *apiClient) unreachable(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing answers at %s; is the node running, and is that its listen.internal? --api URL names another", a.base)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer within %v", a.base, a.timeout)
	}
	return fmt.Errorf("%s: %w", a.base, err)
}

// absentNode is a node whose part is missing in an answer.
type absentNode struct {
	Name  string `json:"name"`
	Epoch string `json:"epoch"`
	Why   string `json:"why"`
}

// addMissing returns all, with those of a further page that are not in it. A node that was missing once is: what it had for
// that page is not in the list, even if it answers for the next one, or nobody asks it any more.
func addMissing(all, page []absentNode) []absentNode {
	for _, m := range page {
		if !slices.ContainsFunc(all, func(o absentNode) bool { return o.Epoch == m.Epoch }) {
			all = append(all, m)
		}
	}
	return all
}

// warnMissing says whose part is missing.
func warnMissing(c *console, missing []absentNode) {
	for _, m := range missing {
		fmt.Fprintf(c.stderr, "fairlead: node %s (%s) is missing in this: %s\n", inLine(m.Name), inLine(m.Epoch), inLine(m.Why))
	}
}

// printJSON prints v for programs.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printTable prints rows in columns; the first row is the head.
func printTable(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if row[i] = inLine(cell); row[i] == "" {
				row[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// ago returns how long before now t was, short.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := max(now.Sub(t), 0)
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}
