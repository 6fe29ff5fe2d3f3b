package journaltest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"iter"
	"reflect"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// Journal is what the suite asks of a journal; package journal says what it means.
type Journal interface {
	Append(ctx context.Context, records ...session.Record) error
	Session(ctx context.Context, id session.ID) iter.Seq2[session.Record, error]
	Epoch(ctx context.Context, e session.Epoch) iter.Seq2[session.Record, error]
	Close() error
}

// Run runs the suite. open returns a new, empty journal for each test, with room for 4,096 records, and sees to it that
// whatever the journal needs is gone when the test ends; closing the journal twice must do no harm.
func Run(t *testing.T, open func(t *testing.T) Journal) {
	for name, test := range map[string]func(*testing.T, Journal){
		"KeepsEveryKind":         testKeepsEveryKind,
		"ReadsNothing":           testReadsNothing,
		"KeepsOrder":             testKeepsOrder,
		"KeepsEpochsApart":       testKeepsEpochsApart,
		"NumbersTheNodesRecords": testNumbersTheNodesRecords,
		"AppendsAllOrNothing":    testAppendsAllOrNothing,
		"SharesNothing":          testSharesNothing,
		"ConcurrentAppenders":    testConcurrentAppenders,
		"ReadsWhileAppending":    testReadsWhileAppending,
		"AppendsWhileReading":    testAppendsWhileReading,
		"StopsWithTheContext":    testStopsWithTheContext,
		"StopsWithTheRange":      testStopsWithTheRange,
		"Closed":                 testClosed,
	} {
		t.Run(name, func(t *testing.T) {
			j := open(t)
			t.Cleanup(func() {
				if err := j.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test(t, j)
		})
	}
}

// start is the second in which the suite's epochs begin.
var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// epoch returns the n-th epoch of the suite.
func epoch(t *testing.T, n uint64) session.Epoch {
	t.Helper()
	e, err := session.NewEpoch(start, bytes.NewReader(binary.BigEndian.AppendUint64(nil, n)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func group(t *testing.T, name string) session.Group {
	t.Helper()
	g, err := session.ParseGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// joined returns the seq-th record of a session: that it joined the group of that name.
func joined(t *testing.T, id session.ID, seq uint64, name string) session.Record {
	t.Helper()
	return session.Record{
		Time: start.Add(time.Duration(seq) * time.Millisecond), Session: id, Seq: seq,
		Event: session.Joined{Group: group(t, name)},
	}
}

func mustAppend(t *testing.T, j Journal, records ...session.Record) {
	t.Helper()
	if err := j.Append(t.Context(), records...); err != nil {
		t.Fatalf("Append: %v", err)
	}
}

// read returns what seq yields, and fails the test on an error.
func read(t *testing.T, seq iter.Seq2[session.Record, error]) []session.Record {
	t.Helper()
	var records []session.Record
	for r, err := range seq {
		if err != nil {
			t.Fatalf("after %d records: %v", len(records), err)
		}
		records = append(records, r)
	}
	return records
}

// readError returns the error that seq ends with, and how many records came before it.
func readError(t *testing.T, seq iter.Seq2[session.Record, error]) (n int, last error) {
	t.Helper()
	for r, err := range seq {
		switch {
		case last != nil:
			t.Fatalf("more is yielded behind the error %v", last)
		case err != nil:
			if !reflect.DeepEqual(r, session.Record{}) {
				t.Fatalf("the error %v comes with the record %+v", err, r)
			}
			last = err
		default:
			n++
		}
	}
	return n, last
}

func equal(t *testing.T, what string, got []session.Record, want ...session.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d records, want %d:\n%s\nwant\n%s", what, len(got), len(want), text(got), text(want))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("%s: record %d is\n%s, want\n%s", what, i, text(got[i:i+1]), text(want[i:i+1]))
		}
	}
}

func text(records []session.Record) []byte {
	var b []byte
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			line = []byte(err.Error())
		}
		b = append(append(b, line...), '\n')
	}
	return b
}
