package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fairlead-ws/fairlead/session"
)

// writer is what the goroutine knows that alone writes to the log: one message at a time, each with the sequence that the
// epoch's last message must have.
type writer struct {
	sure        bool   // what follows is what the log has, as far as anybody knows
	incarnation string // of the stream; "" before the first look
	stream      jetstream.Stream
	lanes       map[session.Epoch]*lane
	numbers     map[session.Epoch]uint64 // the last number of each node's own records
	batches     uint64                   // that were given an id
	said        bool                     // how the stream differs from what is configured
	room        []byte                   // for a message
}

// lane is the writer's place in one epoch's subject.
type lane struct {
	last    uint64    // the sequence of the last message
	records uint64    // written by this writer
	since   time.Time // when the first of them was written
	spoke   time.Time // when the last of them was written
}

// errConflict is returned when the epoch's last message was not the one that was expected.
var errConflict = errors.New("another message came first")

// errRejected is returned for a message that the log will never take.
var errRejected = errors.New("the log does not take the message")

// write is the writer's goroutine. It ends when the journal is closed and everything is written, or cannot be.
func (j *JetStream) write(ctx context.Context) {
	check := time.NewTicker(min(checkInterval, max(j.config.Retention/8, time.Millisecond)))
	defer check.Stop()
	linger := time.NewTimer(0)
	defer linger.Stop()
	j.look(ctx)
	close(j.tried)
	for {
		stopped := j.isStopped() // asked first: what was appended before that is in the queue
		b, wait := j.take(time.Now())
		if b != nil {
			if !j.commit(ctx, b) {
				return
			}
			continue
		}
		if j.takeGap() && !j.commit(ctx, nil) {
			return
		}
		linger.Reset(max(wait, 0))
		if wait < 0 {
			linger.Stop()
			if stopped {
				return // nothing is left
			}
		}
		select {
		case <-j.wake:
		case <-linger.C:
		case <-j.stopped:
		case <-ctx.Done():
			return
		case <-j.turned:
			j.look(ctx)
		case <-check.C:
			if l := j.writer.lanes[j.config.Epoch]; l == nil || !j.writer.sure || time.Since(l.spoke) > checkInterval {
				j.look(ctx) // else the log has just answered
			}
			j.live()
		}
	}
}

func (j *JetStream) isStopped() bool {
	select {
	case <-j.stopped:
		return true
	default:
		return false
	}
}

// look asks whether the log still has what it had, and notes whether it is there.
func (j *JetStream) look(ctx context.Context) {
	j.writer.sure = false
	if err := j.assure(ctx, nil); err != nil {
		j.away(explain(err))
		return
	}
	j.back()
}

// live sees to it that an epoch whose node lives has a message every now and then, so that it is not purged.
func (j *JetStream) live() {
	l := j.writer.lanes[j.config.Epoch]
	if l == nil || l.records == 0 || time.Since(l.spoke) < j.config.Retention/4 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 && !j.sealed && !j.closed {
		j.queue = append(j.queue, &batch{epoch: j.config.Epoch, begun: time.Now(), top: j.tops[j.config.Epoch], urgent: true})
		j.kick()
	}
}

// commit writes b, or the gaps alone if b is nil, however long that takes. It reports false when the journal was closed
// before it could.
func (j *JetStream) commit(ctx context.Context, b *batch) bool {
	begun := time.Now()
	conflicts := 0
	for wait := shortRetry; ; wait = min(2*wait, longRetry) {
		err := j.attempt(ctx, b)
		switch {
		case err == nil:
			j.back()
			if b != nil {
				j.wrote(b, time.Since(begun))
			}
			return true
		case errors.Is(err, errRejected) && b != nil:
			j.reject(b, err)
			return true
		}
		j.writer.sure = false
		if errors.Is(err, errConflict) && conflicts < 3 { // look again, at once
			conflicts++
			continue
		}
		j.metrics.retries.Inc()
		j.away(explain(err))
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-j.turned:
		case <-ctx.Done():
		case <-j.stopped: // Close waits for a log that is there only
			pause.Stop()
			return false
		}
		pause.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// attempt writes b and the gaps before it, once.
func (j *JetStream) attempt(ctx context.Context, b *batch) error {
	w := &j.writer
	if !w.sure {
		if err := j.assure(ctx, b); err != nil {
			return err
		}
	}
	if err := j.mark(ctx); err != nil {
		return err
	}
	if b == nil || b.written {
		return nil
	}
	l, err := j.lane(ctx, b.epoch)
	if err != nil {
		return err
	}
	if b.id == "" {
		w.batches++
		b.id = j.name + "." + strconv.FormatUint(w.batches, 10)
	}
	if b.message == nil {
		w.numbers[b.epoch] = b.freeze(w.numbers[b.epoch], w.room)
		if b.encoding != "" {
			w.room = b.message // which nobody needs when the next one is frozen
		}
	}
	return j.publish(ctx, l, b)
}

// publish writes b as the message behind the lane's last one.
func (j *JetStream) publish(ctx context.Context, l *lane, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	m := &nats.Msg{Subject: j.subject(b.epoch), Data: b.message, Header: nats.Header{
		headerBatch:                         {b.id},
		headerRecords:                       {strconv.FormatUint(l.records+uint64(b.records), 10)},
		headerTop:                           {strconv.FormatUint(b.top, 10)},
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(l.last, 10)},
	}}
	if b.encoding != "" {
		m.Header.Set(headerEncoding, b.encoding)
	}
	ack, err := j.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return failure(err)
	}
	if ack.Duplicate { // nothing that is written has an id for that: somebody else's stream rules
		return fmt.Errorf("%w: the stream takes it for a duplicate", errConflict)
	}
	l.wrote(ack.Sequence, b)
	return nil
}

