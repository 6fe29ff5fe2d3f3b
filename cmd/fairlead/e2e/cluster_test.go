//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go"
)

const secret = "end-to-end-secret-of-at-least-32-characters"

// jwtRoutes is a configuration with one open route: anybody with a token joins any group and speaks to it.
const jwtRoutes = `
[[verifier]]
name = "jwt"
kind = "jwt"
algorithms = ["HS256"]
secret = "` + secret + `"

[[route]]
path = "/ws/{group}"
join = ["{group}"]
no_origin = "allow"
credential = [{ from = "query", name = "token", verifier = "jwt" }]
`

// token returns a JWT for the user that is good for an hour.
func token(t *testing.T, user string) string { return tokenUntil(t, user, time.Now().Add(time.Hour)) }

func tokenUntil(t *testing.T, user string, expires time.Time) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"user_id": user, "username": user, "exp": expires.Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// cluster starts two nodes on the NATS server.
func cluster(t *testing.T, s *natsServer) (a, b *node) {
	t.Helper()
	config := fmt.Sprintf("\n[nats]\nurl = %q\ncluster = \"e2e\"\n", s.url()) + jwtRoutes
	return startNode(t, config), startNode(t, config)
}

// members connects some clients to a group at each of two nodes, and returns them node by node, meeting.
func members(t *testing.T, a, b *node, group string, each int) (onA, onB []*client) {
	t.Helper()
	for i := range each {
		onA = append(onA, dial(t, a.public, fmt.Sprintf("/ws/%s?token=%s", group, token(t, fmt.Sprint("a", i)))))
		onB = append(onB, dial(t, b.public, fmt.Sprintf("/ws/%s?token=%s", group, token(t, fmt.Sprint("b", i)))))
	}
	all := slices.Concat(onA, onB)
	meet(t, 10*time.Second, all...)
	forget(all...)
	return onA, onB
}

// sendAll lets each sender send its messages "s N", all senders at once.
func sendAll(t *testing.T, senders []*client, each int) {
	t.Helper()
	var wg sync.WaitGroup
	for s, c := range senders {
		wg.Go(func() {
			for i := range each {
				c.send(t, fmt.Sprintf("%d %d", s, i))
			}
		})
	}
	wg.Wait()
}

// wantAll waits until each member has as many messages as were sent, and fails the test unless each has come exactly once
// and those of each sender in order.
func wantAll(t *testing.T, members []*client, senders, each int) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		for i, c := range members {
			if err := c.open(); err != nil {
				return err
			}
			if n := len(c.received()); n < senders*each {
				return fmt.Errorf("member %d has %d of %d messages", i, n, senders*each)
			}
		}
		return nil
	})
	for i, c := range members {
		next := make([]int, senders)
		for _, m := range c.received() {
			var s, n int
			if _, err := fmt.Sscanf(m, "%d %d", &s, &n); err != nil || s >= senders {
				t.Fatalf("member %d got %q, which nobody sent", i, m)
			}
			if n != next[s] {
				t.Fatalf("member %d got message %d of sender %d when it should have got %d", i, n, s, next[s])
			}
			next[s]++
		}
		for s, n := range next {
			if n != each {
				t.Fatalf("member %d got %d messages of sender %d, want %d", i, n, s, each)
			}
		}
	}
}

func TestTwoNodesShareGroups(t *testing.T) {
	a, b := cluster(t, startNATS(t))
	onA, onB := members(t, a, b, "app_1234", 3)
	other := dial(t, b.public, "/ws/app_1?token="+token(t, "other"))

	senders := slices.Concat(onA[:2], onB[:2])
	sendAll(t, senders, 1000)
	wantAll(t, slices.Concat(onA, onB), len(senders), 1000)
	if got := other.received(); len(got) > 0 {
		t.Errorf("a member of another group heard %d messages, %.40q first", len(got), got[0])
	}
	for _, n := range []*node{a, b} {
		if got := n.metric(t, "fairlead_bus_dropped_total"); got != 0 {
			t.Errorf("the node at %s has dropped %v messages", n.public, got)
		}
	}
}

