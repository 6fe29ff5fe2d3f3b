package bus

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// RegisterMemory is how long a register remembers what was spent: nothing may be spent later than that after it was
	// issued, with a reserve for clocks that differ.
	RegisterMemory = 10 * time.Minute
	// registerTimeout is how long JetStream may take.
	registerTimeout = 2 * time.Second
	// placeFresh is how long it is believed without a question that the stream is still the same. Who asks in vain meanwhile
	// gets a place that is lost.
	placeFresh = 2 * time.Second
	// maxSpendID is the longest id in bytes.
	maxSpendID = 64
)

// ErrRegister is wrapped by the errors of a Register: it cannot say whether something was spent.
var ErrRegister = errors.New("bus: the register of tickets does not answer")

// RegisterConfig is the configuration of a [Register].
type RegisterConfig struct {
	// Conn is the connection to NATS, and stays the caller's, who closes it afterwards. Required.
	Conn *nats.Conn
	// Cluster is a part of the stream's name and of every subject.
	Cluster Cluster
	// Replicas is how many servers keep the register: 1, 3 or 5. 0: 1. It counts when the stream is made.
	Replicas int
	// Logger gets a line when the stream is made. Nil: slog.Default().
	Logger *slog.Logger
}

// Register remembers what was spent, so that each id can be spent once among all nodes of a cluster: a JetStream stream,
// FL_<cluster>_tickets, with one message for each id, on a subject that takes one message only. It keeps nothing in this
// process and has no goroutine, so it needs no Close. All methods may be called at the same time.
//
// A place is one life of the stream, and a part of its subjects: fl.<cluster>.t.<place>.<id>. If the stream is lost and made
// again, no stream hears the subjects of the place before, so nothing of that place can be spent a second time. The stream
// is kept in files, since a server of a NATS cluster that comes back without its memory brings the same stream back empty;
// nobody can purge it, and it is replaced when it is seen to have fewer messages than it had. So what can be spent twice is
// only what a machine that died had not written yet, and only before any node that knew of later messages asks again; with
// more than one replica it is on another machine.
type Register struct {
	// Fixed after NewRegister.
	config RegisterConfig
	js     jetstream.JetStream
	log    *slog.Logger
	stream string
	prefix string
	finder chan struct{} // holds one while the stream is looked for

	// Guarded by mu.
	mu    sync.Mutex
	place string // "": not known
	seen  time.Time
	high  uint64 // a sequence that the stream of this place has had
}

// NewRegister returns the register. It asks nothing yet, so an error is a mistake in the configuration.
func NewRegister(c RegisterConfig) (*Register, error) {
	switch {
	case c.Conn == nil:
		return nil, errors.New("bus: register: Conn is missing")
	case c.Replicas != 0 && c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return nil, fmt.Errorf("bus: register: Replicas is %d; want 1, 3 or 5", c.Replicas)
	}
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, fmt.Errorf("bus: register: %w", err)
	}
	return &Register{
		config: c, js: js, log: cmp.Or(c.Logger, slog.Default()), stream: "FL_" + c.Cluster.String() + "_tickets",
		prefix: "fl." + c.Cluster.String() + ".t.", finder: make(chan struct{}, 1),
	}, nil
}