// wrote notes that b is the lane's last message.
func (l *lane) wrote(sequence uint64, b *batch) {
	b.written = true
	l.last, l.spoke = sequence, time.Now()
	l.records += uint64(b.records)
	if l.since.IsZero() {
		l.since = b.begun
	}
}

// wrote counts a batch that is in the log.
func (j *JetStream) wrote(b *batch, took time.Duration) {
	j.metrics.appends.Inc()
	j.metrics.batch.Observe(float64(b.records))
	j.metrics.seconds.Observe(took.Seconds())
	j.finish(b, nil)
}

// reject lets go of a batch that the log will never take, and has that marked.
func (j *JetStream) reject(b *batch, err error) {
	j.log.Error("journal: the log does not take a batch", "records", b.records, "bytes", len(b.message), "err", err)
	j.metrics.dropped.Add(float64(b.records))
	j.mu.Lock()
	j.marking = append(j.marking, &gap{since: b.begun, lost: uint64(b.records), reason: GapRejected}) //nolint:gosec // a count
	j.mu.Unlock()
	j.finish(b, fmt.Errorf("%w: %w", ErrUnavailable, err))
}

// mark writes the gaps that are known, and announces the open sessions behind them. When it fails it begins anew the next
// time: a gap that is written twice does no harm.
func (j *JetStream) mark(ctx context.Context) error {
	j.mu.Lock()
	gaps, sealed := j.marking, j.sealed
	j.mu.Unlock()
	if len(gaps) == 0 {
		return nil
	}
	var records []session.Record
	for _, g := range gaps {
		records = append(records, session.Record{
			Time: time.Now(), Session: session.ID{Epoch: j.config.Epoch},
			Event: session.Gap{Since: g.since, Lost: g.lost, Reason: g.reason},
		})
	}
	if err := j.insert(ctx, records...); err != nil {
		return err
	}
	if j.config.Announce != nil && !sealed {
		if err := j.announce(ctx); err != nil {
			return err
		}
	}
	j.mu.Lock()
	j.marking = j.marking[len(gaps):]
	for _, g := range gaps {
		g.end(nil)
	}
	j.mu.Unlock()
	for _, g := range gaps {
		j.metrics.gaps[g.reason].Inc()
		j.log.Warn("journal: records are missing from the log; the open sessions are announced again",
			"since", g.since, "lost", g.lost, "reason", g.reason)
	}
	return nil
}

// announceRecords is how many openings make one message.
const announceRecords = 256

// announce writes an opening of each session that is open. Whatever the queue has of those sessions stands behind it, and
// is older than the announcement or follows it: a fold comes out right either way.
func (j *JetStream) announce(ctx context.Context) error {
	run := make([]session.Record, 0, announceRecords)
	for r := range j.config.Announce() {
		if run = append(run, r); len(run) == announceRecords {
			if err := j.insert(ctx, run...); err != nil {
				return err
			}
			run = run[:0]
		}
	}
	return j.insert(ctx, run...)
}

// insert writes records of the journal's own epoch at once, before anything that waits. A record that cannot be written is
// left out.
func (j *JetStream) insert(ctx context.Context, records ...session.Record) error {
	b := &batch{epoch: j.config.Epoch, begun: time.Now()}
	j.mu.Lock()
	b.top = j.tops[b.epoch]
	j.mu.Unlock()
	p := parcels.Get().(*parcel)
	defer parcels.Put(p)
	for _, r := range records {
		if err := p.pack([]session.Record{r}); err != nil {
			j.log.Error("journal: cannot announce a session", "err", err)
			continue
		}
		b.add(p)
		b.top = max(b.top, p.top)
	}
	if b.records == 0 {
		return nil
	}
	w := &j.writer
	l, err := j.lane(ctx, b.epoch)
	if err != nil {
		return err
	}
	w.batches++
	b.id = j.name + "." + strconv.FormatUint(w.batches, 10)
	w.numbers[b.epoch] = b.freeze(w.numbers[b.epoch], nil) // the room may be taken
	if err := j.publish(ctx, l, b); err != nil {
		return err
	}
	for _, r := range records {
		j.metrics.count(r.Event.Kind())
	}
	return nil
}