// TestPublishFromOutside: any NATS client can publish to a group's subject, as docs/publish.md says.
func TestPublishFromOutside(t *testing.T) {
	s := startNATS(t)
	a, b := cluster(t, s)
	onA, onB := members(t, a, b, "room.1", 1)

	nc, err := nats.Connect(s.url())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	text := nats.NewMsg("fl.e2e.g.room~1")
	text.Data = []byte("grüße")
	binary := nats.NewMsg("fl.e2e.g.room~1")
	binary.Data = []byte("plain bytes")
	binary.Header.Set("Fairlead-Type", "binary")
	noText := nats.NewMsg("fl.e2e.g.room~1")
	noText.Data = []byte{0xff, 0xfe}
	for _, m := range []*nats.Msg{text, binary, noText} {
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"grüße", "plain bytes", "\xff\xfe"}
	for _, c := range slices.Concat(onA, onB) {
		eventually(t, 5*time.Second, func() error {
			if got := c.received(); !slices.Equal(got, want) {
				return fmt.Errorf("got %q, want %q", got, want)
			}
			return nil
		})
		c.mu.Lock()
		if c.binary != 2 {
			t.Errorf("%d of the messages were binary, want 2", c.binary)
		}
		c.mu.Unlock()
	}
}

// TestNATSGoesAndComesBack kills NATS under two nodes: no client notices but by silence from the other node, and once NATS
// is back, the nodes find each other again without anybody's help.
func TestNATSGoesAndComesBack(t *testing.T) {
	s := startNATS(t)
	a, b := cluster(t, s)
	onA, onB := members(t, a, b, "app_1234", 3)
	everyone := slices.Concat(onA, onB)
	subscriptions := a.metric(t, "fairlead_bus_subscriptions")

	s.kill()
	for _, n := range []*node{a, b} {
		eventually(t, 15*time.Second, func() error { return n.notReady("bus") })
		if got := n.metric(t, "fairlead_bus_connected"); got != 0 {
			t.Errorf("fairlead_bus_connected is %v without NATS", got)
		}
		if status, _, err := n.get("/healthz"); err != nil || status != 200 {
			t.Errorf("/healthz without NATS: %d, %v; the process is well", status, err)
		}
	}
	onA[0].send(t, "only here")
	for _, c := range onA {
		eventually(t, 2*time.Second, func() error {
			if !c.has("only here") {
				return fmt.Errorf("a local member waits during the outage")
			}
			return nil
		})
	}
	late := dial(t, a.public, "/ws/app_1234?token="+token(t, "late")) // joining goes on as well
	onA, everyone = append(onA, late), append(everyone, late)
	eventually(t, 2*time.Second, func() error {
		late.send(t, "late")
		for i, c := range onA {
			if !c.has("late") {
				return fmt.Errorf("member %d does not hear one that came during the outage", i)
			}
		}
		return nil
	})

	s.start(t)
	back := time.Now()
	meet(t, 5*time.Second, everyone...)
	t.Logf("messages flowed across nodes %v after NATS was back", time.Since(back).Round(time.Millisecond))
	for _, c := range onB {
		if c.has("only here") {
			t.Error("a message of the outage came across: at most once, and at once or never")
		}
	}
	forget(everyone...)
	for _, n := range []*node{a, b} {
		eventually(t, 5*time.Second, n.ready)
		if got := n.metric(t, "fairlead_bus_connected"); got != 1 {
			t.Errorf("fairlead_bus_connected is %v, NATS is back", got)
		}
		if got := n.metric(t, "fairlead_bus_subscriptions"); got != subscriptions {
			t.Errorf("%v subscriptions, there were %v before", got, subscriptions)
		}
	}
	sendAll(t, everyone, 200)
	wantAll(t, everyone, len(everyone), 200)
}

// TestNATSHangs stops NATS in its tracks: the connections to it stay, nothing comes back. Nobody on a node waits for it
// longer than a handshake may take.
func TestNATSHangs(t *testing.T) {
	s := startNATS(t)
	a, b := cluster(t, s)
	onA, onB := members(t, a, b, "app_1234", 2)
	everyone := slices.Concat(onA, onB)

	s.signal(t, syscall.SIGSTOP)
	for i := range 50 {
		text := fmt.Sprint("local ", i)
		onA[0].send(t, text)
		eventually(t, time.Second, func() error {
			if !onA[1].has(text) {
				return fmt.Errorf("a local member waits for %q", text)
			}
			return nil
		})
	}
	begin := time.Now()
	everyone = append(everyone, dial(t, a.public, "/ws/app_1234?token="+token(t, "known group")))
	dial(t, a.public, "/ws/app_5678?token="+token(t, "new group"))
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("two handshakes took %v", took)
	}
	eventually(t, 15*time.Second, func() error { return a.notReady("bus") })

	s.signal(t, syscall.SIGCONT)
	meet(t, 10*time.Second, everyone...)
	eventually(t, 5*time.Second, a.ready)
	forget(everyone...)
	sendAll(t, everyone, 100)
	wantAll(t, everyone, len(everyone), 100)
}
