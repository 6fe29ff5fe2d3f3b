package actor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/session"
)

// at sends frame after frame, so many in a second, for ten seconds, and returns how many went out before the connection was
// closed.
func (c *client) at(perSecond float64, frame []byte) (sent int) {
	c.t.Helper()
	start := time.Now()
	for {
		due := time.Duration(float64(sent) / perSecond * float64(time.Second))
		if due >= 10*time.Second {
			return sent
		}
		time.Sleep(due - time.Since(start))
		synctest.Wait()
		if c.shut() {
			return sent
		}
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		if _, err := c.Write(frame); err != nil {
			c.t.Fatal(err)
		}
		sent++
	}
}

// N per second is N per second over ten seconds: who keeps to it is heard for ever, and who is a twentieth above it is closed.
func TestRatesAreExact(t *testing.T) {
	text101 := masked(text, strings.Repeat("x", 101)) // 107 bytes
	for name, c := range map[string]struct {
		limits Limits
		frame  []byte
		exact  float64 // frames per second
		code   CloseCode
		scope  string
	}{
		"messages":           {Limits{MessagesPerSecond: 40}, masked(text, "hello"), 40, CloseRateLimited, "messages"},
		"a message a second": {Limits{MessagesPerSecond: 1}, masked(bin, ""), 1, CloseRateLimited, "messages"},
		"pings":              {Limits{MessagesPerSecond: 40}, masked(ping, ""), 40, CloseRateLimited, "messages"},
		"bytes":              {Limits{BytesPerSecond: 107 * 400}, text101, 400, CloseRateLimited, "bytes"},
		"bytes of fragments": {Limits{BytesPerSecond: 6 * 4000}, masked(contBegin, ""), 4000, CloseRateLimited, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			for over, ends := range map[float64]bool{1: false, 1.05: true} {
				synctest.Test(t, func(t *testing.T) {
					n := newNode(t, Config{Limits: c.limits, MessageBytes: 1000, PingInterval: time.Hour})
					client := n.connectPipe(Birth{Handler: Ignore})
					go func() { // pongs
						for {
							if _, _, err := client.next(); err != nil {
								return
							}
						}
					}()
					if c.frame[0] == contBegin {
						client.send(begin, "")
						time.Sleep(time.Second)
					}
					sent := client.at(c.exact*over, c.frame)
					synctest.Wait()
					if got := client.shut(); got != ends {
						t.Fatalf("at %v of the rate: closed is %v after %d", over, got, sent)
					}
					if limited := n.value("fairlead_limited_total", c.scope); (limited == 1) != ends {
						t.Errorf("limited %v times", limited)
					}
					client.Close()
					end := client.ended()
					if ends && (end.Code != c.code || !strings.Contains(end.Reason, "in a second")) {
						t.Errorf("it ended with %+v", end)
					}
				})
			}
		})
	}
}

// A burst comes through, and what is one too many is not heard. The client reads why it was closed.
func TestMessageBurst(t *testing.T) {
	n := newNode(t, Config{Limits: Limits{MessagesPerSecond: 1, MessageBurst: 5}})
	c := n.connect(Birth{Handler: Echo})
	for range 6 {
		c.send(text, "hello")
	}
	// The close frame goes out before the echoes that wait, if any do.
	for range 5 {
		b0, _, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if b0 == closeBit {
			t.Fatal("closed within the burst")
		}
	}
	if reason := c.wantClose(CloseRateLimited); !strings.Contains(reason, "messages") {
		t.Errorf("the reason is %q", reason)
	}
	n.wantClosed(c, CloseRateLimited, "too many messages in a second")
	if got := n.closing(c).MessagesReceived; got != 5 {
		t.Errorf("%d messages were received, want 5", got)
	}
}

// What comes with the handshake counts too.
func TestBytesOfTheHandshake(t *testing.T) {
	n := newNode(t, Config{Limits: Limits{BytesPerSecond: 1, ByteBurst: 1}, MessageBytes: 10})
	c := n.connect(Birth{Handler: Echo, Pending: append(masked(text, "hello"), make([]byte, frameRoom)...)})
	c.wantClose(CloseRateLimited)
	n.wantClosed(c, CloseRateLimited, "too many bytes in a second")
}

