package journaltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// A record comes back as its JSON form reads, also from a journal that writes no JSON.
func testKeepsEveryKind(t *testing.T, j Journal) {
	e := epoch(t, 1)
	id, at := session.ID{Epoch: e, Number: 1}, start.Add(1500*time.Nanosecond).In(time.FixedZone("west", -3600))
	who := &session.Identity{
		Subject: "42", Name: "zoë", Source: "jwt", Expires: at.Add(time.Hour), TokenID: "b3e0", IssuedAt: at,
		Grants: []string{"app_*"}, Claims: map[string]any{"mail": "zoe@example.org"},
	}
	remote := netip.MustParsePrefix("192.0.2.0/24")
	appended := []session.Record{
		{Time: at, Session: id, Seq: 1, Event: session.Opened{
			Identity: who, Route: "/ws/{group}", Protocol: "raw", Remote: remote, Groups: []session.Group{group(t, "app_1")},
		}},
		{Time: time.Time{}, Session: id, Seq: 2, Event: session.Joined{Group: group(t, "app_2")}},
		{Time: time.Now(), Session: id, Seq: 3, Event: session.Left{Group: group(t, "app_1")}}, // with a monotonic reading
		{Time: at, Session: id, Seq: 4, Event: session.Refreshed{Expires: at.Add(2 * time.Hour)}},
		{Time: at, Session: id, Seq: 5, Event: session.Unknown{Name: "new", Data: json.RawMessage(`{"a":[1,null]}`)}},
		{Time: at, Session: id, Seq: 1 << 60, Event: session.Closed{Code: 4401, Reason: "it expired", BytesSent: 1 << 63}},
		{Time: at, Session: session.ID{Epoch: e}, Seq: 1, Event: session.NodeStarted{Node: "n", Version: "v0.1.0"}},
		{Time: at, Session: session.ID{Epoch: e}, Seq: 2, Event: session.Refused{Status: 401, Reason: "expired", Remote: remote, Count: 1}},
		{Time: at, Session: session.ID{Epoch: e}, Seq: 3, Event: session.NodeDraining{Connections: 2, Window: 30 * time.Second}},
		{Time: at, Session: session.ID{Epoch: e}, Seq: 4, Event: session.Gap{Since: at, Lost: 7, Reason: "buffer_full"}},
		{Time: at, Session: session.ID{Epoch: e}, Seq: 5, Event: session.NodeSealed{Reason: "the node stopped"}},
		{Time: at, Session: session.ID{Epoch: e, Number: 1<<64 - 1}, Seq: 1, Event: session.Opened{
			Identity: session.Anonymous(), Route: "/ws", Protocol: "raw", Groups: []session.Group{},
		}},
	}
	var want []session.Record
	seen := make(map[session.Kind]bool)
	for _, r := range appended {
		var parsed session.Record
		if b, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		} else if err := json.Unmarshal(b, &parsed); err != nil {
			t.Fatal(err)
		}
		want = append(want, parsed)
		seen[r.Event.Kind()] = true
	}
	for _, kind := range session.Kinds() {
		if !seen[kind] {
			t.Errorf("the suite appends no record of kind %s", kind)
		}
	}
	mustAppend(t, j, appended...)
	equal(t, "the epoch", read(t, j.Epoch(t.Context(), e)), want...)
	equal(t, "the session", read(t, j.Session(t.Context(), id)), want[:6]...)
	equal(t, "the node", read(t, j.Session(t.Context(), session.ID{Epoch: e})), want[6:11]...)
	if who.Name == "" || who.Grants == nil || who.Claims == nil {
		t.Error("the append changed the identity, which others share")
	}
}

func testReadsNothing(t *testing.T, j Journal) {
	e := epoch(t, 1)
	mustAppend(t, j)
	equal(t, "the epoch of an empty journal", read(t, j.Epoch(t.Context(), e)))
	equal(t, "a session of an empty journal", read(t, j.Session(t.Context(), session.ID{Epoch: e, Number: 1})))
	mustAppend(t, j, joined(t, session.ID{Epoch: e, Number: 1}, 1, "a"))
	equal(t, "another epoch", read(t, j.Epoch(t.Context(), epoch(t, 2))))
	equal(t, "another session", read(t, j.Session(t.Context(), session.ID{Epoch: e, Number: 2})))
	equal(t, "the node", read(t, j.Session(t.Context(), session.ID{Epoch: e})))
}

