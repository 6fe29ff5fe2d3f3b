package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// withNATS is the environment of a node with that NATS.
func withNATS(t *testing.T, address string, more ...string) []string {
	return append([]string{
		"FAIRLEAD_NATS_URL=nats://" + address, "FAIRLEAD_NATS_USER=u",
		"FAIRLEAD_NATS_PASSWORD_FILE=" + writeFile(t, "password", "hidden\n"), "FAIRLEAD_NATS_CLUSTER=test",
	}, more...)
}

// readEpoch returns what the log has of a node, as another node reads it.
func readEpoch(t *testing.T, address string, epoch session.Epoch) (records []session.Record) {
	t.Helper()
	conn, err := bus.Dial(bus.NATSConfig{URL: "nats://" + address, User: "u", Password: "hidden"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	j, err := journal.NewJetStream(t.Context(), journal.JetStreamConfig{
		Conn: conn, Cluster: "test", Epoch: session.Epoch{1}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for r, err := range j.Epoch(ctx, epoch) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// epoch returns the epoch that a node says it has.
func (s *serving) epoch(t *testing.T) session.Epoch {
	t.Helper()
	for line := range strings.Lines(s.stderr.String()) {
		var l struct{ Msg, Epoch string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "serving" {
			e, err := session.ParseEpoch(l.Epoch)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
	}
	t.Fatalf("the node does not say its epoch:\n%s", s.stderr)
	return session.Epoch{}
}

func kinds(records []session.Record) (list []session.Kind) {
	for _, r := range records {
		list = append(list, r.Event.Kind())
	}
	return list
}

// A node that stops seals its epoch behind its last close.
func TestJournalIsSealed(t *testing.T) {
	nats := startStore(t, "127.0.0.1:0", t.TempDir())
	defer nats.Close(t.Context())
	address := strings.TrimPrefix(nats.URL(), "nats://")
	s := startServe(t, withNATS(t, address), "--config", writeFile(t, "fairlead.toml", anyone))
	c := dial(t, "ws://"+s.public+"/ws/g")
	c.send("x")
	c.want("x")
	epoch := s.epoch(t)
	s.stop()
	c.wantClosed(1012)
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	got := readEpoch(t, address, epoch)
	want := []session.Kind{
		session.KindNodeStarted, session.KindOpened, session.KindNodeDraining, session.KindClosed, session.KindNodeSealed,
	}
	if !slices.Equal(kinds(got), want) {
		t.Fatalf("the epoch has %v, want %v", kinds(got), want)
	}
	if seal, ok := got[4].Event.(session.NodeSealed); !ok || seal.Reason != "the node stopped" || got[4].Seq != 3 {
		t.Errorf("the seal is %+v", got[4])
	}
}

// With store_dir the journal outlives the process.
func TestJournalStays(t *testing.T) {
	dir, config := t.TempDir(), writeFile(t, "fairlead.toml", openConfig)
	env := []string{"FAIRLEAD_NATS_STORE_DIR=" + dir}
	first := startServe(t, env, "--config", config)
	c := dial(t, "ws://"+first.public+"/ws/g")
	c.send("x")
	c.want("x")
	id := session.ID{Epoch: first.epoch(t), Number: 1}
	first.stop()
	c.wantClosed(1012)
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	second := startServe(t, env, "--config", config)
	var got struct {
		Events []session.Record
	}
	second.must(t, "GET", "/api/v1/sessions/"+id.String()+"/events", "", &got)
	if want := []session.Kind{session.KindOpened, session.KindClosed}; !slices.Equal(kinds(got.Events), want) {
		t.Errorf("after the restart the session has %v, want %v", kinds(got.Events), want)
	}
}

// Where the log is required, nobody comes in without it, and the node is not ready; who is in stays.
func TestJournalIsRequired(t *testing.T) {
	dir := t.TempDir()
	nats := startStore(t, "127.0.0.1:0", dir)
	address := strings.TrimPrefix(nats.URL(), "nats://")
	s := startServe(t, withNATS(t, address, "FAIRLEAD_JOURNAL_MODE=require"), "--config", writeFile(t, "fairlead.toml", anyone))
	in := dial(t, "ws://"+s.public+"/ws/g")
	in.send("x")
	in.want("x")
	for round := range 2 {
		if err := nats.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { return s.ready(503) })
		eventually(t, func() error {
			if _, body, err := s.get("/readyz?verbose"); err != nil || !strings.Contains(body, "journal.mode is require") {
				return fmt.Errorf("/readyz: %s, %w", body, err)
			}
			return nil
		})
		if _, err := tryDial(t, "ws://"+s.public+"/ws/g", nil); !errors.Is(err, refused(503)) {
			t.Errorf("round %d: a new connection: %v, want 503", round, err)
		}
		in.send("alone")
		in.want("alone")
		nats = startStore(t, address, dir)
		eventually(t, func() error { return s.ready(200) })
		late := dial(t, "ws://"+s.public+"/ws/other")
		late.send("x")
		late.want("x")
	}
	defer nats.Close(t.Context())
	epoch := s.epoch(t)
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	opened := 0
	for _, r := range readEpoch(t, address, epoch) {
		switch r.Event.(type) {
		case session.Opened:
			opened++
		case session.Gap:
			t.Errorf("a gap without a loss: %+v", r)
		}
	}
	if opened != 3 {
		t.Errorf("the log has %d openings, want 3", opened)
	}
}

// A store that is lost is told from an outage: the sessions that are open are in the new one.
func TestJournalIsLost(t *testing.T) {
	nats := startNATS(t, "127.0.0.1:0")
	address := strings.TrimPrefix(nats.URL(), "nats://")
	s := startServe(t, withNATS(t, address), "--config", writeFile(t, "fairlead.toml", anyone))
	stays, goes := dial(t, "ws://"+s.public+"/ws/stays"), dial(t, "ws://"+s.public+"/ws/goes")
	stays.send("x")
	stays.want("x")
	goes.send("x")
	goes.want("x")
	epoch := s.epoch(t)
	eventually(t, func() error { // and they are written
		if got := readEpoch(t, address, epoch); len(got) < 3 {
			return fmt.Errorf("the log has %v", kinds(got))
		}
		return nil
	})
	if err := nats.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return s.ready(503) })
	goes.conn.Close()
	during := dial(t, "ws://"+s.public+"/ws/during")
	during.send("x")
	during.want("x")
	nats = startNATS(t, address) // with nothing in its store
	defer nats.Close(t.Context())
	open := map[uint64]session.State{}
	eventually(t, func() error {
		clear(open)
		gaps := 0
		for _, r := range readEpoch(t, address, epoch) {
			if e, ok := r.Event.(session.Gap); ok {
				gaps++
				if e.Reason != journal.GapStoreLost || e.Lost != 3 {
					t.Fatalf("the gap is %+v, want one of 3 records", e)
				}
			}
			open[r.Session.Number] = open[r.Session.Number].Apply(r)
		}
		for number, s := range open {
			if s.Phase != session.PhaseOpen {
				delete(open, number)
			}
		}
		if gaps != 1 || len(open) != 2 {
			return fmt.Errorf("%d gaps, %d sessions open", gaps, len(open))
		}
		return nil
	})
	if s := open[1]; s.Route != "/ws/{group}" || len(s.Groups) != 1 || s.Groups[0].String() != "stays" {
		t.Errorf("the session that stays is %+v", s)
	}
	if s := open[3]; len(s.Groups) != 1 || s.Groups[0].String() != "during" {
		t.Errorf("the session that came meanwhile is %+v", s)
	}
}

// Turned off, the journal is the node's own memory, and there is no JetStream.
func TestJournalIsOff(t *testing.T) {
	s := startServe(t, []string{"FAIRLEAD_JOURNAL_MODE=off"}, "--config", writeFile(t, "fairlead.toml", openConfig))
	c := dial(t, "ws://"+s.public+"/ws/g")
	c.send("x")
	c.want("x")
	_, body, err := s.get("/metrics")
	if err != nil || strings.Contains(body, "fairlead_journal_connected") || !strings.Contains(body, `fairlead_journal_records_total{kind="opened"} 1`) {
		t.Errorf("the metrics have no journal in memory (%v)", err)
	}
	var got struct {
		Events []session.Record
	}
	s.must(t, "GET", "/api/v1/sessions/"+s.epoch(t).String()+"-1/events", "", &got)
	if want := []session.Kind{session.KindOpened}; !slices.Equal(kinds(got.Events), want) {
		t.Errorf("the session has %v, want %v", kinds(got.Events), want)
	}
}

// A folder that is none is found at the start, with the key that names it.
func TestJournalHasNoFolder(t *testing.T) {
	file := writeFile(t, "file", "")
	got := fairlead(t, "", []string{"FAIRLEAD_NATS_STORE_DIR=" + file}, "serve",
		"--config", writeFile(t, "fairlead.toml", anyone), "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0")
	if got.code != exitFailed || !strings.Contains(got.stderr, "nats.store_dir") {
		t.Errorf("exit code %d, %q; want one that names nats.store_dir", got.code, got.stderr)
	}
}