// A client that goes on sending although it was closed is cut off.
func TestLimitedClientIsCut(t *testing.T) {
	n := newNode(t, Config{Limits: Limits{MessagesPerSecond: 1}, CloseTimeout: time.Hour})
	c := n.connect(Birth{Handler: Ignore})
	frame := masked(bin, strings.Repeat("x", 4000))
	eventually(t, "it cannot send any more", func() bool {
		c.SetWriteDeadline(time.Now().Add(patience))
		for range 100 {
			if _, err := c.Write(frame); err != nil {
				return true
			}
		}
		return false
	})
	if end := c.ended(); end.Code != CloseRateLimited {
		t.Errorf("it ended with %+v", end)
	}
}

// Limits that are set count for connections that are open.
func TestSetLimits(t *testing.T) {
	n := newNode(t, Config{})
	c := n.connect(Birth{Handler: Echo})
	for range 100 {
		c.send(text, "x")
		c.want(text, "x")
	}
	if err := n.SetLimits(Limits{MessagesPerSecond: 1, PerUser: -1}); err == nil {
		t.Fatal("negative limits are set")
	}
	if got := n.Limits().MessagesPerSecond; got != 0 {
		t.Fatalf("limits that are wrong count: %d", got)
	}
	if err := n.SetLimits(Limits{MessagesPerSecond: 1}); err != nil {
		t.Fatal(err)
	}
	c.send(text, "x")
	c.want(text, "x")
	c.send(text, "x")
	c.wantClose(CloseRateLimited)
}

// Who was let send a lot by the limits before is not closed for it by new ones.
func TestSetLimitsAfterABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{Limits: Limits{MessagesPerSecond: 1, MessageBurst: 60}, PingInterval: time.Hour})
		c := n.connectPipe(Birth{Handler: Echo})
		for range 60 {
			c.send(text, "before")
			c.want(text, "before")
		}
		if err := n.SetLimits(Limits{MessagesPerSecond: 100}); err != nil {
			t.Fatal(err)
		}
		c.send(text, "after")
		c.want(text, "after")
	})
}

// someone is a birth of who has that subject, "" being nobody, from that address.
func someone(subject, address string) Birth {
	b := Birth{Identity: session.Anonymous(), Handler: Ignore, Response: []byte(response), Remote: netip.MustParseAddr(address)}
	if subject != "" {
		b.Identity = &session.Identity{Subject: subject, Source: "test"}
	}
	return b
}

// opens opens a connection, wants that to end with the error, and returns the client's end.
func (n *node) opens(b Birth, want error) net.Conn {
	n.t.Helper()
	ours, theirs := n.pair()
	n.t.Cleanup(func() { theirs.Close() })
	if err := n.Open(context.Background(), ours, b); !errors.Is(err, want) {
		n.t.Fatalf("Open = %v, want %v", err, want)
	} else if err != nil {
		ours.Close()
	}
	return theirs
}

// freed waits until there are so many connections.
func (n *node) freed(conn net.Conn, left int) {
	n.t.Helper()
	conn.Close()
	eventually(n.t, "a connection is gone", func() bool { return n.Len() == left })
}

