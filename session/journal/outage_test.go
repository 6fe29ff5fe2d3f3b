package journal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// A server that was killed and comes back finds everything that was appended meanwhile.
func TestServerIsKilledAndComesBack(t *testing.T) {
	t.Parallel()
	o := options(t, freePort(t))
	_, kill := runServer(t, o)
	s := startSessions(t, journal.JetStreamConfig{Conn: connect(t, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))})
	for number := range uint64(100) {
		s.opens(t, number+1)
	}
	s.agree(t)
	for round := range 3 {
		kill()
		eventually(t, "the journal notices", func() bool { return s.node.Healthy() != nil })
		if v := s.node.value(t, "fairlead_journal_connected", ""); v != 0 {
			t.Errorf("connected = %v while the server is away", v)
		}
		first := uint64(1000 * (round + 1))
		for number := first; number < first+200; number++ {
			s.opens(t, number)
			s.node.append(t, session.Record{Session: s.node.id(0), Event: session.Refused{Count: 1}})
			if number%2 == 0 {
				s.closes(t, number)
			}
		}
		if v := s.node.value(t, "fairlead_journal_buffered_bytes", ""); v == 0 {
			t.Error("nothing waits while the server is away")
		}
		_, kill = runServer(t, o)
		eventually(t, "the journal is back", func() bool { return s.node.Healthy() == nil })
		if gaps := events[session.Gap](s.agree(t)); len(gaps) > 0 {
			t.Errorf("gaps without a loss: %+v", gaps)
		}
	}
	if got := events[session.Refused](s.node.all(t)); len(got) != 600 {
		t.Errorf("%d records of the node, want 600", len(got))
	}
	if v := s.node.value(t, "fairlead_journal_dropped_total", ""); v != 0 {
		t.Errorf("dropped = %v", v)
	}
}

// A server that is there after the node is, too.
func TestServerIsLate(t *testing.T) {
	t.Parallel()
	o := options(t, freePort(t))
	s := startSessions(t, journal.JetStreamConfig{Conn: connect(t, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))})
	if err := s.node.Healthy(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Healthy without a server: %v", err)
	}
	s.opens(t, 1)
	runServer(t, o)
	eventually(t, "the journal is there", func() bool { return s.node.Healthy() == nil })
	if got := s.agree(t); len(got) != 1 {
		t.Errorf("the epoch is %+v, want one opening", got)
	}
}

// An acknowledgement that is lost is no message that is lost, and none that is there twice.
func TestAcknowledgementsAreLost(t *testing.T) {
	t.Parallel()
	for name, replicas := range map[string]int{"R1": 1, "R3": 3} {
		t.Run(name, func(t *testing.T) {
			var nats *server.Server
			if replicas == 3 {
				nats = runCluster(t)[0]
			} else {
				nats, _ = runServer(t, options(t, -1))
			}
			p := startProxy(t, nats.Addr())
			s := startSessions(t, journal.JetStreamConfig{Conn: connect(t, p.url()), Replicas: replicas})
			s.opens(t, 1)
			s.agree(t)
			for round := range uint64(2) {
				p.swallow.Store(true)
				before := p.swallowed.Load()
				for number := range uint64(50) {
					s.opens(t, 100*(round+1)+number)
					s.node.append(t, session.Record{Session: s.node.id(0), Event: session.Refused{Count: 1}})
				}
				eventually(t, "an acknowledgement is swallowed", func() bool { return p.swallowed.Load() > before })
				eventually(t, "the journal tries again", func() bool {
					return s.node.value(t, "fairlead_journal_retries_total", "") > float64(round)
				})
				p.swallow.Store(false)
				eventually(t, "the journal is there", func() bool { return s.node.Healthy() == nil })
				records := s.agree(t)
				if got, want := len(records), int(1+100*(round+1)); got != want {
					t.Errorf("the epoch has %d records, want %d: each once", got, want)
				}
				if gaps := events[session.Gap](records); len(gaps) > 0 {
					t.Errorf("gaps without a loss: %+v", gaps)
				}
			}
		})
	}
}

// A message that is tried again although the first attempt is in the log is refused by the stream, and found there.
func TestConnectionIsCutAtTheAcknowledgement(t *testing.T) {
	t.Parallel()
	nats, _ := runServer(t, options(t, -1))
	p := startProxy(t, nats.Addr())
	s := startSessions(t, journal.JetStreamConfig{Conn: connect(t, p.url())})
	for round := range uint64(3) {
		p.swallow.Store(true)
		before := p.swallowed.Load()
		s.opens(t, round+1)
		eventually(t, "an acknowledgement is swallowed", func() bool { return p.swallowed.Load() > before })
		p.cut()
		p.swallow.Store(false)
		eventually(t, "the message is known to be there", func() bool {
			return s.node.value(t, "fairlead_journal_buffered_bytes", "") == 0
		})
		if got := s.agree(t); len(got) != int(round+1) {
			t.Fatalf("the epoch has %d records, want %d", len(got), round+1)
		}
	}
}

