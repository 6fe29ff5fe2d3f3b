package journal

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-ws/fairlead/session"
)

var (
	// ErrUnavailable is returned, wrapped with the cause, while the log is away: by an append of an opening in mode
	// Require, by Healthy and Seal, and yielded by reads.
	ErrUnavailable = errors.New("journal: the log is away")
	// ErrSealed is returned for an append to an epoch that has been sealed.
	ErrSealed = errors.New("journal: the epoch is sealed")
)

// Mode says what a [JetStream] does while its log is away.
type Mode uint8

const (
	// Degrade takes every record, as long as the buffer has room, and says in a gap what it could not keep.
	Degrade Mode = iota
	// Require takes an opening only when it is in the log. All other records are taken as in Degrade: what has begun can
	// always go on, and end.
	Require
)

// String returns "degrade" or "require".
func (m Mode) String() string {
	if m == Require {
		return "require"
	}
	return "degrade"
}

// The reasons of a gap.
const (
	GapBufferFull = "buffer_full" // the log was away for longer than the buffer had room
	GapStoreLost  = "store_lost"  // the log had records that it has no longer
	GapRejected   = "rejected"    // the log does not take a batch, and never will
)

const (
	// DefaultBufferBytes bounds what waits for a log that is away.
	DefaultBufferBytes = 16 << 20
	// DefaultRetention is how long an epoch's records are kept after its end.
	DefaultRetention = 24 * time.Hour

	// lingerTime is how long a record waits for others to share its message, if nobody waits for it. It is what can be
	// lost when the process dies. A message costs as much as a hundred records, on a machine that is idle otherwise: that
	// many goroutines have to be woken.
	lingerTime = 50 * time.Millisecond
	// publishTimeout is how long the log may take for one message before it counts as away.
	publishTimeout = 2 * time.Second
	// shortRetry and longRetry are the pauses before the log is tried again.
	shortRetry, longRetry = 50 * time.Millisecond, time.Second
	// checkInterval is how often it is looked whether the log still has what it had.
	checkInterval = 5 * time.Second
	// closePatience is how long Close waits for what is not written yet, if the log is there.
	closePatience = 2 * time.Second
	// sayInterval is how long one and the same trouble is not logged again.
	sayInterval = 30 * time.Second
)

// JetStreamConfig configures [NewJetStream].
type JetStreamConfig struct {
	// Conn is the connection to NATS, and stays the caller's, who closes it after the journal. It should fail at once to
	// publish while it is disconnected. Required.
	Conn *nats.Conn
	// Cluster is a part of the stream's name and of every subject: 1 to 32 of A-Z a-z 0-9 _ -. Required.
	Cluster string
	// Epoch is this life of the node: of its seal, its gaps, and what is announced. Required.
	Epoch session.Epoch
	// Mode is Degrade or Require.
	Mode Mode
	// Replicas is how many servers keep the log: 1, 3 or 5. 0: 1.
	Replicas int
	// Memory keeps the log in the servers' memory instead of their files. It counts when the stream is made.
	Memory bool
	// MaxBytes bounds the log on each server: the oldest records go first. 0: the server's own limit, at which the log is
	// full and takes no more.
	MaxBytes int64
	// Retention is how long an epoch's records are kept after its seal, or twice that after the last sign of life of an
	// epoch without one. 0: 24 h.
	Retention time.Duration
	// BufferBytes bounds the records that wait for the log. 0: 16 MiB.
	BufferBytes int
	// Announce returns an opening for each session that is open, with the groups that it is in, the time of its first
	// opening and the sequence of its last event. It is called on the journal's goroutine after a gap, and may take as
	// long as it must, but must not wait for an append. Nil: nothing is announced.
	Announce func() iter.Seq[session.Record]
	// Logger gets a line when the log goes and when it comes back. Nil: slog.Default().
	Logger *slog.Logger
	// Registerer takes the metrics. Nil leaves them unregistered.
	Registerer prometheus.Registerer
}

// JetStream is a journal in a JetStream stream, which all nodes of a cluster share: each epoch has a subject of its own,
// with one writer. All methods may be called by several goroutines at once.
type JetStream struct {
	// Fixed after NewJetStream.
	config  JetStreamConfig
	js      jetstream.JetStream
	stream  string
	prefix  string // of every epoch's subject
	name    string // of this writer among all that ever were
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{}
	turned  chan nats.Status   // the connection came or went
	abort   context.CancelFunc // ends what waits for NATS
	ended   sync.WaitGroup     // the writer and the janitor
	tried   chan struct{}      // closed when the log has been tried once
	stopped chan struct{}      // closed: no more is taken

	// Owned by the writer's goroutine.
	writer writer

	// Guarded by mu.
	mu       sync.Mutex
	queue    []*batch // the oldest first; the last one is still open
	writing  *batch   // taken from the queue, not written yet
	buffered int      // bytes of both
	spare    [][]byte // what batches that are written had: at most maxSpare
	gap      *gap     // what does not fit is counted here until the queue is empty
	marking  []*gap   // gaps that are being written
	trouble  error    // why the log is away, or nil
	sealed   bool
	closed   bool
	tops     map[session.Epoch]uint64 // the highest session number yet
	said     string                   // the trouble that was logged last
	saidAt   time.Time
}

