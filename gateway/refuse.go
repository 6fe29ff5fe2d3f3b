package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/session"
)

// How long a refused client is given to take the answer and leave, and what it may go on sending meanwhile.
const (
	lingerTime  = time.Second
	lingerBytes = 256 << 10
)

// refuse answers the client, sees to it that the answer can be read, and closes the connection. It releases the
// handshake's place before it waits for the client to leave, so that this does not keep others from coming.
func (h *handshake) refuse(ctx context.Context, err error) {
	g := h.gateway
	r := h.judge(ctx, err)
	g.metrics.handshakes[r.reason].Inc()
	h.trace(r.reason, r.status)
	if !h.answerable(&r) {
		h.release()
		h.conn.Close()
		return
	}
	now := time.Now()
	g.refused.add(now, refusedKey{r.reason, r.by}, h.match.path(), h.request.Remote.Addr())
	if h.panicked && h.opening {
		h.release()
		abandon(h.conn)
		return
	}
	_ = h.conn.SetDeadline(now.Add(lingerTime))
	closes := h.closes(&r) && h.appendClose(&r)
	if !closes {
		h.answer = r.append(h.answer[:0])
	}
	werr := writeLast(h.conn, h.answer)
	h.release()
	if werr == nil && (closes || h.talks()) {
		h.linger()
	}
	h.conn.Close()
}

// closes reports whether the client learns of r by a close frame: the route says so, and all is known that a WebSocket
// takes. What is wrong with the request itself, and faults, are told over HTTP in any case.
func (h *handshake) closes(r *refusal) bool {
	if h.match.route == nil || !h.match.route.RejectClose || h.panicked {
		return false
	}
	switch r.status {
	case 401, 403, 429, 503:
		return true
	}
	return false
}

// appendClose makes the answer an upgrade and, behind it, a close frame with the code that says what the status would have
// said. It selects no subprotocol but one that the route speaks: what else a client offers may hold a credential. The
// client may answer, and send what it pleases, until linger has enough of it (RFC 6455 section 7.1.1).
func (h *handshake) appendClose(r *refusal) bool {
	response, err := h.upgrader.respond(h.upgrade.key, h.match.route.selectProtocol(h.request.Protocols), "")
	if err != nil {
		return false
	}
	h.answer = append(h.answer[:0], response...)
	h.answer = append(h.answer, 1<<7|byte(ws.OpClose), byte(2+len(r.text))) // the texts fit: see TestAnswersFitCloseFrames
	h.answer = binary.BigEndian.AppendUint16(h.answer, uint16(closeCode(r.status)))
	h.answer = append(h.answer, r.text...)
	return true
}

// closeCode is the code of package actor that says what an HTTP status says.
func closeCode(status int) actor.CloseCode { return actor.CloseCode(4000 + status) } //nolint:gosec // 400 to 599

// judge makes a refusal of err, and logs it. An error that panics when it is looked at, as a nil pointer may, is a panic.
func (h *handshake) judge(ctx context.Context, err error) (r refusal) {
	defer func() {
		if v := recover(); v != nil {
			h.panicked = true
			p := newPanicError(v, debug.Stack())
			r = refusalOf(p, "")
			h.gateway.logRefusal(ctx, &r, p, h.match.path(), h.request.Remote.Addr())
		}
	}()
	challenge := ""
	if h.match.route != nil {
		challenge = h.match.route.challenge
	}
	r = refusalOf(err, challenge)
	if r.status == 503 && ctx.Err() != nil {
		r = refusalOf(errDraining, "") // it was interrupted by us
	}
	h.gateway.logRefusal(ctx, &r, err, h.match.path(), h.request.Remote.Addr())
	return r
}

// talks reports whether the client may still be sending. One that keeps to RFC 6455 section 4.1 sends nothing behind its
// request before it has the answer.
func (h *handshake) talks() bool { return !h.parsed || len(h.head.pending()) > 0 }

// linger reads what the client still sends until it leaves, within bounds. To close a socket with unread bytes would reset
// the connection, and the client would see the reset and not the answer (RFC 9112 section 9.6). Where too many are waited
// for already, it does not wait.
func (h *handshake) linger() {
	select {
	case h.gateway.lingering <- struct{}{}:
		defer func() { <-h.gateway.lingering }()
	default:
		return
	}
	if c, ok := h.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() != nil {
		return
	}
	b := h.head.buffer()
	for left := lingerBytes; left > 0; {
		n, err := h.conn.Read(b[:min(len(b), left)])
		if err != nil {
			return
		}
		left -= n
	}
}

// abandon ends a connection of which nobody can say whose it is, since Open panicked. If there is an actor it sees the end
// and closes the connection, which only an actor may do; if there is none, the garbage collector does.
func abandon(conn net.Conn) {
	c, ok := conn.(interface {
		CloseRead() error
		CloseWrite() error
	})
	if !ok {
		conn.Close()
		return
	}
	_ = c.CloseWrite()
	_ = c.CloseRead()
}

// logRefusal logs what a stranger did wrong for who debugs, and what went wrong here for who is on call, a line a second.
func (g *Gateway) logRefusal(ctx context.Context, r *refusal, err error, route string, remote netip.Addr) {
	level := slog.LevelDebug
	if r.reason.fault() {
		level = slog.LevelError
	}
	if !g.logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.Int("status", r.status), slog.String("reason", r.reason.String()), slog.String("route", route),
		slog.Any("remote", session.TruncateAddr(remote)), slog.String("error", err.Error()),
	}
	if r.by != "" {
		attrs = append(attrs, slog.String("by", r.by))
	}
	if level == slog.LevelError {
		held, ok := g.faults[r.reason].Allow(time.Now())
		if !ok {
			return
		}
		attrs = append(attrs, slog.Uint64("lines_held_back", held))
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	g.logger.LogAttrs(ctx, level, "handshake refused", attrs...)
}
