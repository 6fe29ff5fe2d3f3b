package actor

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/bus"
)

// gatherBytes is how much a temporary writer joins to one write.
const gatherBytes = 16 << 10

// outbox is what the socket has not taken. An actor has one only while there is something in it, or while it is held.
// It is guarded by the actor's mu.
type outbox struct {
	held    bool     // before the 101 response is out: nothing is written
	partial []byte   // the rest of what is on the wire in part: before all else
	pong    []byte   // the newest pong; older ones need no answer (RFC 6455 section 5.5.3)
	ping    []byte   // a ping: a client that is slow, and reads, is to answer it in time
	frames  [][]byte // data
	next    int      // the first of frames that is not taken
	last    []byte   // the close frame: after all else
	fin     bool     // close our half of the connection after all else
	bytes   int      // what all that costs, also what the writer has taken and not written
}

// frameOverhead is what a queued frame costs beside its bytes: else a million empty frames would cost nothing.
const frameOverhead = 32

func cost(p []byte) int { return len(p) + frameOverhead }

var outboxes = sync.Pool{New: func() any { return new(outbox) }}

func newOutbox() *outbox { return outboxes.Get().(*outbox) }

// free gives the outbox back. Its slices belong to others by now.
func (o *outbox) free() {
	clear(o.frames)
	frames := o.frames[:0]
	if cap(frames) > 64 {
		frames = nil
	}
	*o = outbox{frames: frames}
	outboxes.Put(o)
}

// gathered are the buffers that temporary writers join frames in. Most writers need none.
var gathered = sync.Pool{New: func() any { return new([gatherBytes]byte) }}

// take returns what is to be written next and what that costs, nil if there is nothing. Small frames are joined into
// scratch, which is taken from the pool for the first of them, and is the writer's to give back.
func (o *outbox) take(scratch **[gatherBytes]byte) (p []byte, n int) {
	switch {
	case o.partial != nil:
		p, o.partial = o.partial, nil
		return p, cost(p)
	case o.pong != nil:
		p, o.pong = o.pong, nil
		return p, cost(p)
	case o.ping != nil:
		p, o.ping = o.ping, nil
		return p, cost(p)
	case o.next == len(o.frames):
		o.frames, o.next = o.frames[:0], 0
		p, o.last = o.last, nil
		if p == nil {
			return nil, 0
		}
		return p, cost(p)
	}
	p = o.shift()
	n = cost(p)
	if len(p) >= gatherBytes/2 || o.next == len(o.frames) || len(p)+len(o.frames[o.next]) > gatherBytes {
		return p, n
	}
	if *scratch == nil {
		*scratch = gathered.Get().(*[gatherBytes]byte)
	}
	joined := append((*scratch)[:0], p...)
	for o.next < len(o.frames) && len(joined)+len(o.frames[o.next]) <= gatherBytes {
		p = o.shift()
		n += cost(p)
		joined = append(joined, p...)
	}
	return joined, n
}

// push queues a frame.
func (o *outbox) push(p []byte) {
	if o.next > 64 && o.next > len(o.frames)/2 {
		n := copy(o.frames, o.frames[o.next:])
		clear(o.frames[n:])
		o.frames, o.next = o.frames[:n], 0
	}
	o.frames = append(o.frames, p)
}

// shift takes the first of frames.
func (o *outbox) shift() []byte {
	p := o.frames[o.next]
	o.frames[o.next] = nil
	o.next++
	return p
}

// discard drops the data that waits, but not what is on the wire in part, and returns what it cost.
func (o *outbox) discard() (n int) {
	for o.next < len(o.frames) {
		n += cost(o.shift())
	}
	return n
}

// Deliver implements [bus.Member]: it writes the batch, or queues it, without waking the actor.
func (a *Actor) Deliver(b *bus.Batch) bool {
	p := b.Bytes(a.encoding())
	return a.send(p, len(b.Messages()))
}

// send writes p, whole frames with so many messages, or queues it. p is read-only from now on, and may be kept. It
// reports false if p will not be sent: the connection is closing, or this very call found it too slow.
func (a *Actor) send(p []byte, messages int) bool {
	a.mu.Lock()
	if a.shut || a.muted {
		a.mu.Unlock()
		return false
	}
	wake, ok := a.sendLocked(p)
	if ok {
		a.sent.messages += uint64(messages)
		a.sent.bytes += uint64(len(p))
	}
	a.mu.Unlock()
	if wake {
		a.conn.interrupt()
	}
	if ok {
		a.system.metrics.sent(a.number, messages, len(p))
	}
	return ok
}

// sendLocked is send with mu held. wake asks for a.conn.interrupt, after mu is released.
func (a *Actor) sendLocked(p []byte) (wake, ok bool) {
	if a.out != nil {
		if a.out.bytes+cost(p) > a.system.config.OutboxBytes {
			return a.cutLocked(cut{CloseTryAgainLater, "the client reads too slowly: its outbox is full", slowOutbox}), false
		}
		a.out.push(p)
		a.queuedLocked(cost(p))
		return false, true
	}
	n, err := a.writeLocked(p)
	if err != nil {
		return a.cutLocked(cut{CloseAbnormal, "writing failed", slowNone}), false
	}
	if n < len(p) {
		a.out = newOutbox()
		a.out.partial = p[n:]
		a.queuedLocked(cost(p[n:]))
		a.startWriterLocked()
	}
	return false, true
}