func testKeepsOrder(t *testing.T, j Journal) {
	e := epoch(t, 1)
	var all []session.Record
	of := make(map[uint64][]session.Record)
	for i := range uint64(300) { // three sessions, woven together in batches of one, two and three
		number := 1 + i%3
		r := joined(t, session.ID{Epoch: e, Number: number}, 1+i/3, fmt.Sprintf("g%d", i))
		all, of[number] = append(all, r), append(of[number], r)
	}
	for rest := all; len(rest) > 0; {
		n := min(1+len(rest)%3, len(rest))
		mustAppend(t, j, rest[:n]...)
		rest = rest[n:]
	}
	equal(t, "the epoch", read(t, j.Epoch(t.Context(), e)), all...)
	for number, want := range of {
		equal(t, fmt.Sprintf("session %d", number), read(t, j.Session(t.Context(), session.ID{Epoch: e, Number: number})), want...)
	}
}

// Epochs have sessions of the same numbers.
func testKeepsEpochsApart(t *testing.T, j Journal) {
	first, second := epoch(t, 1), epoch(t, 2)
	a := joined(t, session.ID{Epoch: first, Number: 1}, 1, "a")
	b := joined(t, session.ID{Epoch: second, Number: 1}, 1, "b")
	c := joined(t, session.ID{Epoch: first, Number: 1}, 2, "c")
	for _, r := range []session.Record{a, b, c} {
		mustAppend(t, j, r)
	}
	equal(t, "the first epoch", read(t, j.Epoch(t.Context(), first)), a, c)
	equal(t, "the second epoch", read(t, j.Epoch(t.Context(), second)), b)
	equal(t, "the first epoch's session", read(t, j.Session(t.Context(), a.Session)), a, c)
	equal(t, "the second epoch's session", read(t, j.Session(t.Context(), b.Session)), b)
}

func testNumbersTheNodesRecords(t *testing.T, j Journal) {
	refused := func(e session.Epoch, seq uint64) session.Record {
		return session.Record{Time: start, Session: session.ID{Epoch: e}, Seq: seq, Event: session.Refused{Status: 401, Count: 1}}
	}
	first, second := epoch(t, 1), epoch(t, 2)
	records := []session.Record{refused(first, 0), refused(first, 0), refused(first, 77)}
	mustAppend(t, j, records...)
	mustAppend(t, j, refused(second, 5))
	mustAppend(t, j, refused(first, 1))
	if records[0].Seq != 0 || records[2].Seq != 77 {
		t.Errorf("the append wrote into its caller's records: %+v", records)
	}
	equal(t, "the first node", read(t, j.Session(t.Context(), session.ID{Epoch: first})),
		refused(first, 1), refused(first, 2), refused(first, 3), refused(first, 4))
	equal(t, "the second node", read(t, j.Session(t.Context(), session.ID{Epoch: second})), refused(second, 1))
}

func testAppendsAllOrNothing(t *testing.T, j Journal) {
	e := epoch(t, 1)
	id := session.ID{Epoch: e, Number: 1}
	good := joined(t, id, 1, "a")
	for name, bad := range map[string]session.Record{
		"no event":    {Session: id, Seq: 2},
		"no sequence": {Session: id, Event: session.Closed{}},
		"no group":    {Session: id, Seq: 2, Event: session.Joined{}},
		"no identity": {Session: id, Seq: 2, Event: session.Opened{}},
		"node":        {Session: session.ID{Epoch: e}, Event: session.Unknown{}},
	} {
		node := session.Record{Session: session.ID{Epoch: e}, Event: session.NodeStarted{}}
		if err := j.Append(t.Context(), good, node, bad, good); !errors.Is(err, session.ErrRecord) {
			t.Errorf("%s: Append = %v, want session.ErrRecord", name, err)
		}
	}
	equal(t, "the epoch after refused appends", read(t, j.Epoch(t.Context(), e)))
	node := session.Record{Time: start, Session: session.ID{Epoch: e}, Event: session.NodeStarted{}}
	mustAppend(t, j, node, good)
	node.Seq = 1 // the refused ones took no number
	equal(t, "the epoch", read(t, j.Epoch(t.Context(), e)), node, good)
}