// A store that is gone is marked, and the open sessions are there again.
func TestStoreIsLost(t *testing.T) {
	t.Parallel()
	for name, idle := range map[string]bool{"while records come": false, "while nothing happens": true} {
		t.Run(name, func(t *testing.T) {
			o := options(t, freePort(t))
			_, kill := runServer(t, o)
			s := startSessions(t, journal.JetStreamConfig{
				Conn: connect(t, fmt.Sprintf("nats://127.0.0.1:%d", o.Port)), Memory: true,
			})
			began := time.Now().Add(-time.Second)
			for number := range uint64(1000) {
				s.opens(t, number+1)
			}
			for number := range uint64(500) {
				s.closes(t, number+1)
			}
			s.agree(t)
			kill()
			eventually(t, "the journal notices", func() bool { return s.node.Healthy() != nil })
			if !idle {
				for number := range uint64(300) {
					s.opens(t, 2001+number)
					s.node.append(t, session.Record{Session: s.node.id(0), Event: session.Refused{Count: 1}})
					s.closes(t, 501+number)
				}
			}
			runServer(t, o)
			eventually(t, "the gap is marked", func() bool {
				return s.node.value(t, "fairlead_journal_gaps_total", journal.GapStoreLost) == 1 && s.node.Healthy() == nil
			})
			records := s.agree(t)
			gaps := events[session.Gap](records)
			if len(gaps) != 1 || gaps[0].Lost != 1500 || gaps[0].Reason != journal.GapStoreLost || gaps[0].Since.Before(began) {
				t.Errorf("gaps: %+v, want one of 1500 records", gaps)
			}
			if _, first := records[0].Event.(session.Gap); !first {
				t.Errorf("the log begins with %+v, want the gap", records[0])
			}
			if s.asks != 1 {
				t.Errorf("the sessions were announced %d times", s.asks)
			}
			s.opens(t, 5000)
			s.agree(t)
		})
	}
}

// A server that comes back without its last messages is found out, too: acknowledgements come before they are on a disk.
func TestTailOfTheStoreIsLost(t *testing.T) {
	t.Parallel()
	nats, _ := runServer(t, options(t, -1))
	conn := connect(t, nats.ClientURL())
	s := startSessions(t, journal.JetStreamConfig{Conn: conn})
	for number := range uint64(10) {
		s.opens(t, number+1)
		s.agree(t) // ends the message
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "FL_test_journal")
	if err != nil {
		t.Fatal(err)
	}
	for sequence := range uint64(3) {
		if err := stream.DeleteMsg(t.Context(), 8+sequence); err != nil {
			t.Fatal(err)
		}
	}
	s.opens(t, 11)
	eventually(t, "the gap is marked", func() bool {
		return s.node.value(t, "fairlead_journal_gaps_total", journal.GapStoreLost) == 1 && s.node.Healthy() == nil
	})
	if gaps := events[session.Gap](s.agree(t)); len(gaps) != 1 || gaps[0].Lost != 3 {
		t.Errorf("gaps: %+v, want one of 3 records", gaps)
	}
}

