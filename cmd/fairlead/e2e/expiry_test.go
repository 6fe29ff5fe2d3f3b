//go:build e2e

package e2e

import (
	"testing"
	"time"
)

// TestTokenExpires: a token's end is the connection's end, within a second; others stay.
func TestTokenExpires(t *testing.T) {
	n := startNode(t, jwtRoutes)
	stays := dial(t, n.public, "/ws/app_1?token="+token(t, "stays"))
	expires := time.Now().Add(3 * time.Second).Truncate(time.Second)
	var leaving []*client
	for range 10 {
		leaving = append(leaving, dial(t, n.public, "/ws/app_1?token="+tokenUntil(t, "leaves", expires)))
	}
	for _, c := range leaving {
		code, ended := c.wait(t, 10*time.Second)
		if code != 4401 {
			t.Errorf("closed with %d, want 4401", code)
		}
		if late := ended.Sub(expires); late < 0 || late > time.Second {
			t.Errorf("closed %v after the token's end, want 0 to 1s", late)
		}
	}
	if err := stays.open(); err != nil {
		t.Errorf("a token that is good: %v", err)
	}
	_, err := tryDial(t, n.public, "/ws/app_1?token="+tokenUntil(t, "late", time.Now().Add(-time.Hour)))
	wantStatus(t, err, 401)
}
