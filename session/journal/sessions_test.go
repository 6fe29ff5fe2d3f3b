package journal_test

import (
	"bytes"
	"iter"
	"slices"
	"sync"
	"testing"

	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// sessions is what a node's actors are in these tests: the sessions that are open.
type sessions struct {
	mu   sync.Mutex
	node node
	open map[uint64]uint64 // the sequence of the last event
	asks int
}

func (s *sessions) opens(t *testing.T, number uint64) {
	t.Helper()
	s.mu.Lock()
	s.open[number] = 1
	s.mu.Unlock()
	s.node.append(t, s.node.opened(number))
}

func (s *sessions) closes(t *testing.T, number uint64) {
	t.Helper()
	s.mu.Lock()
	seq := s.open[number] + 1
	delete(s.open, number)
	s.mu.Unlock()
	s.node.append(t, s.node.closed(number, seq))
}

func (s *sessions) announce() iter.Seq[session.Record] {
	return func(yield func(session.Record) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asks++
		for number, seq := range s.open {
			r := s.node.opened(number)
			r.Seq = seq
			if !yield(r) {
				return
			}
		}
	}
}

func (s *sessions) numbers() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []uint64
	for number := range s.open {
		all = append(all, number)
	}
	slices.Sort(all)
	return all
}

// agree fails the test unless the fold of the log has the same sessions open.
func (s *sessions) agree(t *testing.T) []session.Record {
	t.Helper()
	records := s.node.all(t)
	var folded []uint64
	for number := range stillOpen(records) {
		folded = append(folded, number)
	}
	slices.Sort(folded)
	if want := s.numbers(); !slices.Equal(folded, want) {
		t.Errorf("the log folds to %d open sessions, %d are open", len(folded), len(want))
	}
	// The node's own records count up, whatever was written twice or anew.
	last := uint64(0)
	for _, r := range records {
		if r.Session.Number == 0 {
			if r.Seq <= last {
				t.Errorf("record %d of the node follows record %d", r.Seq, last)
			}
			last = r.Seq
		}
	}
	return records
}

func startSessions(t *testing.T, c journal.JetStreamConfig) *sessions {
	t.Helper()
	s := &sessions{open: map[uint64]uint64{}}
	c.Announce = s.announce
	s.node = start(t, c)
	return s
}

// logBuffer is where a logger writes that a test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