func testSharesNothing(t *testing.T, j Journal) {
	id := session.ID{Epoch: epoch(t, 1), Number: 1}
	records := []session.Record{
		{Time: start, Session: id, Seq: 1, Event: session.Opened{
			Identity: &session.Identity{Subject: "42", Source: "s"}, Groups: []session.Group{group(t, "a"), group(t, "b")},
		}},
		{Time: start, Session: id, Seq: 2, Event: session.Unknown{Name: "new", Data: json.RawMessage(`{}`)}},
	}
	want := []session.Record{records[0].Kept(), records[1].Kept()}
	mustAppend(t, j, records...)
	records[0], records[1] = joined(t, id, 8, "x"), joined(t, id, 9, "y") // the slice is the caller's again

	got := read(t, j.Session(t.Context(), id))
	equal(t, "the session", got, want...)
	opened := got[0].Event.(session.Opened)
	opened.Groups[0], opened.Identity.Subject = group(t, "z"), "43"
	got[1].Event.(session.Unknown).Data[0] = '['
	equal(t, "the session, after a reader wrote into what it was given", read(t, j.Session(t.Context(), id)), want...)
}

// Batches stay whole, and in each writer's order, however many write at once.
func testConcurrentAppenders(t *testing.T, j Journal) {
	const writers, batches, size = 8, 50, 4
	e := epoch(t, 1)
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		id := session.ID{Epoch: e, Number: 1 + w}
		g := group(t, "a")
		wg.Go(func() {
			for b := range uint64(batches) {
				batch := []session.Record{{Session: session.ID{Epoch: e}, Event: session.Refused{Count: 1}}}
				for i := range uint64(size - 1) {
					batch = append(batch, session.Record{Session: id, Seq: 1 + b*(size-1) + i, Event: session.Joined{Group: g}})
				}
				if err := j.Append(t.Context(), batch...); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	all := read(t, j.Epoch(t.Context(), e))
	if len(all) != writers*batches*size {
		t.Fatalf("the epoch has %d records, want %d", len(all), writers*batches*size)
	}
	last := make(map[session.ID]uint64)
	for i, r := range all {
		if r.Seq != last[r.Session]+1 {
			t.Fatalf("record %d: sequence %d of session %s follows %d", i, r.Seq, r.Session, last[r.Session])
		}
		last[r.Session] = r.Seq
		if inBatch := i % size; (inBatch == 0) != (r.Session.Number == 0) || inBatch > 1 && r.Session != all[i-1].Session {
			t.Fatalf("record %d, of session %s, cuts into a batch", i, r.Session)
		}
	}
}

// A read finds a beginning of what is being appended: whole batches, no gap.
func testReadsWhileAppending(t *testing.T, j Journal) {
	const batches = 500
	id := session.ID{Epoch: epoch(t, 1), Number: 1}
	g := group(t, "a")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := range uint64(batches) {
			first := session.Record{Session: id, Seq: 1 + 2*b, Event: session.Joined{Group: g}}
			second := session.Record{Session: id, Seq: 2 + 2*b, Event: session.Left{Group: g}}
			if err := j.Append(t.Context(), first, second); err != nil {
				t.Errorf("Append: %v", err)
				return
			}
		}
	}()
	seen, ended := 0, false
	for !ended {
		select {
		case <-done:
			ended = true
		default:
		}
		records := read(t, j.Session(t.Context(), id))
		if len(records) < seen || len(records)%2 != 0 {
			t.Fatalf("a read has %d records, the one before had %d; want as many or more, in batches of two", len(records), seen)
		}
		seen = len(records)
		for i, r := range records {
			if r.Seq != uint64(i)+1 {
				t.Fatalf("record %d has sequence %d", i, r.Seq)
			}
		}
	}
	if seen != 2*batches {
		t.Fatalf("the last read has %d records, want %d", seen, 2*batches)
	}
}

// The body of a range may append: it is not waited for, and a range ends.
func testAppendsWhileReading(t *testing.T, j Journal) {
	id := session.ID{Epoch: epoch(t, 1), Number: 1}
	mustAppend(t, j, joined(t, id, 1, "a"), joined(t, id, 2, "b"))
	seq := j.Session(t.Context(), id)
	next := uint64(3)
	for _, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		if next > 100 {
			t.Fatal("a range goes on into what was appended after it began")
		}
		mustAppend(t, j, joined(t, id, next, "c"))
		next++
	}
	if n := len(read(t, seq)); n != int(next-1) { // each range reads anew
		t.Errorf("a second range has %d records, want %d", n, next-1)
	}
}

func testStopsWithTheContext(t *testing.T, j Journal) {
	e := epoch(t, 1)
	id := session.ID{Epoch: e, Number: 1}
	mustAppend(t, j, joined(t, id, 1, "a"), joined(t, id, 2, "b"), joined(t, id, 3, "c"))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []uint64
	var last error
	for r, err := range j.Session(ctx, id) {
		if err != nil {
			last = err
			continue
		}
		got = append(got, r.Seq)
		cancel()
	}
	if !slices.Equal(got, []uint64{1}) || !errors.Is(last, context.Canceled) {
		t.Errorf("a range that is cancelled at its first record yields %v and then %v, want [1] and context.Canceled", got, last)
	}
	if n, err := readError(t, j.Session(ctx, id)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Session with a cancelled context yields %d records and %v, want context.Canceled alone", n, err)
	}
	if n, err := readError(t, j.Epoch(ctx, e)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Epoch with a cancelled context yields %d records and %v, want context.Canceled alone", n, err)
	}
	if err := j.Append(ctx, joined(t, id, 4, "d")); !errors.Is(err, context.Canceled) {
		t.Errorf("Append with a cancelled context = %v, want context.Canceled", err)
	}
	if n := len(read(t, j.Session(t.Context(), id))); n != 3 {
		t.Errorf("the session has %d records, want 3: an append with a cancelled context leaves nothing", n)
	}
}

func testStopsWithTheRange(t *testing.T, j Journal) {
	id := session.ID{Epoch: epoch(t, 1), Number: 1}
	mustAppend(t, j, joined(t, id, 1, "a"), joined(t, id, 2, "b"))
	n := 0
	for _, err := range j.Session(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		break
	}
	for _, err := range j.Epoch(t.Context(), id.Epoch) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		break
	}
	if n != 2 {
		t.Errorf("two ranges with a break have %d turns, want 2", n)
	}
	mustAppend(t, j, joined(t, id, 3, "c")) // nothing is held
}

func testClosed(t *testing.T, j Journal) {
	e := epoch(t, 1)
	id := session.ID{Epoch: e, Number: 1}
	mustAppend(t, j, joined(t, id, 1, "a"))
	for range 2 {
		if err := j.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	for _, records := range [][]session.Record{nil, {joined(t, id, 2, "b")}, {{Session: session.ID{Epoch: e}, Event: session.NodeStarted{}}}} {
		if err := j.Append(t.Context(), records...); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("Append of %d records to a closed journal = %v, want journal.ErrClosed", len(records), err)
		}
	}
	for name, seq := range map[string]iter.Seq2[session.Record, error]{
		"Session": j.Session(t.Context(), id), "Epoch": j.Epoch(t.Context(), e),
	} {
		if n, err := readError(t, seq); n != 0 || !errors.Is(err, journal.ErrClosed) {
			t.Errorf("%s of a closed journal yields %d records and %v, want journal.ErrClosed alone", name, n, err)
		}
	}
}