// writeLocked writes what the socket takes without waiting.
func (a *Actor) writeLocked(p []byte) (int, error) {
	if a.direct > 0 {
		return sendNow(int(a.direct-1), p)
	}
	return a.conn.write(p)
}

// sendPong answers a ping, before data that waits.
func (a *Actor) sendPong(payload []byte) {
	p := appendFrame(make([]byte, 0, 2+len(payload)), ws.OpPong, payload)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.shut:
	case a.out == nil:
		// If that finds the socket broken, reading finds it too: no need to wake ourselves.
		a.sendLocked(p)
	default:
		if a.out.pong != nil {
			a.queuedLocked(-cost(a.out.pong))
		}
		a.queuedLocked(cost(p))
		a.out.pong = p
	}
}

// sendPing asks the peer for a sign of life, before data that waits.
func (a *Actor) sendPing() {
	a.mu.Lock()
	wake, ok := false, !a.shut
	switch {
	case !ok:
	case a.out == nil:
		wake, ok = a.sendLocked(pingFrame)
	case a.out.ping == nil:
		a.queuedLocked(cost(pingFrame))
		a.out.ping = pingFrame
	default: // the last one waits still
		ok = false
	}
	if ok {
		a.sent.bytes += uint64(len(pingFrame))
	}
	a.mu.Unlock()
	if wake {
		a.conn.interrupt()
	}
	if ok {
		a.system.metrics.sent(a.number, 0, len(pingFrame))
	}
}

// sendClose writes or queues the close frame, the last of all. urgent drops the data that waits. fin closes our half of
// the connection behind it. After it nothing is sent.
func (a *Actor) sendClose(frame []byte, urgent, fin bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shut {
		return
	}
	if urgent && a.out != nil {
		a.queuedLocked(-a.out.discard())
	}
	if a.out == nil {
		a.sendLocked(frame)
	} else {
		a.out.last = frame
		a.queuedLocked(cost(frame))
	}
	a.shut = true
	if fin {
		a.finLocked()
	}
}

// finLocked closes our half of the connection, after what waits.
func (a *Actor) finLocked() {
	if a.out != nil {
		a.out.fin = true
		return
	}
	if !a.dead {
		a.conn.closeWrite()
	}
}

func (a *Actor) queuedLocked(n int) {
	a.out.bytes += n
	a.system.metrics.outboxBytes.Add(int64(n))
}

// cutLocked gives the connection up: nothing is sent any more, what waits is dropped, and the actor is told to end. It
// reports whether the actor has to be woken.
func (a *Actor) cutLocked(c cut) (wake bool) {
	if a.dead {
		return false
	}
	a.dead, a.shut = true, true
	a.dropLocked()
	return a.postLocked(c)
}

// dropLocked forgets the outbox. A writer that lives finds out by dead.
func (a *Actor) dropLocked() {
	if a.out == nil {
		return
	}
	a.system.metrics.outboxBytes.Add(-int64(a.out.bytes))
	a.out.free()
	a.out = nil
}

// startWriterLocked starts the temporary writer, if there is something to write.
func (a *Actor) startWriterLocked() {
	if a.out.bytes == 0 && !a.out.fin {
		a.out.free()
		a.out = nil
		return
	}
	a.system.running.Add(1)
	go a.writeOutbox()
}

// writeOutbox is the temporary writer: it ends when the outbox is empty. While it lives it alone writes.
func (a *Actor) writeOutbox() {
	defer a.system.running.Done()
	var scratch *[gatherBytes]byte
	defer func() {
		if scratch != nil {
			gathered.Put(scratch)
		}
	}()
	for {
		a.mu.Lock()
		if a.dead {
			a.mu.Unlock()
			return
		}
		p, n := a.out.take(&scratch)
		if p == nil {
			if a.out.fin {
				a.conn.closeWrite()
			}
			a.out.free()
			a.out = nil
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()

		err := a.conn.writeAll(p, time.Now().Add(a.system.config.WriteTimeout))

		a.mu.Lock()
		wake := false
		switch {
		case a.dead:
		case errors.Is(err, os.ErrDeadlineExceeded):
			wake = a.cutLocked(cut{CloseTryAgainLater, "the client reads too slowly: a write timed out", slowTimeout})
		case err != nil:
			wake = a.cutLocked(cut{CloseAbnormal, "writing failed", slowNone})
		default:
			a.queuedLocked(-n)
			if a.out.bytes > 0 {
				// There was no room, and now there is: the peer lives, however long a ping stands behind data on its side.
				a.heard.Store(a.system.clock.Load())
			}
		}
		a.mu.Unlock()
		if wake {
			a.conn.interrupt()
		}
	}
}