// NewJetStream returns a journal of the epoch. It waits for the first answer of NATS until ctx ends, at most two seconds;
// if there is none, or no good one, the journal goes on trying and [JetStream.Healthy] says why. So an error is a mistake
// in the configuration, or a metric that cannot be registered.
func NewJetStream(ctx context.Context, c JetStreamConfig) (*JetStream, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.BufferBytes = cmp.Or(c.BufferBytes, DefaultBufferBytes)
	c.Retention = cmp.Or(c.Retention, DefaultRetention)
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &JetStream{
		config: c, js: js, stream: "FL_" + c.Cluster + "_journal", prefix: "fl." + c.Cluster + ".j.", name: rand.Text(),
		log: cmp.Or(c.Logger, slog.Default()), wake: make(chan struct{}, 1), tried: make(chan struct{}), stopped: make(chan struct{}),
		trouble: errors.New("it has not answered yet"), tops: map[session.Epoch]uint64{},
	}
	if j.metrics, err = newMetrics(c.Registerer, j.buffers); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j.writer = writer{lanes: map[session.Epoch]*lane{}, numbers: map[session.Epoch]uint64{}}
	j.turned = c.Conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	working, abort := context.WithCancel(context.Background())
	j.abort = abort
	j.ended.Go(func() { j.write(working) })
	j.ended.Go(func() { j.purge(working) })
	select {
	case <-j.tried:
	case <-ctx.Done():
	case <-time.After(publishTimeout):
	}
	return j, nil
}

func (c *JetStreamConfig) check() error {
	switch {
	case c.Conn == nil:
		return errors.New("journal: Conn is missing")
	case c.Epoch.IsZero():
		return errors.New("journal: Epoch is missing")
	case c.Cluster == "" || len(c.Cluster) > 32 || strings.ContainsFunc(c.Cluster, notInName):
		return fmt.Errorf("journal: Cluster is %.40q; want 1 to 32 of A-Z a-z 0-9 _ -", c.Cluster)
	case c.Replicas != 0 && c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return fmt.Errorf("journal: Replicas is %d; want 1, 3 or 5", c.Replicas)
	case c.BufferBytes < 0 || c.Retention < 0 || c.MaxBytes < 0:
		return errors.New("journal: BufferBytes, Retention and MaxBytes must not be negative")
	}
	return nil
}

func notInName(r rune) bool {
	return ('a' > r || r > 'z') && ('A' > r || r > 'Z') && ('0' > r || r > '9') && r != '_' && r != '-'
}

// Append takes the records, in their order and with none of another append between them, or none of them. All must be of
// one epoch, which nobody else writes. Records of a node itself (session number 0) get the next number of their epoch,
// whatever their Seq says. Nothing of the records is kept.
//
// It waits for nothing but a lock, with one exception: in mode Require the append of an opening returns when the log has
// it, or says that it is not there. After an error the session counts as closed, if the log has it after all.
//
// When the buffer is full the records are dropped, and nil is returned: the log gets a gap when it is back, and the open
// sessions are announced again.
//
// The error is ctx's, wraps [session.ErrRecord] when a record does not pass its Check or the records are of two epochs or
// larger than a message may be, or is [ErrClosed] or [ErrSealed], or wraps [ErrUnavailable].
func (j *JetStream) Append(ctx context.Context, records ...session.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := parcels.Get().(*parcel)
	defer parcels.Put(p)
	if err := p.pack(records); err != nil {
		return err
	}
	w, err := j.put(p)
	if w == nil {
		return err
	}
	if err = w.wait(ctx); err != nil {
		j.withdraw(records)
	}
	return err
}

// withdraw closes the sessions of openings that may be in the log, though nobody was let in.
func (j *JetStream) withdraw(records []session.Record) {
	for _, r := range records {
		if _, ok := r.Event.(session.Opened); !ok {
			continue
		}
		r.Seq++
		r.Event = session.Closed{Code: 1013, Reason: "not opened: the journal did not confirm it in time"}
		// The error is that of a journal that was closed meanwhile: then the opening is not written either, or is lost.
		_ = j.Append(context.Background(), r)
	}
}

// Healthy returns nil while the log takes what it is given, and otherwise an error that says what is wrong, and wraps
// [ErrUnavailable] or is [ErrClosed].
func (j *JetStream) Healthy() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.awayLocked()
}

func (j *JetStream) awayLocked() error {
	switch {
	case j.closed:
		return ErrClosed
	case j.trouble != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, j.trouble)
	}
	return nil
}

// Seal appends the last record of the epoch, and returns when the log has it and everything before it. Appends to the
// epoch find [ErrSealed] from then on, whatever Seal returns: ctx's error, [ErrClosed], or one that wraps [ErrUnavailable].
func (j *JetStream) Seal(ctx context.Context, reason string) error {
	p := parcels.Get().(*parcel)
	defer parcels.Put(p)
	err := p.pack([]session.Record{{
		Time: time.Now(), Session: session.ID{Epoch: j.config.Epoch}, Event: session.NodeSealed{Reason: reason},
	}})
	if err != nil {
		return err
	}
	if err := j.flush(ctx); err != nil { // a gap stands before the seal
		j.mu.Lock()
		j.sealed = true
		j.mu.Unlock()
		return err
	}
	if err := j.putSeal(p); err != nil {
		return err
	}
	return j.flush(ctx)
}

// Close writes what is not written yet, for at most two seconds and only if the log is there, counts the rest as dropped,
// and ends. Appends and reads that begin later find [ErrClosed]. It never fails, and may be called more than once. The
// connection stays open.
func (j *JetStream) Close() error {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.mu.Unlock()
	if first {
		close(j.stopped)
		defer time.AfterFunc(closePatience, j.abort).Stop()
	}
	j.ended.Wait()
	if first {
		j.abort()
		j.config.Conn.RemoveStatusListener(j.turned)
		j.discard()
	}
	return nil
}