// Place returns the place in which something that is issued now can be spent. It makes the stream where there is none. It
// blocks until ctx ends, at most two seconds. The error wraps [ErrRegister] and says what would help.
func (r *Register) Place(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	if !r.config.Conn.IsConnected() {
		return "", fmt.Errorf("%w: NATS is away", ErrRegister)
	}
	if place, ok := r.known(); ok {
		return place, nil
	}
	select { // one asks for all
	case r.finder <- struct{}{}:
		defer func() { <-r.finder }()
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %w", ErrRegister, ctx.Err())
	}
	if place, ok := r.known(); ok {
		return place, nil
	}
	had, high := r.had()
	place, last, err := r.find(ctx, true)
	if err == nil && place == had && last < high {
		r.replace(ctx)
		place, last, err = r.find(ctx, true)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRegister, explainRegister(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.place != place {
		r.place, r.high = place, 0
	}
	r.seen, r.high = time.Now(), max(r.high, last)
	return place, nil
}

// had returns the place that is known and a sequence that its stream has had. Who looks whether the stream has lost messages
// calls it before: others spend meanwhile, and their messages are behind what the stream says.
func (r *Register) had() (place string, high uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.place, r.high
}

// replace deletes a stream that has lost messages, so that nothing that was issued before can be spent. That this fails
// changes nothing: the next who looks tries it again.
func (r *Register) replace(ctx context.Context) {
	r.log.Error("bus: the register of tickets has lost messages: no ticket from before is good", "stream", r.stream)
	if err := r.js.DeleteStream(ctx, r.stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		r.log.Error("bus: cannot replace the register of tickets", "stream", r.stream, "err", redact(err.Error()))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = time.Time{}
}

// known returns the place if it was seen a moment ago.
func (r *Register) known() (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.place, r.place != "" && time.Since(r.seen) < placeFresh
}

// find returns the place of the stream, which it makes where there is none, if it may, and its last sequence.
func (r *Register) find(ctx context.Context, create bool) (place string, last uint64, err error) {
	s, err := r.js.Stream(ctx, r.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) && create {
		s, err = r.js.CreateStream(ctx, r.streamConfig(rand.Text()))
		if err == nil {
			r.log.Info("bus: made the register of tickets", "stream", r.stream)
		} else if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
			s, err = r.js.Stream(ctx, r.stream)
		}
	}
	if err != nil {
		return "", 0, err
	}
	info := s.CachedInfo()
	if subjects := info.Config.Subjects; len(subjects) == 1 {
		if place, ok := cutSubject(subjects[0], r.prefix); ok {
			return place, info.State.LastSeq, nil
		}
	}
	return "", 0, fmt.Errorf("the stream %s is none of Fairlead's: delete it", r.stream)
}

// cutSubject returns the place of "<prefix><place>.*".
func cutSubject(subject, prefix string) (place string, ok bool) {
	n := len(subject) - len(".*")
	if n <= len(prefix) || subject[:len(prefix)] != prefix || subject[n:] != ".*" {
		return "", false
	}
	place = subject[len(prefix):n]
	return place, spendable(place)
}

func (r *Register) streamConfig(place string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        r.stream,
		Description: "Fairlead: the tickets that were used, a subject for each",
		Subjects:    []string{r.prefix + place + ".*"},
		Storage:     jetstream.FileStorage,
		Replicas:    max(1, r.config.Replicas),
		MaxAge:      RegisterMemory,
		// What is remembered must not go before its time: a full stream takes no more, and nobody can empty it.
		Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1, DiscardNewPerSubject: true,
		DenyDelete: true, DenyPurge: true,
		Duplicates: time.Second, // it needs none
	}
}

// Spend spends id in the place. It returns true for one of all that ever spend it, on any node; and false for the others
// and in a place that is not there any more. It blocks until ctx ends, at most two seconds. The error wraps [ErrRegister]:
// then nobody can say whether id is spent. place and id are 1 to 64 letters and digits.
func (r *Register) Spend(ctx context.Context, place, id string) (first bool, err error) {
	if !spendable(place) || !spendable(id) { // it could mean another subject
		return false, fmt.Errorf("%w: the id or the place has other characters than letters and digits", ErrRegister)
	}
	if !r.config.Conn.IsConnected() {
		return false, fmt.Errorf("%w: NATS is away", ErrRegister)
	}
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	had, high := r.had()
	ack, err := r.js.PublishMsg(ctx, &nats.Msg{Subject: r.prefix + place + "." + id},
		jetstream.WithExpectStream(r.stream), jetstream.WithExpectLastSequencePerSubject(0), jetstream.WithRetryAttempts(1))
	var api *jetstream.APIError
	switch {
	case err == nil && place == had && ack.Sequence <= high:
		r.replace(ctx)
		return false, nil
	case err == nil:
		r.saw(place, ack.Sequence)
		return true, nil
	case errors.As(err, &api) && isSpent(api):
		return false, nil
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		// Either the place is lost or JetStream is away.
		now, _, ferr := r.find(ctx, false)
		if errors.Is(ferr, jetstream.ErrStreamNotFound) || ferr == nil && now != place {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen = time.Time{} // what is issued now has a place of its own
			return false, nil
		}
		err = cmp.Or(ferr, err)
	}
	return false, fmt.Errorf("%w: %w", ErrRegister, explainRegister(err))
}

// saw notes a sequence of the place, which may be the first that is heard of it.
func (r *Register) saw(place string, sequence uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place != r.place {
		r.place, r.seen, r.high = place, time.Time{}, 0
	}
	r.high = max(r.high, sequence)
}

// isSpent reports whether a refusal of JetStream says that the subject has a message already.
func isSpent(e *jetstream.APIError) bool {
	switch e.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return true
	}
	return e.Description == "maximum messages per subject exceeded"
}

// spendable reports whether s is 1 to 64 letters and digits.
func spendable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= maxSpendID
}

// explainRegister adds to an error what would help, where that is known.
func explainRegister(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeJetStreamNotEnabled || api.ErrorCode == jetstream.JSErrCodeJetStreamNotEnabledForAccount),
		errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w; NATS has no JetStream, or none that is ready: tickets need it, so turn it on, for this account too", err)
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("NATS did not answer in time")
	}
	return err
}
