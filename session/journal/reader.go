package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	// fetchMessages is how many messages are asked for at once; each has at most some hundred kilobytes.
	fetchMessages = 64
	// fetchPause is how long to wait for messages that must come: another server of the log may be behind.
	fetchPause = 5 * time.Millisecond
	// consumerLife is how long the server keeps a reader that has gone without a word.
	consumerLife = 30 * time.Second
)

// Session reads the records of one session, oldest first; number 0 reads the node's own. Every append of this journal that
// returned before the range began is there, unless a gap took its place. It finds the session's beginning by the order of
// the numbers, and ends with its closing, so that it does not read the whole epoch for a session that was short.
//
// An error comes last and alone: ctx's, [ErrClosed], or one that wraps [ErrUnavailable]. Without the log there is nothing
// to read, so give ctx a deadline.
func (j *JetStream) Session(ctx context.Context, id session.ID) iter.Seq2[session.Record, error] {
	return func(yield func(session.Record, error) bool) {
		key := []byte(`"s":"` + id.String() + `"`)
		err := j.read(ctx, id.Epoch, id.Number, func(line []byte) (bool, error) {
			if !bytes.Contains(line, key) { // before it is parsed: it may also stand in a text
				return true, nil
			}
			var r session.Record
			if err := r.UnmarshalJSON(line); err != nil {
				return false, err
			}
			if r.Session != id {
				return true, nil
			}
			_, last := r.Event.(session.Closed)
			return yield(r, nil) && !last, nil
		})
		if err != nil {
			yield(session.Record{}, err)
		}
	}
}

// Epoch reads all records of an epoch, oldest first, in the way of [JetStream.Session].
func (j *JetStream) Epoch(ctx context.Context, epoch session.Epoch) iter.Seq2[session.Record, error] {
	return func(yield func(session.Record, error) bool) {
		err := j.read(ctx, epoch, 0, func(line []byte) (bool, error) {
			var r session.Record
			if err := r.UnmarshalJSON(line); err != nil {
				return false, err
			}
			return yield(r, nil), nil
		})
		if err != nil {
			yield(session.Record{}, err)
		}
	}
}

// read gives the lines of an epoch to take, until that is false or there is an error: from where the session of that number
// begins, or from the first if the number is 0, to the last message there is when read begins.
func (j *JetStream) read(ctx context.Context, epoch session.Epoch, number uint64, take func(line []byte) (bool, error)) error {
	if err := j.flush(ctx); err != nil {
		return err
	}
	var s jetstream.Stream
	var end tail
	err := patiently(ctx, func() (err error) {
		if s, err = j.js.Stream(ctx, j.stream); err == nil {
			end, err = lastOf(ctx, s, j.subject(epoch))
		}
		return err
	})
	if err != nil {
		return j.unreadable(ctx, err)
	}
	if end.sequence == 0 || end.top < number {
		return ctx.Err()
	}
	start, err := j.search(ctx, s, epoch, number, end.sequence)
	if err != nil {
		return j.unreadable(ctx, err)
	}
	return j.scan(ctx, epoch, start, end.sequence, take)
}

// unreadable returns ctx's error, or err as one that wraps ErrUnavailable.
func (j *JetStream) unreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, explain(err))
}

// unheard reports whether err says that nobody was there to hear a question.
func unheard(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// patiently asks until somebody hears: the servers of a cluster learn a moment later what was made on another one of them,
// and while they choose a leader nobody answers. It gives up when ctx ends, or after publishTimeout.
func patiently(ctx context.Context, ask func() error) error {
	for end := time.Now().Add(publishTimeout); ; {
		err := ask()
		if !unheard(err) || time.Now().After(end) {
			return err
		}
		if err := pause(ctx, fetchPause); err != nil {
			return err
		}
	}
}

// search returns the sequence of a message behind which alone there is anything of the session of that number: the first
// by which a session of that number, or of a higher one, had come. Of numbers that count up, that is a matter of halving.
func (j *JetStream) search(ctx context.Context, s jetstream.Stream, epoch session.Epoch, n, end uint64) (uint64, error) {
	low, high := uint64(1), end
	if info := s.CachedInfo(); info.State.FirstSeq > 0 {
		low = min(info.State.FirstSeq, high)
	}
	for n > 0 && low < high {
		middle := low + (high-low)/2
		var m *jetstream.RawStreamMsg
		err := patiently(ctx, func() (err error) {
			m, err = s.GetMsg(ctx, middle, jetstream.WithGetMsgSubject(j.subject(epoch)))
			return err
		})
		if err != nil {
			return 0, err
		}
		if number(m.Header, headerTop) >= n {
			high = middle
		} else {
			low = m.Sequence + 1
		}
	}
	return low, nil
}

// scan gives the lines of the epoch's messages from start to end to take.
func (j *JetStream) scan(ctx context.Context, epoch session.Epoch, start, end uint64, take func(line []byte) (bool, error)) error {
	var c jetstream.Consumer
	err := patiently(ctx, func() (err error) {
		c, err = j.js.CreateConsumer(ctx, j.stream, jetstream.ConsumerConfig{
			FilterSubject: j.subject(epoch), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start,
			AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: consumerLife,
		})
		return err
	})
	if err != nil {
		return j.unreadable(ctx, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
		defer cancel()
		_ = j.js.DeleteConsumer(ctx, j.stream, c.CachedInfo().Name) // else the server does, soon
	}()
	heard := time.Now() // of the log, last
	for next := uint64(1); ; {
		fetched, err := c.FetchNoWait(fetchMessages)
		if err != nil {
			return j.unreadable(ctx, err)
		}
		before := next
		for m := range fetched.Messages() {
			meta, err := m.Metadata()
			if err != nil || meta.Sequence.Consumer != next {
				return fmt.Errorf("%w: a message was lost on the way from the log", ErrUnavailable)
			}
			next++
			if meta.Sequence.Stream > end {
				return ctx.Err()
			}
			more := false
			data, err := decode(m.Headers(), m.Data())
			if err == nil {
				more, err = lines(ctx, data, take)
			}
			switch {
			case err != nil && ctx.Err() == nil:
				return fmt.Errorf("journal: message %d of %s: %w", meta.Sequence.Stream, j.stream, err)
			case err != nil:
				return err
			case !more || meta.Sequence.Stream == end:
				return nil
			}
		}
		switch err := fetched.Error(); {
		case err == nil:
			heard = time.Now()
		case !unheard(err) || time.Since(heard) > publishTimeout:
			return j.unreadable(ctx, err)
		}
		if next == before {
			if err := pause(ctx, fetchPause); err != nil {
				return err
			}
		}
	}
}

// lines gives each line of a message to take, until that is false or there is an error, such as ctx's.
func lines(ctx context.Context, data []byte, take func(line []byte) (bool, error)) (more bool, err error) {
	for line := range bytes.Lines(data) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if more, err := take(bytes.TrimSuffix(line, []byte("\n"))); err != nil || !more {
			return false, err
		}
	}
	return true, ctx.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sealed reports whether the last record of a message is a seal.
func sealed(data []byte) bool {
	data = bytes.TrimSuffix(data, []byte("\n"))
	var r session.Record
	if err := r.UnmarshalJSON(data[bytes.LastIndexByte(data, '\n')+1:]); err != nil {
		return false
	}
	_, is := r.Event.(session.NodeSealed)
	return is
}
