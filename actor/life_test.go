package actor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

func TestEcho(t *testing.T) { onAllWirings(t, testEcho) }

func testEcho(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	c := n.connect(Birth{Handler: Echo})
	for _, payload := range []string{"", "hello", "€", strings.Repeat("x", 125), strings.Repeat("y", 126), strings.Repeat("z", 64<<10)} {
		c.send(text, payload)
		c.want(text, payload)
		c.send(bin, payload+"\xff"[:min(1, (64<<10)-len(payload))])
		c.want(bin, payload+"\xff"[:min(1, (64<<10)-len(payload))])
	}
}

// A message reaches each member of each of the sender's groups once for each group, the sender included, in order.
func TestBroadcast(t *testing.T) { onAllWirings(t, testBroadcast) }

func testBroadcast(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	red, blue, other := mustGroup(t, "red"), mustGroup(t, "blue"), mustGroup(t, "other")
	both := n.connect(Birth{Handler: Broadcast, Groups: []session.Group{red, blue}})
	inRed := n.connect(Birth{Handler: Broadcast, Groups: []session.Group{red}})
	inBlue := n.connect(Birth{Handler: Broadcast, Groups: []session.Group{blue}})
	outside := n.connect(Birth{Handler: Broadcast, Groups: []session.Group{other}})
	none := n.connect(Birth{Handler: Broadcast})

	for i := range 100 {
		inRed.send(text, fmt.Sprint("red ", i))
		inBlue.send(bin, fmt.Sprint("blue ", i))
	}
	for i := range 100 {
		inRed.want(text, fmt.Sprint("red ", i))
		inBlue.want(bin, fmt.Sprint("blue ", i))
	}
	heard := make(map[byte][]string)
	for range 200 {
		b0, payload, err := both.next()
		if err != nil {
			t.Fatal(err)
		}
		heard[b0] = append(heard[b0], payload)
	}
	for i := range 100 {
		if heard[text][i] != fmt.Sprint("red ", i) || heard[bin][i] != fmt.Sprint("blue ", i) {
			t.Fatalf("the member of both groups heard %q and %q as number %d", heard[text][i], heard[bin][i], i)
		}
	}
	both.send(text, "twice")
	both.want(text, "twice")
	both.want(text, "twice")
	none.send(text, "into the void")
	outside.send(text, "to myself")
	outside.want(text, "to myself") // and nothing of the others before
}

func TestIgnore(t *testing.T) { onAllWirings(t, testIgnore) }

func testIgnore(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	g := mustGroup(t, "g")
	c := n.connect(Birth{Handler: Ignore, Groups: []session.Group{g}})
	c.send(text, "nobody hears this")
	c.send(ping, "1")
	c.want(pong, "1")
	if err := n.bus.Publish(bus.Message{Group: g, Payload: []byte("it listens")}, nil); err != nil {
		t.Fatal(err)
	}
	c.want(text, "it listens")
	if v := n.value("fairlead_messages_received_total", ""); v != 1 {
		t.Errorf("messages_received = %v, want 1", v)
	}
}

// A ping is answered at once, also in the middle of a message.
func TestPingInAMessage(t *testing.T) { onAllWirings(t, testPingInAMessage) }

func testPingInAMessage(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	c := n.connect(Birth{Handler: Echo})
	c.send(begin, "one ")
	c.send(ping, "1")
	c.want(pong, "1")
	c.write(frames(masked(contBegin, "message "), masked(ping, "2"), masked(contin, "of three")[:6]))
	c.want(pong, "2")
	c.write(masked(contin, "of three")[6:])
	c.want(text, "one message of three")
}

// The greeting is the first frame, before what the handler and the groups send meanwhile.
func TestGreet(t *testing.T) { onAllWirings(t, testGreet) }

func testGreet(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	g := mustGroup(t, "g")
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, tc := range []struct {
		identity *session.Identity
		want     string
	}{
		{
			&session.Identity{Subject: "7", Name: `zoë "<z>"`, Source: "jwt", Expires: expires},
			fmt.Sprintf(`{"subject":"7","name":"zoë \"\u003cz\u003e\"","source":"jwt","anonymous":false,"expires":%q}`, expires.UTC().Format(time.RFC3339)),
		},
		{session.Anonymous(), `{"subject":"","name":"","source":"anonymous","anonymous":true,"expires":null}`},
	} {
		handler := script{open: func(a *Actor) {
			if err := n.bus.Publish(bus.Message{Group: g, Payload: []byte("group")}, nil); err != nil {
				t.Error(err)
			}
			a.Send(Message{Payload: []byte("handler")})
		}}
		c := n.connect(Birth{Identity: tc.identity, Greet: true, Handler: handler, Groups: []session.Group{g}})
		c.want(text, tc.want)
		if !json.Valid([]byte(tc.want)) {
			t.Errorf("not JSON: %s", tc.want)
		}
		var got []string // the bus delivers on a goroutine of its own
		for range 2 {
			_, payload, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, payload)
		}
		if slices.Sort(got); !slices.Equal(got, []string{"group", "handler"}) {
			t.Errorf("then came %q", got)
		}
		c.send(closeBit, "")
		c.want(closeBit, "")
		c.wantEOF()
		n.drained()
	}
}

