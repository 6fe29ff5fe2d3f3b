package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
	"github.com/fairlead-ws/fairlead/session/journal/journaltest"
)

// contract runs the suite with a stream of its own for each test.
func contract(t *testing.T, c journal.JetStreamConfig) {
	n := 0
	journaltest.Run(t, func(t *testing.T) journaltest.Journal {
		n++
		c.Cluster = fmt.Sprintf("c%d", n)
		j := start(t, c)
		if err := j.Healthy(); err != nil {
			t.Fatal(err)
		}
		return j
	})
}

// inProcess connects to a server without a network, as a node with an embedded server does.
func inProcess(t *testing.T, memory bool) journal.JetStreamConfig {
	o := options(t, 0)
	o.DontListen = true
	s, _ := runServer(t, o)
	return journal.JetStreamConfig{Conn: connect(t, "", nats.InProcessServer(s)), Memory: memory}
}

func TestJetStreamEmbeddedMemory(t *testing.T) { contract(t, inProcess(t, true)) }

func TestJetStreamEmbeddedFile(t *testing.T) { contract(t, inProcess(t, false)) }

func TestJetStreamRequire(t *testing.T) {
	c := inProcess(t, false)
	c.Mode = journal.Require
	contract(t, c)
}

func TestJetStreamExternal(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	contract(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL())})
}

func TestJetStreamReplicated(t *testing.T) {
	servers := runCluster(t)
	contract(t, journal.JetStreamConfig{Conn: connect(t, servers[0].ClientURL()), Replicas: 3})
}

func TestNewJetStreamRefuses(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	nc := connect(t, s.ClientURL())
	good := journal.JetStreamConfig{Conn: nc, Cluster: "c", Epoch: session.Epoch{1}}
	for name, change := range map[string]func(*journal.JetStreamConfig){
		"no connection":      func(c *journal.JetStreamConfig) { c.Conn = nil },
		"no cluster":         func(c *journal.JetStreamConfig) { c.Cluster = "" },
		"cluster of two":     func(c *journal.JetStreamConfig) { c.Cluster = "a.b" },
		"wildcard":           func(c *journal.JetStreamConfig) { c.Cluster = "*" },
		"no epoch":           func(c *journal.JetStreamConfig) { c.Epoch = session.Epoch{} },
		"two replicas":       func(c *journal.JetStreamConfig) { c.Replicas = 2 },
		"negative buffer":    func(c *journal.JetStreamConfig) { c.BufferBytes = -1 },
		"negative retention": func(c *journal.JetStreamConfig) { c.Retention = -1 },
		"negative bound":     func(c *journal.JetStreamConfig) { c.MaxBytes = -1 },
	} {
		c := good
		change(&c)
		if j, err := journal.NewJetStream(t.Context(), c); err == nil {
			t.Errorf("%s: accepted", name)
			j.Close()
		}
	}
}

// Two nodes share the log, and read each other's epochs.
func TestJetStreamIsShared(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	a := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL()), Epoch: session.Epoch{1}})
	b := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL()), Epoch: session.Epoch{2}})
	a.append(t, a.opened(1), a.opened(2))
	b.append(t, b.opened(1))
	if err := a.Seal(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	if got := b.all(t); len(got) != 1 {
		t.Errorf("its own epoch has %d records, want 1", len(got))
	}
	b.epoch = a.epoch
	got := b.all(t)
	if len(got) != 3 || len(events[session.NodeSealed](got)) != 1 {
		t.Errorf("the other's epoch is %+v, want two openings and a seal", got)
	}
}

// A journal that is opened again goes on behind what is there.
func TestJetStreamGoesOn(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	first := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL())})
	first.append(t, first.opened(1))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL())})
	second.append(t, second.opened(2))
	if got := second.all(t); len(got) != 2 || len(events[session.Gap](got)) != 0 {
		t.Errorf("the epoch is %+v, want two openings", got)
	}
}

func TestJetStreamSeal(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	n := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL())})
	n.append(t, n.opened(1))
	if err := n.Seal(t.Context(), "the node stopped"); err != nil {
		t.Fatal(err)
	}
	if err := n.Append(t.Context(), n.opened(2)); !errors.Is(err, journal.ErrSealed) {
		t.Errorf("an append behind the seal: %v, want ErrSealed", err)
	}
	if err := n.Seal(t.Context(), "again"); !errors.Is(err, journal.ErrSealed) {
		t.Errorf("a second seal: %v, want ErrSealed", err)
	}
	got := n.all(t)
	if seals := events[session.NodeSealed](got); len(got) != 2 || len(seals) != 1 || seals[0].Reason != "the node stopped" {
		t.Errorf("the epoch is %+v, want an opening and a seal", got)
	}
}

