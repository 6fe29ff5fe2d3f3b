package actor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// ErrMember is returned by [Actor.Join] for a group that the session is in already.
var ErrMember = errors.New("already a member of the group")

// ErrTooManyGroups is returned where a session would be in more groups than Limits.GroupsPerConnection.
var ErrTooManyGroups = errors.New("the session is in as many groups as it may be in")

// ErrClosing is returned once the connection is closing.
var ErrClosing = errors.New("the connection is closing")

// phase is where a connection is in its closing handshake (RFC 6455 section 7.1).
type phase uint8

const (
	phaseOpen   phase = iota
	phaseClosed       // our close frame is sent; the peer's is awaited, data is ignored
	phaseLinger       // nothing more is said or listened to; the end of the connection is awaited
	phaseEnded        // the groups are left; the Handler is told, and can change nothing any more
)

// lingerBytes is how much a peer may still send after the close before it is cut off.
const lingerBytes = 1 << 20

// Actor owns one connection and the session on it. Its methods say which goroutines may call them; those that say "only
// in a Handler" are for the actor's own goroutine: inside a method of the [Handler], or a function given to [Actor.Do].
type Actor struct {
	// What a delivery touches comes first, together: most of what one costs here is to fetch it from memory.

	// Guarded by mu.
	mu         sync.Mutex
	shut       bool    // the last frame is sent or queued
	muted      bool    // no more messages: the credential has expired
	dead       bool    // the connection is given up: nothing touches it but the actor, which ends
	compressed bool    // fixed after Open, here for its size: permessage-deflate was agreed on
	direct     int32   // fixed after Open, here for its size: 1 + the descriptor to write to without conn, 0: none
	out        *outbox // nil: the socket has taken everything
	sent       counters

	// Fixed after Open.
	system   *System
	conn     transport
	handler  Handler
	identity *session.Identity
	number   uint64 // of the session

	// Owned by the actor's goroutine (before the start: the handshake's).
	state    session.State
	members  []*bus.Membership // of state.Groups, in the same order
	reader   *reader           // nil while nothing is half read
	backlog  *backlog          // nil while the bus has taken everything
	ending   *ending           // nil while the connection is open
	received counters
	quota    *quota // nil while no limit needs one; what is counted in it changes under system.mu

	// Guarded by mu.
	mail []command

	// Guarded by system.mu.
	slot int32

	// Atomic.
	mailed atomic.Bool  // mail is not empty
	paused atomic.Bool  // not reading, until the bus has room; only the actor sets it
	grown  atomic.Bool  // the goroutine has run deep since it was started
	heard  atomic.Int64 // when the peer was last heard of: System.clock
	// When the credential ends, Unix milliseconds, 0: never. Only the actor sets it.
	expires atomic.Int64

	// Guarded by mu, here for its size.
	ended bool // the actor has ended

	// Owned by the actor's goroutine, here for its size.
	phase phase

	// Atomic. Only the sweeper sets it.
	expired atomic.Bool

	// Owned by the sweeper's goroutine.
	pinged int64 // when the ping that awaits its answer was sent, 0: none
}

// backlog is what a client said and the bus has not taken.
type backlog struct {
	messages []bus.Message // published
	bytes    int           // what messages cost
	rest     []byte        // read, not taken apart yet
}

// ending is how a connection that is closing ends.
type ending struct {
	by       time.Time // when it is cut off
	closure  Closure
	lingered int // bytes that came after the close
}

type counters struct{ messages, bytes uint64 }

// ID returns the session's id. Any goroutine.
func (a *Actor) ID() session.ID {
	return session.ID{Epoch: a.system.config.Epoch, Number: a.number}
}

// Identity returns who the client is, as it was at the opening: when the credential ends by now, State says. It is not to be
// changed. Any goroutine.
func (a *Actor) Identity() *session.Identity { return a.identity }

// State returns the session's state. Only in a Handler.
func (a *Actor) State() session.State { return a.state }

