package journal

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fairlead-ws/fairlead/session"
)

// The headers of a message in the log.
const (
	headerBatch   = "Fairlead-Batch"   // which batch it is: writer and number
	headerRecords = "Fairlead-Records" // how many records the writer has written to the subject, these included
	headerTop     = "Fairlead-Top"     // the highest session number in the subject so far
)

// metadataIncarnation is the key of the stream's metadata that is new whenever the stream is.
const metadataIncarnation = "fairlead_incarnation"

// Errors of the API that package jetstream has no names for (nats-server, server/errors.json).
const (
	codeNoPeers              jetstream.ErrorCode = 10005
	codeInsufficient         jetstream.ErrorCode = 10023
	codeMemoryExceeded       jetstream.ErrorCode = 10028
	codeStorageExceeded      jetstream.ErrorCode = 10047
	codeReplicasNotSupported jetstream.ErrorCode = 10074
)

func (j *JetStream) subject(e session.Epoch) string { return j.prefix + e.String() }

// failure sorts the errors of a publication.
func failure(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return fmt.Errorf("%w: %w", errConflict, err)
		case jetstream.JSErrCodeStreamMessageExceedsMaximum:
			return fmt.Errorf("%w: %w", errRejected, err)
		}
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", errRejected, err)
	}
	return err
}

// explain adds to an error what would help, where that is known.
func explain(err error) error {
	var api *jetstream.APIError
	code := jetstream.ErrorCode(0)
	if errors.As(err, &api) {
		code = api.ErrorCode
	}
	switch {
	case code == jetstream.JSErrCodeJetStreamNotEnabled, code == jetstream.JSErrCodeJetStreamNotEnabledForAccount:
		return fmt.Errorf(`%w; turn JetStream on in NATS, for this account too, or set journal.mode to "off"`, err)
	case code == codeNoPeers, code == codeReplicasNotSupported:
		return fmt.Errorf("%w; journal.replicas needs as many NATS servers with JetStream", err)
	case code == codeStorageExceeded, code == codeMemoryExceeded, code == codeInsufficient:
		return fmt.Errorf("%w; give NATS more room (nats.store_bytes for the embedded one), or shorten journal.retention", err)
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf(`%w; NATS has no JetStream (turn it on, or set journal.mode to "off"), or none that is ready`, err)
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("NATS did not answer in time")
	}
	return err
}

