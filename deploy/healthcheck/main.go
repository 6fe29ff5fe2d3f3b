// Command healthcheck asks a Fairlead node whether it is ready, for containers that have no shell to ask with. It exits
// with 0 when the answer is 200, else with 1 and the reason on standard error.
//
//	healthcheck [URL]
//
// URL is http://127.0.0.1:9000/readyz unless given.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	defaultURL = "http://127.0.0.1:9000/readyz"
	timeout    = 2 * time.Second
)

func main() {
	url := defaultURL
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if err := check(context.Background(), url); err != nil {
		fmt.Fprintln(os.Stderr, "healthcheck:", err)
		os.Exit(1)
	}
}

// check returns nil if url answers 200 in time. The error has the first of the body's bytes, which name what is not ready.
func check(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 256))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %q", url, resp.Status, body)
	}
	return nil
}