// Records that come within a moment share a message.
func TestJetStreamGroupsCommits(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	n := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL())})
	for i := range uint64(10_000) {
		n.append(t, n.opened(i+1))
	}
	eventually(t, "everything is written", func() bool { return n.value(t, "fairlead_journal_buffered_bytes", "") == 0 })
	if v := n.value(t, "fairlead_journal_appends_total", ""); v > 500 {
		t.Errorf("10,000 records came in %v messages", v)
	}
	if v := n.value(t, "fairlead_journal_records_total", "opened"); v != 10_000 {
		t.Errorf("records_total = %v, want 10000", v)
	}
	if got := n.all(t); len(got) != 10_000 {
		t.Errorf("read %d records", len(got))
	}
	for _, number := range []uint64{1, 2, 4999, 9999, 10_000} {
		var found []session.Record
		for r, err := range n.Session(t.Context(), n.id(number)) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, r)
		}
		if len(found) != 1 || found[0].Session.Number != number {
			t.Errorf("session %d: %+v", number, found)
		}
	}
}

// A session is found at any place of the epoch, however its records are spread over the messages.
func TestJetStreamFindsSessions(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	n := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL())})
	const sessions = 60
	for i := range uint64(sessions) {
		n.append(t, n.opened(i+1), session.Record{Session: n.id(0), Event: session.Refused{Count: 1}})
		if i%7 == 0 {
			n.all(t) // ends the message
		}
		if i >= 10 {
			n.append(t, n.closed(i+1-10, 2))
		}
	}
	for i := range uint64(sessions) {
		var found []session.Record
		for r, err := range n.Session(t.Context(), n.id(i+1)) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, r)
		}
		want := 2
		if i >= sessions-10 {
			want = 1
		}
		if len(found) != want {
			t.Errorf("session %d has %d records, want %d: %+v", i+1, len(found), want, found)
		}
	}
}

func TestJetStreamRefusesAppends(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	n := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL())})
	other := n.opened(1)
	other.Session.Epoch = session.Epoch{9}
	if err := n.Append(t.Context(), n.opened(1), other); !errors.Is(err, session.ErrRecord) {
		t.Errorf("records of two epochs: %v, want ErrRecord", err)
	}
	large := n.opened(1)
	large.Event = session.Unknown{Name: "large", Data: fmt.Appendf(nil, `{"x":"%0600000d"}`, 0)}
	if err := n.Append(t.Context(), large); !errors.Is(err, session.ErrRecord) {
		t.Errorf("a large record: %v, want ErrRecord", err)
	}
	large.Event = session.Unknown{Name: "large", Data: fmt.Appendf(nil, `{"x":"%0500000d"}`, 0)}
	n.append(t, n.opened(1), large, n.opened(2))
	n.append(t, n.opened(3))
	if got := n.all(t); len(got) != 4 {
		t.Errorf("read %d records, want 4", len(got))
	}
}

// A stream that is there becomes what is configured, and a store that differs stays.
func TestJetStreamAdjusts(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	nc := connect(t, s.ClientURL())
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	first := start(t, journal.JetStreamConfig{Conn: nc})
	first.append(t, first.opened(1))
	first.all(t)
	second := start(t, journal.JetStreamConfig{Conn: nc, Epoch: session.Epoch{7}, Memory: true, MaxBytes: 1 << 20})
	second.append(t, second.opened(1))
	if got := second.all(t); len(got) != 1 {
		t.Errorf("read %d records, want 1", len(got))
	}
	stream, err := js.Stream(t.Context(), "FL_test_journal")
	if err != nil {
		t.Fatal(err)
	}
	if c := stream.CachedInfo().Config; c.MaxBytes != 1<<20 || c.Storage != jetstream.FileStorage || c.AllowDirect {
		t.Errorf("the stream is %+v", c)
	}
	if got := first.all(t); len(got) != 1 || len(events[session.Gap](got)) != 0 {
		t.Errorf("the first epoch is %+v, want one opening", got)
	}
}