// assure looks what the log has. When it knows, the writer is sure: of b, which was tried before, whether it is in the log;
// of each lane, which message is the last; and whether something is missing that was there, which is to be marked then.
func (j *JetStream) assure(ctx context.Context, b *batch) error {
	w := &j.writer
	if !j.config.Conn.IsConnected() {
		return nats.ErrDisconnected
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	incarnation, err := j.findStream(ctx)
	if err != nil {
		return err
	}
	changed := w.incarnation != "" && w.incarnation != incarnation
	if _, err := j.lane(ctx, j.config.Epoch); err != nil {
		return err
	}
	for epoch, l := range w.lanes {
		t, err := j.tail(ctx, epoch)
		if err != nil {
			return err
		}
		j.compare(epoch, l, t, changed, b)
	}
	w.incarnation, w.sure = incarnation, true
	return nil
}

// compare takes over what the log says of a lane.
func (j *JetStream) compare(epoch session.Epoch, l *lane, t tail, changed bool, b *batch) {
	w := &j.writer
	if b != nil && b.epoch == epoch && !b.written && b.id != "" && b.id == t.batch {
		l.wrote(t.sequence, b) // its acknowledgement was lost
		return
	}
	if l.records > 0 && (changed || t.sequence < l.last) {
		lost, since := l.records, l.since
		if kept := t.of(j.name); kept > 0 { // a server that lost only what came last
			lost, since = l.records-min(kept, l.records), t.time
		}
		if epoch == j.config.Epoch {
			j.mu.Lock()
			j.marking = append(j.marking, &gap{since: since, lost: lost, reason: GapStoreLost})
			j.mu.Unlock()
		}
		l.records -= lost
		if l.records == 0 {
			l.since = time.Time{}
		}
		if b != nil && b.epoch == epoch && b.message != nil { // the gap takes its numbers first
			b.message = nil
			w.numbers[epoch] -= uint64(len(b.nodes))
		}
	} else if kept := t.of(j.name); t.sequence > l.last && kept > l.records { // a gap's, whose acknowledgement was lost
		if l.records == 0 {
			l.since = t.time
		}
		l.records, l.spoke = kept, time.Now()
	} else if t.sequence > l.last && l.last > 0 {
		j.log.Warn("journal: somebody else has written to the epoch", "epoch", epoch.String())
	}
	l.last = t.sequence
}

// lane returns the writer's place in an epoch's subject. For a new one it asks the log.
func (j *JetStream) lane(ctx context.Context, epoch session.Epoch) (*lane, error) {
	if l := j.writer.lanes[epoch]; l != nil {
		return l, nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	t, err := j.tail(ctx, epoch)
	if err != nil {
		return nil, err
	}
	l := &lane{last: t.sequence}
	j.writer.lanes[epoch] = l
	j.mu.Lock()
	j.tops[epoch] = max(j.tops[epoch], t.top)
	j.mu.Unlock()
	return l, nil
}

// tail is the last message of an epoch's subject.
type tail struct {
	sequence uint64 // 0: there is none
	batch    string
	records  uint64
	top      uint64
	time     time.Time
	message  *jetstream.RawStreamMsg // nil: there is none
}

// sealed reports whether the last record is a seal. Of a message that this version cannot read it is not known to be.
func (t *tail) sealed() bool {
	if t.message == nil {
		return false
	}
	data, err := decode(t.message.Header, t.message.Data)
	return err == nil && sealed(data)
}

// of returns how many records the writer of that name had written when the message was the last one; 0 if it is no
// message of that writer.
func (t *tail) of(name string) uint64 {
	if writer, _, _ := strings.Cut(t.batch, "."); writer != name {
		return 0
	}
	return t.records
}

func (j *JetStream) tail(ctx context.Context, epoch session.Epoch) (tail, error) {
	return lastOf(ctx, j.writer.stream, j.subject(epoch))
}

// lastOf asks the stream's leader for the last message of a subject.
func lastOf(ctx context.Context, s jetstream.Stream, subject string) (tail, error) {
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return tail{}, nil
	}
	if err != nil {
		return tail{}, err
	}
	return tail{m.Sequence, m.Header.Get(headerBatch), number(m.Header, headerRecords), number(m.Header, headerTop), m.Time, m}, nil
}

// number returns the number in a header, 0 where there is none.
func number(h nats.Header, name string) uint64 {
	n, err := strconv.ParseUint(h.Get(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// findStream looks for the stream, makes it where there is none, and returns its incarnation.
func (j *JetStream) findStream(ctx context.Context) (string, error) {
	w := &j.writer
	s, err := j.js.Stream(ctx, j.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = j.js.CreateStream(ctx, j.streamConfig())
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
			s, err = j.js.Stream(ctx, j.stream)
		}
	}
	if err != nil {
		return "", err
	}
	w.stream = s
	info := s.CachedInfo()
	if !w.said {
		w.said = true
		j.adjust(ctx, info.Config)
	}
	// A stream that somebody made by hand has no incarnation, but it was made at a time.
	return cmp.Or(info.Config.Metadata[metadataIncarnation], info.Created.String()), nil
}

func (j *JetStream) streamConfig() jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:        j.stream,
		Description: "Fairlead: the journal of sessions and nodes, a subject for each epoch",
		Subjects:    []string{j.prefix + "*"},
		Storage:     jetstream.FileStorage,
		Replicas:    j.config.Replicas,
		MaxBytes:    -1,
		Metadata:    map[string]string{metadataIncarnation: rand.Text()},
	}
	if j.config.Memory {
		c.Storage = jetstream.MemoryStorage
	}
	if j.config.MaxBytes > 0 {
		c.MaxBytes = j.config.MaxBytes
	}
	return c
}

// adjust makes a stream that was there what is configured, as far as a stream can be changed. It is done once, so that two
// nodes with two configurations do not go on undoing what the other did.
func (j *JetStream) adjust(ctx context.Context, is jetstream.StreamConfig) {
	want := j.streamConfig()
	if is.Storage != want.Storage {
		j.log.Warn("journal: the stream keeps its store, which cannot be changed: delete the stream to have another",
			"stream", j.stream, "store", is.Storage.String(), "configured", want.Storage.String())
	}
	if is.Replicas == want.Replicas && is.MaxBytes == want.MaxBytes {
		return
	}
	changed := is
	changed.Replicas, changed.MaxBytes = want.Replicas, want.MaxBytes
	if _, err := j.js.UpdateStream(ctx, changed); err != nil {
		j.log.Warn("journal: the stream stays as it is", "stream", j.stream, "replicas", is.Replicas, "configured", want.Replicas, "err", explain(err))
		return
	}
	j.log.Info("journal: the stream was changed to what is configured", "stream", j.stream, "replicas", want.Replicas)
}