// What came behind the request is the begin of the client's frames.
func TestPending(t *testing.T) { onWirings(t, testPending) }

func testPending(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	big := strings.Repeat("big", 10_000)
	for name, tc := range map[string]struct {
		pending, rest []byte
		want          []string
	}{
		"a message":                    {masked(text, "a"), nil, []string{"a"}},
		"several messages":             {frames(masked(text, "a"), masked(text, "b"), masked(begin, "c"), masked(contin, "d")), nil, []string{"a", "b", "cd"}},
		"a message and a half":         {frames(masked(text, "a"), masked(text, "bcd")[:8]), masked(text, "bcd")[8:], []string{"a", "bcd"}},
		"one byte":                     {masked(text, "a")[:1], masked(text, "a")[1:], []string{"a"}},
		"a fragment":                   {masked(begin, "a"), masked(contin, "b"), []string{"ab"}},
		"more than a buffer":           {masked(text, big), nil, []string{big}},
		"a message, and half a header": {frames(masked(text, "a"), masked(text, big)[:3]), masked(text, big)[3:], []string{"a", big}},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.connect(Birth{Handler: Echo, Pending: slices.Clone(tc.pending)})
			c.write(tc.rest)
			for _, want := range tc.want {
				c.want(text, want)
			}
			c.send(closeBit, code(1000, ""))
			c.wantClose(1000)
		})
	}
	t.Run("a close frame", func(t *testing.T) {
		c := n.connect(Birth{Handler: Echo, Pending: frames(masked(text, "a"), masked(closeBit, code(1001, "")), masked(text, "never"))})
		c.want(text, "a")
		c.wantClose(1001)
	})
	t.Run("a fault", func(t *testing.T) {
		c := n.connect(Birth{Handler: Echo, Pending: frames(masked(text, "a"), []byte{text, 0}, masked(text, "never"))})
		c.want(text, "a")
		c.wantClose(1002)
	})
}

// What is borrowed in a Birth may be overwritten as soon as Open has returned.
func TestBorrowed(t *testing.T) { onAllWirings(t, testBorrowed) }

func testBorrowed(t *testing.T, w wiring) {
	n := w.newNode(t, Config{OutboxBytes: 8 << 20})
	ours, theirs := n.ends()
	defer theirs.Close()
	long := []byte(strings.Repeat("r", 6<<20) + "\n") // more than the socket takes
	pending := masked(text, "pending")
	if err := n.Open(t.Context(), ours, Birth{Identity: session.Anonymous(), Handler: Echo, Response: long, Pending: pending}); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{long, pending} {
		for i := range b {
			b[i] = '!'
		}
	}
	theirs.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(long)+2+len("pending"))
	if _, err := io.ReadFull(theirs, got); err != nil {
		t.Fatal(err)
	}
	if s := string(got[len(long)-1:]); s != "\n\x81\x07pending" || strings.Count(string(got), "r") != len(long)-1 {
		t.Errorf("the response was overwritten; it ends with %q", s)
	}
}

// The journal has the life of a session, and its fold is what the actor was.
func TestJournal(t *testing.T) { onWirings(t, testJournal) }

func testJournal(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	red, blue, green := mustGroup(t, "red"), mustGroup(t, "blue"), mustGroup(t, "green")
	var last session.State
	handler := script{
		message: func(a *Actor, m Message) {
			switch string(m.Payload) {
			case "join":
				if err := a.Join(green, nil); err != nil {
					t.Error(err)
				}
			case "leave":
				a.Leave(red)
			}
			a.Send(m)
			last = a.State()
		},
	}
	alice := &session.Identity{Subject: "1", Name: "alice", Source: "test"}
	before := time.Now()
	c := n.connect(Birth{Identity: alice, Route: "/ws/{group}", Handler: handler, Groups: []session.Group{red, blue, red}})
	for _, m := range []string{"join", "leave"} {
		c.send(text, m)
		c.want(text, m)
	}
	c.send(closeBit, code(CloseGoingAway, "a tab was closed"))
	c.wantClose(CloseGoingAway)
	end := n.closing(c)
	if want := (session.Closed{
		Code: 1001, Reason: "closed by the peer", MessagesReceived: 2, BytesReceived: 9, MessagesSent: 2, BytesSent: 2 + 4 + 2 + 5,
	}); end != want {
		t.Errorf("closed = %+v, want %+v", end, want)
	}
	records := n.events(c.actor.ID())
	if len(records) != 4 {
		t.Fatalf("%d events, want 4", len(records))
	}
	opened := records[0].Event.(session.Opened)
	if opened.Identity.Subject != "1" || opened.Route != "/ws/{group}" || opened.Protocol != "raw" || opened.Remote.String() != "192.0.2.0/24" {
		t.Errorf("opened = %+v", opened)
	}
	if records[1].Event != (session.Joined{Group: green}) || records[2].Event != (session.Left{Group: red}) {
		t.Errorf("then %v and %v", records[1].Event, records[2].Event)
	}
	if state := session.Fold(slices.Values(records[:3])); !slices.Equal(state.Groups, []session.Group{blue, green}) ||
		!slices.Equal(state.Groups, last.Groups) || state.Seq != last.Seq || last.Identity != alice {
		t.Errorf("the fold is %+v, the actor's state was %+v", state, last)
	}
	if state := session.Fold(slices.Values(records)); state.Phase != session.PhaseClosed || state.Code != 1001 || len(state.Groups) != 0 {
		t.Errorf("the fold ends with %+v", state)
	}
	for _, r := range records {
		if r.Time.Before(before.Truncate(0)) || r.Time.After(time.Now()) {
			t.Errorf("event %d is of %v", r.Seq, r.Time)
		}
	}
}