// Epochs are purged when they have ended for long, and no other.
func TestJetStreamPurges(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	nc := connect(t, s.ClientURL())
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	const retention = 2 * time.Second
	dead := start(t, journal.JetStreamConfig{Conn: nc, Epoch: session.Epoch{1}}) // never sealed, and no longer there
	dead.append(t, dead.opened(1))
	dead.Close()
	ended := start(t, journal.JetStreamConfig{Conn: nc, Epoch: session.Epoch{2}})
	ended.append(t, ended.opened(1))
	if err := ended.Seal(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	ended.Close()
	began := time.Now()
	live := start(t, journal.JetStreamConfig{Conn: nc, Epoch: session.Epoch{3}, Retention: retention})
	live.append(t, live.opened(1))

	stream, err := js.Stream(t.Context(), "FL_test_journal")
	if err != nil {
		t.Fatal(err)
	}
	// A later version's way to write a message does not keep an epoch for ever.
	later := session.Epoch{5}
	unread := &nats.Msg{Subject: "fl.test.j." + later.String(), Data: []byte("?"), Header: nats.Header{"Fairlead-Encoding": {"later"}}}
	if _, err := js.PublishMsg(t.Context(), unread); err != nil {
		t.Fatal(err)
	}
	left := func() map[session.Epoch]bool {
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("fl.test.j.*"))
		if err != nil {
			t.Fatal(err)
		}
		m := map[session.Epoch]bool{}
		for subject := range info.State.Subjects {
			e, err := session.ParseEpoch(subject[len("fl.test.j."):])
			if err != nil {
				t.Fatal(err)
			}
			m[e] = true
		}
		return m
	}
	eventually(t, "the sealed epoch is purged", func() bool { return !left()[ended.epoch] })
	if d := time.Since(began); d < retention-500*time.Millisecond || !left()[dead.epoch] {
		t.Errorf("%v after the seal the epochs %v are left, want the one without a seal to stay longer", d, left())
	}
	eventually(t, "the epoch without a node is purged", func() bool { return !left()[dead.epoch] })
	if d := time.Since(began); d < 2*retention-500*time.Millisecond {
		t.Errorf("the epoch without a seal was purged after %v", d)
	}
	eventually(t, "the epoch that cannot be read is purged", func() bool { return !left()[later] })
	eventually(t, "all are counted", func() bool { return live.value(t, "fairlead_journal_purged_total", "") == 3 })
	// A node that lives and is silent writes a sign of life, which is no record.
	other := start(t, journal.JetStreamConfig{Conn: nc, Epoch: session.Epoch{4}, Retention: retention})
	eventually(t, "there are signs of life", func() bool { return live.value(t, "fairlead_journal_appends_total", "") > 8 })
	if v := other.value(t, "fairlead_journal_purged_total", ""); v != 0 {
		t.Errorf("another node purged %v epochs", v)
	}
	if !left()[live.epoch] || len(live.all(t)) != 1 {
		t.Error("the live epoch was purged")
	}
}

// Without JetStream the journal is away, and says what to do.
func TestJetStreamIsOff(t *testing.T) {
	o := options(t, -1)
	o.JetStream = false
	s, _ := runServer(t, o)
	n := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL())})
	err := n.Healthy()
	if !errors.Is(err, journal.ErrUnavailable) {
		t.Fatalf("Healthy = %v", err)
	}
	n.append(t, n.opened(1))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, err := range n.Epoch(ctx, n.epoch) {
		if !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("Epoch: %v, want ErrUnavailable", err)
		}
	}
	if err := n.Seal(ctx, "x"); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Seal: %v, want ErrUnavailable", err)
	}
	if err := n.Append(ctx, n.opened(2)); !errors.Is(err, journal.ErrSealed) {
		t.Errorf("an append behind a seal that could not be written: %v, want ErrSealed", err)
	}
}

func TestJetStreamReplicasOfOneServer(t *testing.T) {
	s, _ := runServer(t, options(t, -1))
	n := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL()), Replicas: 3})
	if err := n.Healthy(); !errors.Is(err, journal.ErrUnavailable) || !strings.Contains(err.Error(), "journal.replicas") {
		t.Errorf("Healthy = %v, want one that names journal.replicas", err)
	}
}

// What docs/config.md says that the NATS user may is enough.
func TestJetStreamPermissions(t *testing.T) {
	o := options(t, -1)
	o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"fl.test.>", "$JS.API.>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"fl.test.>", "_INBOX.>"}},
	}}}
	s, _ := runServer(t, o)
	n := start(t, journal.JetStreamConfig{Conn: connect(t, s.ClientURL(), nats.UserInfo("u", "p"))})
	n.append(t, n.opened(1))
	if got := n.all(t); len(got) != 1 {
		t.Errorf("read %d records, want 1", len(got))
	}
}