// run is the actor's goroutine: it parks until bytes or commands come, again and again. What it calls while it is parked
// is kept shallow, so that an idle connection needs the smallest stack there is.
func (a *Actor) run() {
	defer a.contain(true)
	for {
		if a.mailed.Load() && !a.drain() {
			return
		}
		buf, err := a.park()
		switch {
		case err == nil:
			if !a.feed(buf) {
				return
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !a.drain() {
				return
			}
		default:
			a.lost(err)
			return
		}
	}
}

func (a *Actor) park() (*readBuffer, error) {
	if a.paused.Load() {
		return nil, a.conn.pause()
	}
	return a.conn.read()
}

// start is run for a connection whose client sent more than the handshake in one go.
func (a *Actor) start(first []byte) {
	if a.begin(first) {
		go a.run() // the stack of this goroutine has grown
	}
}

func (a *Actor) begin(first []byte) bool {
	defer a.contain(true)
	return !a.takeBytes(len(first)) || a.process(first)
}

// contain closes the connection, and does nothing else, when a Handler panics. The panic may have left anything half done,
// but reading and the mailbox need none of that in phaseLinger; goOn goes on with them, as a fresh goroutine.
func (a *Actor) contain(goOn bool) {
	v := recover()
	if v == nil {
		return
	}
	a.system.metrics.panics.Inc()
	a.system.config.Logger.Error("a handler panicked; its connection is closed",
		"session", a.ID(), "panic", describe(v), "stack", string(debug.Stack()))
	a.mu.Lock()
	dead, ended := a.dead, a.ended
	a.mu.Unlock()
	if ended { // on the way out
		return
	}
	a.handler = Ignore // it is not to be trusted with the end
	c := Closure{Code: CloseInternalError, Reason: "a handler panicked"}
	a.sendClose(closeFrame(c.Code, "internal error"), true, false)
	a.await(phaseLinger, c)
	a.linger()
	if dead { // the command that says so may have been lost
		a.post(cut{c.Code, c.Reason, slowNone})
	}
	if goOn {
		go a.run()
	}
}

// describe says what a Handler panicked with. A payload or a credential may be in it: only its type is told, and the text
// where the Go runtime itself wrote it.
func describe(v any) string {
	if e, ok := v.(runtime.Error); ok {
		return e.Error()
	}
	return fmt.Sprintf("a value of type %T", v)
}

// feed takes what was read, and gives the buffer back. It reports false when the actor has ended.
func (a *Actor) feed(buf *readBuffer) bool {
	a.heard.Store(a.system.clock.Load())
	if a.direct == 0 {
		if _, layered := a.conn.(layered); layered { // that needs a deep stack, whatever came
			a.grown.Store(true)
		}
	}
	ok := true
	if a.takeBytes(buf.n) {
		ok = a.process(buf.bytes())
	}
	readBuffers.Put(buf)
	return ok
}

// process takes b apart and acts on what is in it. It reports false when the actor has ended.
func (a *Actor) process(b []byte) bool {
	if a.phase == phaseLinger {
		if a.ending.lingered += len(b); a.ending.lingered > lingerBytes {
			a.finish(a.ending.closure, true)
			return false
		}
		return true
	}
	r := a.reader
	if r == nil {
		r = newReader(a.system.config.MessageBytes)
		r.deflate = a.compressed
	}
	for len(b) > 0 {
		ev, n, err := r.next(b)
		b = b[n:]
		if err != nil {
			a.reader = nil
			a.violated(err)
			return true
		}
		if !a.handle(ev) {
			return false
		}
		if a.phase == phaseLinger {
			break
		}
		if a.paused.Load() && len(b) > 0 {
			a.backlog.rest = slices.Clone(b)
			break
		}
	}
	if r.idle() {
		r.free()
		r = nil
	}
	a.reader = r
	return true
}

// handle acts on a message or control frame. It reports false when the actor has ended.
func (a *Actor) handle(ev event) bool {
	switch ev.kind {
	case gotMessage:
		if a.phase != phaseOpen {
			return true // it crossed our close frame
		}
		if !a.takeMessage() || ev.gained > 0 && !a.takeBytes(ev.gained) {
			return true
		}
		a.received.messages++
		a.received.bytes += uint64(len(ev.payload))
		a.system.metrics.received(len(ev.payload))
		a.grown.Store(true)
		a.handler.Message(a, Message{Binary: ev.binary, Payload: ev.payload})
	case gotPing:
		if a.phase != phaseOpen || a.takeMessage() {
			a.sendPong(ev.payload)
		}
	case gotClose:
		return a.closedByPeer(ev.payload)
	case gotPong, needMore: // that it came is all there is to know
	}
	return true
}

// offer gives m to the bus, behind what waits for it.
func (a *Actor) offer(m bus.Message) {
	switch {
	case a.phase != phaseOpen:
		a.system.metrics.unpublished.Inc()
	case a.backlog == nil && a.taken(m):
	case a.backlog == nil:
		a.backlog = &backlog{messages: []bus.Message{m}, bytes: cost(m.Payload)}
	default:
		a.backlog.messages = append(a.backlog.messages, m)
		a.backlog.bytes += cost(m.Payload)
	}
}

// taken reports whether the bus has done with m. If it is busy the client is not read until it has room.
func (a *Actor) taken(m bus.Message) bool {
	err := a.system.config.Bus.Publish(m, a)
	if errors.Is(err, bus.ErrBusy) {
		a.paused.Store(true)
		a.system.metrics.paused.Inc()
		return false
	}
	if err != nil {
		a.system.metrics.unpublished.Inc()
	}
	if errors.Is(err, bus.ErrTooLarge) {
		a.startClose(CloseMessageTooBig, "the message is too big for the bus")
	}
	return true
}

// resume gives the bus what waits for it, and goes on with what was read. It reports false when the actor has ended.
func (a *Actor) resume() bool {
	a.paused.Store(false)
	for a.backlog != nil && len(a.backlog.messages) > 0 {
		if !a.taken(a.backlog.messages[0]) {
			return true
		}
		if a.backlog != nil { // else the message closed the connection
			a.backlog.bytes -= cost(a.backlog.messages[0].Payload)
			a.backlog.messages = a.backlog.messages[1:]
		}
	}
	b := a.backlog
	a.backlog = nil
	if b == nil || b.rest == nil {
		return true
	}
	return a.process(b.rest)
}

// BusReady implements [bus.Waiter].
func (a *Actor) BusReady() { a.post(resume{}) }

// mayRenew reports whether the goroutine can be left for a fresh one.
func (a *Actor) mayRenew() bool { return a.reader == nil && a.backlog == nil }

// decide makes e a fact: it is applied to the state and appended to the journal.
func (a *Actor) decide(ctx context.Context, now time.Time, e session.Event) error {
	r := session.Record{Time: now, Session: a.ID(), Seq: a.state.Seq + 1, Event: e}
	a.state = a.state.Apply(r)
	if err := a.system.config.Journal.Append(ctx, r); err != nil {
		a.system.metrics.unrecorded.Inc()
		return err
	}
	return nil
}

// lost ends a connection that reading said is over.
func (a *Actor) lost(err error) {
	if a.phase != phaseOpen {
		a.finish(a.ending.closure, false)
		return
	}
	c := Closure{Code: CloseAbnormal, Reason: "the connection was lost", ByPeer: true}
	if errors.Is(err, io.EOF) {
		c.Reason = "the peer ended the connection without a close frame"
	}
	a.finish(c, false)
}
