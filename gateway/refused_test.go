package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

var testEpoch = session.Epoch{1, 2, 3}

// memory is the journal that a node has.
func memory(t testing.TB) *journal.Memory {
	t.Helper()
	m, err := journal.NewMemory(journal.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// records returns what the journal has of the node itself.
func records(t testing.TB, m *journal.Memory) (list []session.Record) {
	t.Helper()
	for r, err := range m.Session(t.Context(), session.ID{Epoch: testEpoch}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

// summary writes the refused events of list as text, and checks what all have in common.
func summary(t testing.TB, list []session.Record) string {
	t.Helper()
	var out []string
	for i, r := range list {
		e, ok := r.Event.(session.Refused)
		if !ok || r.Session != (session.ID{Epoch: testEpoch}) || r.Time.Location() != time.UTC {
			t.Fatalf("record %d is %+v", i, r)
		}
		if i > 0 && r.Seq != list[i-1].Seq+1 {
			t.Errorf("record %d has Seq %d behind %d", i, r.Seq, list[i-1].Seq)
		}
		out = append(out, fmt.Sprintf("%d %s %q %v x%d", e.Status, e.Reason, e.Route, e.Remote, e.Count))
	}
	return strings.Join(out, "\n")
}

func TestServeJournalsRefusals(t *testing.T) {
	m := memory(t)
	s := serve(t, Config{Routes: []Route{memberRoute(t)}, Journal: m, Epoch: testEpoch}, nil)
	for _, raw := range []string{
		handshakeTo("/nothing"), handshakeTo("/ws/app_1234?token=secret"), handshakeTo("/ws/app_1234?token=alice"), withLines("bad : x"),
	} {
		s.ask(t, raw)
	}
	conn := s.dial(t) // leaves without a word: not an event
	conn.Close()
	waitFor(t, "the end of it", func() bool { return s.count(reasonClientGone) == 1 })
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	want := `404 no_route "" 127.0.0.0/24 x1
401 unknown_token "/ws/{group}" 127.0.0.0/24 x1
400 header "" 127.0.0.0/24 x1`
	if got := summary(t, records(t, m)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Beyond so many in a second, refusals are counted, and each reason's count is one event a second later.
func TestRefusedEventsAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		e := newRefusedEvents(Config{Journal: m, Epoch: testEpoch, RefusedPerSecond: 3}, discard)
		stop := e.start(t.Context())
		remote := netip.MustParseAddr("192.0.2.77")
		begin := time.Now()
		for i := range 1000 {
			r := reasonUnknownToken
			if i%10 == 0 {
				r = reasonNoRoute
			}
			e.add(time.Now(), refusedKey{reason: r}, "/ws", remote)
		}
		synctest.Wait()
		one := `404 no_route "/ws" 192.0.2.0/24 x1
401 unknown_token "/ws" 192.0.2.0/24 x1
401 unknown_token "/ws" 192.0.2.0/24 x1`
		if got := summary(t, records(t, m)); got != one {
			t.Errorf("at once: got\n%s\nwant\n%s", got, one)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		counts := `404 no_route "" invalid Prefix x99
401 unknown_token "" invalid Prefix x898`
		list := records(t, m)
		if got := summary(t, list); got != one+"\n"+counts {
			t.Errorf("a second later: got\n%s\nwant\n%s\n%s", got, one, counts)
		}
		if last := list[len(list)-1]; !last.Time.Equal(begin.Add(time.Second)) {
			t.Errorf("the counts are of %v, want %v", last.Time, begin.Add(time.Second))
		}

		// The next second has room again, and what was counted is not counted twice.
		e.add(time.Now(), refusedKey{reason: reasonFull}, "/ws", remote)
		synctest.Wait()
		time.Sleep(time.Minute)
		if got, want := summary(t, records(t, m)), one+"\n"+counts+"\n"+`503 full "/ws" 192.0.2.0/24 x1`; got != want {
			t.Errorf("then: got\n%s\nwant\n%s", got, want)
		}
		stop()
	})
}

// A steady stream is capped in each second, and nothing of it is lost, also what is counted when Serve ends.
func TestRefusedEventsSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		e := newRefusedEvents(Config{Journal: m, Epoch: testEpoch, RefusedPerSecond: 10}, discard)
		stop := e.start(t.Context())
		const total = 5500
		for range total {
			e.add(time.Now(), refusedKey{reason: reasonFull}, "", netip.Addr{})
			time.Sleep(time.Millisecond)
		}
		stop()
		var count uint64
		list := records(t, m)
		for _, r := range list {
			count += r.Event.(session.Refused).Count
		}
		if count != total {
			t.Errorf("the events stand for %d handshakes, want %d", count, total)
		}
		if n := len(list); n > 6*11+1 {
			t.Errorf("%d events in 5.5 s, want at most 10 and a count in each", n)
		}
	})
}

// brokenJournal appends nothing.
type brokenJournal struct{ calls atomic.Int32 }

func (b *brokenJournal) Append(context.Context, ...session.Record) error {
	b.calls.Add(1)
	return errors.New("no space")
}

// A journal that fails stops nothing, and is complained about once a second.
func TestRefusedEventsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		var j brokenJournal
		e := newRefusedEvents(Config{Journal: &j, Epoch: testEpoch}, log.logger())
		stop := e.start(t.Context())
		for range 30 {
			e.add(time.Now(), refusedKey{reason: reasonFull}, "", netip.Addr{})
			synctest.Wait()
			time.Sleep(time.Second / 10)
		}
		stop()
		if n := strings.Count(log.String(), "refused events are lost"); n < 2 || n > 4 || j.calls.Load() != 30 {
			t.Errorf("%d lines for %d failures in 3 s:\n%s", n, j.calls.Load(), log.String())
		}
		if !strings.Contains(log.String(), "lines_held_back=9") {
			t.Errorf("the lines that were held back are not counted:\n%s", log.String())
		}
	})
}

// A journal that hangs keeps no handshake waiting, and what is refused meanwhile is bounded.
func TestRefusedEventsJournalHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &hangingJournal{free: make(chan struct{})}
		e := newRefusedEvents(Config{Journal: j, Epoch: testEpoch, RefusedPerSecond: 5}, discard)
		stop := e.start(t.Context())
		for range 100 {
			for range 100 {
				e.add(time.Now(), refusedKey{reason: reasonFull}, "", netip.Addr{})
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if len(e.notes) > 5 {
			t.Errorf("%d notes are kept, want 5 at most", len(e.notes))
		}
		close(j.free)
		stop()
		if j.count != 10_000 {
			t.Errorf("the events stand for %d handshakes, want 10,000", j.count)
		}
	})
}

type hangingJournal struct {
	free  chan struct{}
	count uint64
}

func (j *hangingJournal) Append(_ context.Context, records ...session.Record) error {
	<-j.free
	for _, r := range records {
		j.count += r.Event.(session.Refused).Count
	}
	return nil
}
