package limit

import (
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	var l Lines
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		after time.Duration
		held  uint64
		ok    bool
	}{
		{0, 0, true},
		{1, 0, false},
		{time.Second - 1, 0, false},
		{time.Second, 2, true},
		{time.Second + 1, 0, false},
		{3 * time.Second, 1, true},
		{5 * time.Second, 0, true},
	} {
		if held, ok := l.Allow(now.Add(c.after)); held != c.held || ok != c.ok {
			t.Errorf("after %v: %d, %v, want %d, %v", c.after, held, ok, c.held, c.ok)
		}
	}
}
