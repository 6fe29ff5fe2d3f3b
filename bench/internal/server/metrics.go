package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// ErrMetrics is wrapped by errors about an exposition that cannot be read.
var ErrMetrics = errors.New("malformed metrics")

// Metrics are samples by series, as they stand in the text exposition: `name{label="value"}`.
type Metrics map[string]float64

// Sum adds up the series of a name whose text has all the parts: Sum("closes_total", `code="1013"`).
func (m Metrics) Sum(name string, parts ...string) (sum float64) {
	for series, v := range m {
		rest, ok := strings.CutPrefix(series, name)
		if !ok || rest != "" && rest[0] != '{' {
			continue
		}
		for _, p := range parts {
			ok = ok && strings.Contains(rest, p)
		}
		if ok {
			sum += v
		}
	}
	return sum
}

// Grown returns the series whose text has one of the parts and that are larger than before, with the difference.
func (m Metrics) Grown(before Metrics, parts ...string) Metrics {
	grown := Metrics{}
	for series, v := range m {
		for _, p := range parts {
			if strings.Contains(series, p) && v > before[series] {
				grown[series] = v - before[series]
			}
		}
	}
	return grown
}

// ReadMetrics fetches and reads a text exposition.
func ReadMetrics(ctx context.Context, url string) (Metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return parseMetrics(resp.Body)
}

func parseMetrics(r io.Reader) (Metrics, error) {
	m := Metrics{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		end := strings.LastIndexByte(line, '}') + 1 // a label's value may have spaces
		space := strings.IndexByte(line[end:], ' ')
		if space < 0 {
			return nil, fmt.Errorf("%w: %.80q", ErrMetrics, line)
		}
		value, _, _ := strings.Cut(strings.TrimSpace(line[end+space:]), " ") // a time may follow
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: %.80q", ErrMetrics, line)
		}
		m[line[:end+space]] = v
	}
	return m, s.Err()
}