// What the buffer has no room for is counted and marked, and nothing grows beyond it.
func TestBufferIsFull(t *testing.T) {
	t.Parallel()
	o := options(t, freePort(t))
	_, kill := runServer(t, o)
	const bound = 64 << 10
	s := startSessions(t, journal.JetStreamConfig{
		Conn: connect(t, fmt.Sprintf("nats://127.0.0.1:%d", o.Port)), BufferBytes: bound,
	})
	for number := range uint64(100) {
		s.opens(t, number+1)
	}
	s.agree(t)
	kill()
	eventually(t, "the journal notices", func() bool { return s.node.Healthy() != nil })
	began := time.Now()
	for number := range uint64(2000) {
		s.opens(t, 1001+number)
		if number%3 == 0 {
			s.closes(t, 1001+number)
		}
	}
	for number := range uint64(50) {
		s.closes(t, number+1)
	}
	if v := s.node.value(t, "fairlead_journal_buffered_bytes", ""); v > bound || v < bound/2 {
		t.Errorf("%v bytes wait, want at most %d", v, bound)
	}
	dropped := s.node.value(t, "fairlead_journal_dropped_total", "")
	if dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	runServer(t, o)
	eventually(t, "the gap is marked", func() bool {
		return s.node.value(t, "fairlead_journal_gaps_total", journal.GapBufferFull) == 1 && s.node.Healthy() == nil
	})
	records := s.agree(t)
	gaps := events[session.Gap](records)
	if len(gaps) != 1 || float64(gaps[0].Lost) != dropped || gaps[0].Since.Before(began) || gaps[0].Since.After(time.Now()) {
		t.Errorf("gaps: %+v, want one of %v records", gaps, dropped)
	}
	s.opens(t, 9000)
	if err := s.node.Seal(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	records = s.agree(t)
	if _, last := records[len(records)-1].Event.(session.NodeSealed); !last {
		t.Error("the seal is not the last record")
	}
}

// In mode require nobody comes in while the log is away; who is in can go on and leave.
func TestRequire(t *testing.T) {
	t.Parallel()
	o := options(t, freePort(t))
	_, kill := runServer(t, o)
	s := startSessions(t, journal.JetStreamConfig{
		Conn: connect(t, fmt.Sprintf("nats://127.0.0.1:%d", o.Port)), Mode: journal.Require,
	})
	for number := range uint64(20) {
		s.opens(t, number+1)
		if v := s.node.value(t, "fairlead_journal_appends_total", ""); v < float64(number+1) {
			t.Fatalf("opening %d returned before it was in the log", number+1)
		}
	}
	kill()
	eventually(t, "the journal notices", func() bool { return s.node.Healthy() != nil })
	for number := range uint64(20) {
		began := time.Now()
		if err := s.node.Append(t.Context(), s.node.opened(100+number)); !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("an opening while the log is away: %v, want ErrUnavailable", err)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v to refuse it", d)
		}
		s.closes(t, number+1)
	}
	runServer(t, o)
	eventually(t, "the journal is back", func() bool { return s.node.Healthy() == nil })
	s.opens(t, 200)
	if gaps := events[session.Gap](s.agree(t)); len(gaps) > 0 {
		t.Errorf("gaps without a loss: %+v", gaps)
	}
}

// An opening that was given up waiting for may be in the log after all: then so is its closing.
func TestRequireGivesUp(t *testing.T) {
	t.Parallel()
	nats, _ := runServer(t, options(t, -1))
	p := startProxy(t, nats.Addr())
	s := startSessions(t, journal.JetStreamConfig{Conn: connect(t, p.url()), Mode: journal.Require})
	s.opens(t, 1)
	p.swallow.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.node.Append(ctx, s.node.opened(2)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an opening whose time is up: %v, want context.DeadlineExceeded", err)
	}
	if err := s.node.Append(t.Context(), s.node.opened(3)); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("an opening that the log does not confirm: %v, want ErrUnavailable", err)
	}
	p.swallow.Store(false)
	eventually(t, "the journal is back", func() bool { return s.node.Healthy() == nil })
	if closed := events[session.Closed](s.agree(t)); len(closed) != 2 {
		t.Errorf("%d closings, want one for each opening that was given up", len(closed))
	}
}

// A journal that is closed while its log is away does not wait for it, and says what is lost.
func TestCloseWhileAway(t *testing.T) {
	t.Parallel()
	o := options(t, freePort(t))
	_, kill := runServer(t, o)
	var log logBuffer
	n := start(t, journal.JetStreamConfig{
		Conn: connect(t, fmt.Sprintf("nats://127.0.0.1:%d", o.Port)), Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	kill()
	eventually(t, "the journal notices", func() bool { return n.Healthy() != nil })
	n.append(t, n.opened(1), n.opened(2))
	began := time.Now()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("Close took %v", d)
	}
	if v := n.value(t, "fairlead_journal_dropped_total", ""); v != 2 {
		t.Errorf("dropped = %v, want 2", v)
	}
	if text := log.String(); !strings.Contains(text, "lost=2") || strings.Count(text, "the log is away") != 1 {
		t.Errorf("the log has\n%s", text)
	}
}

// Close writes what has not been written yet.
func TestCloseWrites(t *testing.T) {
	t.Parallel()
	nats, _ := runServer(t, options(t, -1))
	conn := connect(t, nats.ClientURL())
	n := start(t, journal.JetStreamConfig{Conn: conn})
	for number := range uint64(5000) {
		n.append(t, n.opened(number+1))
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if got := start(t, journal.JetStreamConfig{Conn: conn}).all(t); len(got) != 5000 {
		t.Errorf("the epoch has %d records, want 5000", len(got))
	}
}
