package actor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// startClose sends the close frame and waits for the peer's, for CloseTimeout at most. What concerns the credential, from
// 4400 on, goes out before data that waits.
func (a *Actor) startClose(code CloseCode, reason string) {
	if a.phase != phaseOpen {
		return
	}
	a.sendClose(closeFrame(code, reason), code >= CloseBadCommand, false)
	a.await(phaseClosed, Closure{Code: code, Reason: reason})
}

// violated closes a connection whose peer broke the protocol: what follows cannot be understood, so that only the end is
// awaited.
func (a *Actor) violated(err error) {
	if a.phase == phaseOpen {
		var v *violationError
		if !errors.As(err, &v) {
			v = &violationError{CloseInternalError, "internal error"}
		}
		a.sendClose(closeFrame(v.code, v.reason), false, true)
		a.await(phaseLinger, Closure{Code: v.code, Reason: v.reason})
		return
	}
	a.linger()
}

// closedByPeer answers the peer's close frame, once, and waits for the end of the connection: whoever closes a socket with
// unread bytes resets it, and takes the answer back. It reports false when the actor has ended.
func (a *Actor) closedByPeer(payload []byte) bool {
	if a.phase == phaseClosed { // both are through, if ours is out: the two may have crossed
		if a.queued() {
			a.linger()
			return true
		}
		a.finish(a.ending.closure, false)
		return false
	}
	code, reason, err := parseClose(payload)
	if err != nil {
		a.violated(err)
		return true
	}
	a.sendClose(closeFrame(code, ""), false, true)
	a.await(phaseLinger, Closure{Code: code, Reason: reason, ByPeer: true})
	return true
}

// queued reports whether something is still to be written.
func (a *Actor) queued() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.out != nil
}

// linger waits for nothing but the end of a connection that is closing.
func (a *Actor) linger() {
	a.phase = phaseLinger
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finLocked()
}

// await goes on to p. The connection is cut off when CloseTimeout has passed. Setting the deadline may undo the wake-up of a
// command that was posted since the mailbox was emptied, so that is made good for: else the actor parks on it.
func (a *Actor) await(p phase, c Closure) {
	a.phase, a.ending = p, &ending{by: time.Now().Add(a.system.config.CloseTimeout), closure: c}
	a.conn.setReadDeadline(a.ending.by)
	if a.mailed.Load() {
		a.conn.interrupt()
	}
	a.forget()
}

// forget drops what the client said and the bus has not taken.
func (a *Actor) forget() {
	a.paused.Store(false)
	if a.backlog != nil {
		a.system.metrics.unpublished.Add(float64(len(a.backlog.messages)))
		a.backlog = nil
	}
}

// finish is the one end of an actor, whatever the cause. reset gives up what is unsent.
func (a *Actor) finish(c Closure, reset bool) {
	a.mu.Lock()
	if a.ended { // a panic on the way out
		a.mu.Unlock()
		return
	}
	a.dead, a.shut, a.ended = true, true, true
	a.dropLocked()
	a.mail = nil
	sent := a.sent
	a.mu.Unlock()
	defer a.system.remove(a, c.Code)
	for _, m := range a.members {
		a.system.config.Bus.Leave(m)
	}
	a.members, a.phase = nil, phaseEnded
	a.conn.close(reset)
	a.forget()
	if a.reader != nil {
		a.reader.free()
		a.reader = nil
	}
	a.tellClosed(c)
	e := session.Closed{
		Code: uint16(c.Code), Reason: c.Reason,
		MessagesReceived: a.received.messages, BytesReceived: a.received.bytes,
		MessagesSent: sent.messages, BytesSent: sent.bytes,
	}
	if c.ByPeer && c.Code != CloseAbnormal {
		e.Reason = "closed by the peer" // a stranger's words stay out of the journal and the log
	}
	now := time.Now()
	a.logEnd(&e, now)
	// The journal is told even when the node is about to end.
	_ = a.decide(context.Background(), now, e) // counted by decide
}

// logEnd writes the one line that the log has of a connection.
func (a *Actor) logEnd(e *session.Closed, now time.Time) {
	ctx := context.Background()
	if !a.system.config.Logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	a.system.config.Logger.LogAttrs(ctx, slog.LevelInfo, "connection ended",
		slog.String("session", a.ID().String()), slog.String("subject", a.identity.Subject), slog.String("route", a.state.Route),
		slog.Int("code", int(e.Code)), slog.String("reason", e.Reason),
		slog.Duration("lasted", now.Sub(a.state.Opened).Round(time.Millisecond)),
		slog.Uint64("messages_received", e.MessagesReceived), slog.Uint64("messages_sent", e.MessagesSent))
}

// tellClosed calls the Handler for the last time. A panic in it changes nothing about the end.
func (a *Actor) tellClosed(c Closure) {
	defer func() {
		if v := recover(); v != nil {
			a.system.metrics.panics.Inc()
			a.system.config.Logger.Error("a handler panicked at the end of a connection", "session", a.ID(), "panic", describe(v))
		}
	}()
	a.handler.Close(a, c)
}
