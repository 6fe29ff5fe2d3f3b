package actor

import (
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// until4401 reads until the credential has ended, answers the pings before that, and returns when it was.
func (c *client) until4401() time.Time {
	c.t.Helper()
	for {
		b0, payload, err := c.next()
		switch {
		case err != nil:
			c.t.Fatalf("no close came: %v", err)
		case b0 == ping:
			_, _ = c.Write(masked(pong, ""))
			continue
		case payload != code(CloseUnauthenticated, "the credential has expired"):
			c.t.Fatalf("got %#x %q", b0, payload)
		}
		at := time.Now()
		_, _ = c.Write(masked(closeBit, code(CloseUnauthenticated, "")))
		if _, _, err := c.next(); !errors.Is(err, io.EOF) {
			c.t.Errorf("the end is %v", err)
		}
		c.Conn.Close()
		return at
	}
}

// A connection ends when its credential does, as it was said last: later, sooner, never, and some time after all.
func TestExtend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{})
		begin := time.Now()
		identity := func(after time.Duration) *session.Identity {
			id := &session.Identity{Subject: "1", Source: "test"}
			if after > 0 {
				id.Expires = begin.Add(after)
			}
			return id
		}
		for _, tt := range []struct {
			name   string
			first  time.Duration // 0: never
			extend []time.Duration
			ends   time.Duration
		}{
			{"later", time.Minute, []time.Duration{10 * time.Minute}, 10 * time.Minute},
			{"sooner than it is looked at", 10 * time.Minute, []time.Duration{8 * time.Second}, 8 * time.Second},
			{"later and later", time.Minute, []time.Duration{2 * time.Minute, 3 * time.Minute, 20 * time.Minute}, 20 * time.Minute},
			{"never, and then after all", time.Minute, []time.Duration{0, 7 * time.Minute}, 7 * time.Minute},
			{"not before it was said", 0, []time.Duration{9 * time.Minute}, 9 * time.Minute},
			{"in the past", 0, []time.Duration{time.Nanosecond}, 5 * time.Second},
			{"the same", time.Minute, []time.Duration{time.Minute, time.Minute}, time.Minute},
		} {
			begin = time.Now()
			c := n.connectPipe(Birth{Identity: identity(tt.first)})
			time.Sleep(5 * time.Second)
			for _, after := range tt.extend {
				if !c.actor.Extend(identity(after).Expires) {
					t.Errorf("%s: Extend does nothing", tt.name)
				}
			}
			at := c.until4401()
			if late := at.Sub(begin.Add(tt.ends)); late < 0 || late > time.Second {
				t.Errorf("%s: closed after %v, want %v", tt.name, at.Sub(begin), tt.ends)
			}
			if n.closing(c); c.actor.Extend(begin.Add(time.Hour)) {
				t.Errorf("%s: a connection that has ended is extended", tt.name)
			}
			var got []time.Time
			records := n.events(c.actor.ID())
			for _, r := range records {
				if e, ok := r.Event.(session.Refreshed); ok {
					got = append(got, e.Expires)
				}
			}
			var want []time.Time
			last := tt.first
			for _, after := range tt.extend {
				if after != last {
					want = append(want, identity(after).Expires)
				}
				last = after
			}
			if !slices.EqualFunc(got, want, time.Time.Equal) {
				t.Errorf("%s: refreshed until %v, want %v", tt.name, got, want)
			}
			if s := session.Fold(slices.Values(records)); !s.Identity.Expires.Equal(identity(last).Expires) || s.Code != 4401 {
				t.Errorf("%s: the fold is %+v", tt.name, s)
			}
		}
	})
}

// What is listed and announced of a session has the end that its credential has by now, and the identity of its opening stays.
func TestExtendShows(t *testing.T) {
	n := newNode(t, Config{})
	first, then := time.Now().Add(time.Hour).UTC(), time.Now().Add(2*time.Hour).UTC()
	who := &session.Identity{Subject: "1", Source: "test", Expires: first}
	c := n.connect(Birth{Identity: who})
	c.actor.Extend(then)
	info, ok := n.Session(t.Context(), c.actor.number)
	if !ok || !info.Identity.Expires.Equal(then) {
		t.Errorf("the session is listed as %+v", info.Identity)
	}
	for r := range n.Announce() {
		if e, ok := r.Event.(session.Opened); !ok || !e.Identity.Expires.Equal(then) || r.Seq != 2 {
			t.Errorf("the session is announced as %+v", r)
		}
	}
	if !who.Expires.Equal(first) || c.actor.Identity() != who {
		t.Error("the identity of the opening was changed")
	}
}

// A close that is on its way is not taken back.
func TestExtendIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{})
		c := n.connectPipe(Birth{Identity: &session.Identity{Subject: "1", Source: "test", Expires: time.Now().Add(time.Second)}})
		if b0, payload, err := c.next(); err != nil || payload != code(CloseUnauthenticated, "the credential has expired") {
			t.Fatalf("got %#x %q, %v", b0, payload, err)
		}
		c.actor.Extend(time.Now().Add(time.Hour))
		synctest.Wait()
		_, _ = c.Write(masked(closeBit, code(CloseUnauthenticated, "")))
		c.wantEOF()
		c.Conn.Close()
		n.closing(c)
		for _, r := range n.events(c.actor.ID()) {
			if r.Event.Kind() == session.KindRefreshed {
				t.Error("a session that is closing was refreshed")
			}
		}
	})
}