// A connection that just ends is 1006, whoever ended it and whatever was half read.
func TestLost(t *testing.T) { onAllWirings(t, testLost) }

func testLost(t *testing.T, w wiring) {
	n := w.newNode(t, Config{})
	for name, tc := range map[string]struct {
		sent   []byte
		end    func(*net.TCPConn)
		reason string
	}{
		"a FIN":                  {nil, closeConnection, "the peer ended the connection without a close frame"},
		"a FIN of one half":      {nil, func(c *net.TCPConn) { c.CloseWrite() }, "the peer ended the connection without a close frame"},
		"a FIN in a header":      {masked(text, "abc")[:3], closeConnection, "the peer ended the connection without a close frame"},
		"a FIN in a payload":     {masked(text, "abc")[:7], closeConnection, "the peer ended the connection without a close frame"},
		"a FIN in fragments":     {masked(begin, "abc"), closeConnection, "the peer ended the connection without a close frame"},
		"a FIN behind a message": {masked(text, "abc"), func(c *net.TCPConn) { c.CloseWrite() }, "the peer ended the connection without a close frame"},
		"a RST":                  {nil, func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, "the connection was lost"},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.connect(Birth{Handler: Echo})
			c.write(tc.sent)
			tc.end(c.tcp())
			if got, want := c.ended(), (Closure{Code: CloseAbnormal, Reason: tc.reason, ByPeer: true}); got != want {
				t.Errorf("the handler was told %+v, want %+v", got, want)
			}
			n.wantClosed(c, CloseAbnormal, tc.reason)
		})
	}
}

func closeConnection(c *net.TCPConn) { c.Close() }

// brokenJournal refuses appends while it is broken.
type brokenJournal struct {
	Journal
	err error
}

func (j *brokenJournal) Append(ctx context.Context, records ...session.Record) error {
	if j.err != nil {
		return j.err
	}
	return j.Journal.Append(ctx, records...)
}

// When Open returns an error, the connection is the caller's as before, and nothing is left of it.
func TestOpenRefuses(t *testing.T) { onWirings(t, testOpenRefuses) }

func testOpenRefuses(t *testing.T, w wiring) {
	broken := &brokenJournal{}
	n := w.newNode(t, Config{Limits: Limits{Connections: 2}, Journal: broken})
	broken.Journal = n.journal
	g := mustGroup(t, "g")
	birth := Birth{Identity: session.Anonymous(), Handler: Echo, Groups: []session.Group{g}, Response: []byte(response)}
	refused := func(ctx context.Context, b Birth, want error) {
		t.Helper()
		ours, theirs := n.ends()
		defer theirs.Close()
		if err := n.Open(ctx, ours, b); err == nil || want != nil && !errors.Is(err, want) {
			t.Fatalf("Open = %v, want %v", err, want)
		}
		// The caller answers, and the client's words are still there.
		if _, err := theirs.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		ours.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(ours, got); err != nil || string(got) != "hello" {
			t.Errorf("the caller reads %q, %v", got, err)
		}
		if _, err := ours.Write([]byte("no")); err != nil {
			t.Error(err)
		}
		ours.Close()
		if got, err := io.ReadAll(theirs); err != nil || string(got) != "no" {
			t.Errorf("the client reads %q, %v", got, err)
		}
	}
	refused(t.Context(), Birth{Handler: Echo}, nil)
	refused(t.Context(), Birth{Identity: session.Anonymous()}, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	refused(ended, birth, context.Canceled)
	broken.err = errors.New("no space left")
	refused(t.Context(), birth, ErrUnavailable)
	refused(t.Context(), birth, broken.err)
	if v := n.value("fairlead_events_unrecorded_total", ""); v != 3 {
		t.Errorf("events_unrecorded = %v, want 3", v)
	}
	broken.err = nil
	if n.Len() != 0 || n.value("fairlead_groups", "") != 0 {
		t.Errorf("%d connections and %v groups are left", n.Len(), n.value("fairlead_groups", ""))
	}
	first := n.connect(birth)
	n.connect(birth)
	refused(t.Context(), birth, ErrFull)
	first.Close()
	eventually(t, "there is room again", func() bool { return n.Len() == 1 })
	n.connect(birth)
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	refused(t.Context(), birth, ErrDraining)
}