func TestConnectionsPerUser(t *testing.T) {
	n := newNode(t, Config{Limits: Limits{PerUser: 2}})
	first := n.opens(someone("7", "192.0.2.1"), nil)
	n.opens(someone("7", "192.0.2.2"), nil)
	n.opens(someone("7", "192.0.2.3"), ErrUserFull)
	n.opens(someone("8", "192.0.2.1"), nil)
	for range 3 {
		n.opens(someone("", "192.0.2.1"), nil)
	}
	n.freed(first, 5)
	n.opens(someone("7", "192.0.2.1"), nil)
	n.opens(someone("7", "192.0.2.1"), ErrUserFull)
	if v := n.value("fairlead_limited_total", "user"); v != 2 {
		t.Errorf("limited %v times, want 2", v)
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	n := newNode(t, Config{Limits: Limits{PerAddress: 2}})
	first := n.opens(someone("1", "192.0.2.1"), nil)
	n.opens(someone("", "::ffff:192.0.2.1"), nil)
	n.opens(someone("3", "192.0.2.1"), ErrAddressFull)
	n.opens(someone("3", "192.0.2.2"), nil)
	n.opens(someone("", "2001:db8:1:1::1"), nil)
	n.opens(someone("", "2001:db8:1:1:2::"), nil)
	n.opens(someone("", "2001:db8:1:1:3::"), ErrAddressFull)
	n.opens(someone("", "2001:db8:1:2::"), nil)
	n.freed(first, 5)
	n.opens(someone("", "192.0.2.1"), nil)
	n.opens(someone("", "192.0.2.1"), ErrAddressFull)
	for range 3 { // what has no address
		b := someone("", "192.0.2.1")
		b.Remote = netip.Addr{}
		n.opens(b, nil)
	}
	if v := n.value("fairlead_limited_total", "address"); v != 3 {
		t.Errorf("limited %v times, want 3", v)
	}
}

// An opening that fails behind the count gives its places back, and nothing is left of those that have ended, whatever was
// set in between.
func TestCountsAreGivenBack(t *testing.T) {
	broken := &brokenJournal{}
	n := newNode(t, Config{Limits: Limits{Connections: 3, PerAddress: 1, PerUser: 1}, Journal: broken})
	broken.Journal = n.journal
	broken.err = errors.New("no space left")
	n.opens(someone("7", "192.0.2.1"), ErrUnavailable)
	broken.err = nil
	counted := n.opens(someone("7", "192.0.2.1"), nil)
	n.opens(someone("7", "192.0.2.2"), ErrUserFull)
	n.opens(someone("8", "192.0.2.1"), ErrAddressFull)

	if err := n.SetLimits(Limits{Connections: 3}); err != nil {
		t.Fatal(err)
	}
	free := n.opens(someone("7", "192.0.2.1"), nil)
	n.opens(someone("7", "192.0.2.1"), nil)
	n.opens(someone("9", "192.0.2.9"), ErrFull)
	if v := n.value("fairlead_limited_total", "node"); v != 1 {
		t.Errorf("limited %v times by the node, want 1", v)
	}
	if err := n.SetLimits(Limits{PerAddress: 1, PerUser: 1}); err != nil {
		t.Fatal(err)
	}
	n.opens(someone("7", "192.0.2.2"), ErrUserFull) // the one that was counted is there still
	n.freed(free, 2)
	n.opens(someone("7", "192.0.2.2"), ErrUserFull)
	n.freed(counted, 1)
	n.opens(someone("7", "192.0.2.2"), nil) // the third was never counted
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n.System.mu.Lock()
	defer n.System.mu.Unlock()
	if len(n.byAddress)+len(n.byUser) != 0 {
		t.Errorf("left are %v and %v", n.byAddress, n.byUser)
	}
}

func TestGroupsPerConnection(t *testing.T) {
	n := newNode(t, Config{Limits: Limits{GroupsPerConnection: 2}})
	a, b, c := mustGroup(t, "a"), mustGroup(t, "b"), mustGroup(t, "c")
	birth := someone("", "192.0.2.1")
	birth.Groups = []session.Group{a, b, c}
	n.opens(birth, ErrTooManyGroups)

	errs := make(chan error, 4)
	client := n.connect(Birth{Groups: []session.Group{a}, Handler: script{message: func(ac *Actor, _ Message) {
		errs <- ac.Join(b, nil)
		errs <- ac.Join(c, nil)
		ac.Leave(a)
		errs <- ac.Join(c, nil)
		errs <- ac.Join(a, nil)
	}}})
	client.send(text, "go")
	for i, want := range []error{nil, ErrTooManyGroups, nil, ErrTooManyGroups} {
		select {
		case err := <-errs:
			if !errors.Is(err, want) {
				t.Errorf("join %d: %v, want %v", i, err, want)
			}
		case <-time.After(patience):
			t.Fatal("the handler does not return")
		}
	}
	if v := n.value("fairlead_limited_total", "groups"); v != 3 {
		t.Errorf("limited %v times, want 3", v)
	}
}

// Without limits, an actor keeps nothing for them.
func TestNoQuotaWithoutLimits(t *testing.T) {
	n := newNode(t, Config{})
	c := n.connect(Birth{Identity: &session.Identity{Subject: "7"}, Handler: Echo})
	c.send(byte(finBit|ws.OpText), "x")
	c.want(text, "x")
	done := make(chan bool, 1)
	c.actor.Do(func(a *Actor) { done <- a.quota == nil })
	if !<-done {
		t.Error("it has a quota")
	}
}
