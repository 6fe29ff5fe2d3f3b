package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fairlead-ws/fairlead/session"
)

// ErrAway is returned by Ask while this node has no connection to NATS, so that no other node can be asked.
var ErrAway = errors.New("bus: NATS is away, the other nodes cannot be asked")

// ErrNoPeer is returned by AskNode for a node that is not there, or does not answer in time.
var ErrNoPeer = errors.New("bus: the node is not there, or does not answer")

// ErrUnknownOp is what a node answers that has no Answerer for what it is asked: it is of another version.
var ErrUnknownOp = errors.New("bus: the node does not know what it is asked")

// ErrAnswer is wrapped by what an Answerer of another node returned as its error.
var ErrAnswer = errors.New("bus: the node answers with an error")

const (
	// maxAnswers is how many questions are answered at once; up to inQueue more wait.
	maxAnswers = 8
	// defaultAskTimeout is for an Ask without a deadline, maxAskTimeout for all.
	defaultAskTimeout, maxAskTimeout = 5 * time.Second, time.Minute
	// maxAnswerHeader is what of NATS' largest message is kept for headers.
	maxAnswerHeader = 4 << 10
	maxAnswerError  = 512 // bytes of an error's text
	maxOp           = 32
)

const (
	headerOp      = "Fairlead-Op"
	headerTimeout = "Fairlead-Timeout" // milliseconds
	headerResult  = "Fairlead-Result"  // resultOK, resultError, resultUnknown or resultTooLarge
	headerError   = "Fairlead-Error"   // the text of resultError

	resultOK       = "ok"
	resultError    = "error"
	resultUnknown  = "unknown"
	resultTooLarge = "too_large"
)

// Reply is what one node answered.
type Reply struct {
	Peer    Peer
	Payload []byte
	// Err is nil, or ErrUnknownOp, ErrTooLarge (the answer is more than one message of NATS holds) or wraps ErrAnswer.
	Err error
}

// ask is a question that is under way.
type ask struct {
	// Fixed after begin.
	peers []Peer
	done  chan struct{} // closed when left is 0

	// Guarded by Peers.mu.
	replies []*Reply // of each peer, nil: none yet
	failed  []bool   // of each peer: there is nobody
	left    int
}

// Answer lets f answer what other nodes ask by the name op, 1 to 32 characters of a-z, 0-9 and underscore. It is called
// before Start. f is called by several goroutines at once; the text of its error goes to the asking node, so it must hold
// no secret. A panic of f is logged and answered as an error.
func (p *Peers) Answer(op string, f Answerer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[op] = f
}

// Ask asks every other node that is there, and waits until each has answered, has gone or ctx ends; without a deadline, for
// 5 seconds. It returns the answers, errors included, and the nodes that did not answer, both by name. payload is read-only
// from now on.
//
// The error is nil even when nodes are missing. It is ErrAway while this node has no connection to NATS, with all that were
// there before as missing; ErrTooLarge; ErrClosed; or that op is no name.
func (p *Peers) Ask(ctx context.Context, op string, payload []byte) (replies []Reply, missing []Peer, err error) {
	return p.ask(ctx, p.List(), op, payload)
}

// AskNode asks one node, as Ask asks all. The error is ErrNoPeer, one of Reply.Err, or one of Ask.
func (p *Peers) AskNode(ctx context.Context, node session.Epoch, op string, payload []byte) ([]byte, error) {
	p.mu.Lock()
	peer, known := p.peers[node]
	p.mu.Unlock()
	if !known {
		return nil, ErrNoPeer
	}
	replies, _, err := p.ask(ctx, []Peer{peer}, op, payload)
	switch {
	case err != nil:
		return nil, err
	case len(replies) == 0:
		return nil, ErrNoPeer
	}
	return replies[0].Payload, replies[0].Err
}

func (p *Peers) ask(ctx context.Context, peers []Peer, op string, payload []byte) ([]Reply, []Peer, error) {
	switch {
	case !validOp(op):
		return nil, peers, fmt.Errorf("bus: ask: %q is no name of a question; want 1 to %d of a-z 0-9 _", op, maxOp)
	case p.ctx.Err() != nil:
		return nil, peers, ErrClosed
	case !p.conn.IsConnected():
		return nil, peers, ErrAway
	case len(payload) > p.maxData():
		return nil, peers, ErrTooLarge
	case len(peers) == 0:
		return nil, nil, nil
	}
	timeout := maxAskTimeout
	if _, limited := ctx.Deadline(); !limited {
		timeout = defaultAskTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	number, a := p.begin(peers)
	deadline, _ := ctx.Deadline()
	left := strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10)
	for i := range peers {
		m := nats.Msg{
			Subject: p.prefix + peers[i].Epoch.String(),
			Reply:   p.prefix + p.epoch.String() + ".r." + strconv.FormatUint(number, 10) + "." + strconv.Itoa(i),
			Header:  nats.Header{headerOp: {op}, headerTimeout: {left}},
			Data:    payload,
		}
		if !p.send(ctx, &m) {
			break
		}
	}
	select {
	case <-a.done:
	case <-ctx.Done():
	case <-p.ctx.Done():
	}
	return p.end(number, a)
}

// maxData is the largest payload of a question or an answer.
func (p *Peers) maxData() int { return max(0, int(p.conn.MaxPayload())-maxAnswerHeader) }

// validOp reports whether op can name a question.
func validOp(op string) bool {
	return op != "" && len(op) <= maxOp && !strings.ContainsFunc(op, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}

// begin notes a question.
func (p *Peers) begin(peers []Peer) (uint64, *ask) {
	a := &ask{
		peers: peers, left: len(peers), done: make(chan struct{}),
		replies: make([]*Reply, len(peers)), failed: make([]bool, len(peers)),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastAsk++
	p.asks[p.lastAsk] = a
	return p.lastAsk, a
}

// end takes a question out, and returns what came of it.
func (p *Peers) end(number uint64, a *ask) (replies []Reply, missing []Peer, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asks, number)
	for i, r := range a.replies {
		switch {
		case r == nil:
			missing = append(missing, a.peers[i])
			p.metrics.asksMissing.Inc()
			continue
		case r.Err != nil:
			p.metrics.asksFailed.Inc()
		default:
			p.metrics.asksAnswered.Inc()
		}
		replies = append(replies, *r)
	}
	if p.closed {
		err = ErrClosed
	}
	return replies, missing, err
}

// takeReply notes the answer of one node.
func (p *Peers) takeReply(m *nats.Msg) {
	rest, _ := strings.CutPrefix(m.Subject, p.prefix+p.epoch.String()+".r.")
	first, second, _ := strings.Cut(rest, ".")
	number, err1 := strconv.ParseUint(first, 10, 64)
	i, err2 := strconv.Atoi(second)
	if err1 != nil || err2 != nil {
		p.metrics.malformed.Inc()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.asks[number]
	if a == nil || i < 0 || i >= len(a.peers) {
		return // too late
	}
	if m.Header.Get("Status") == "503" { // the server's: nobody has that subject
		a.take(i, nil)
		return
	}
	a.take(i, &Reply{Peer: a.peers[i], Payload: m.Data, Err: replyError(m.Header)})
}

// take notes the first answer of the i-th node; nil: there will be none. The Peers' mu is held.
func (a *ask) take(i int, r *Reply) {
	if a.replies[i] != nil || a.failed[i] {
		return
	}
	a.replies[i], a.failed[i] = r, r == nil
	if a.left--; a.left == 0 {
		close(a.done)
	}
}

// replyError returns what went wrong on the other node.
func replyError(h nats.Header) error {
	switch h.Get(headerResult) {
	case resultOK:
		return nil
	case resultUnknown:
		return ErrUnknownOp
	case resultTooLarge:
		return ErrTooLarge
	default:
		return fmt.Errorf("%w: %s", ErrAnswer, errorText(h.Get(headerError)))
	}
}

// errorText makes s fit for a header and a line of a log.
func errorText(s string) string {
	if len(s) > maxAnswerError {
		s = s[:maxAnswerError]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// serve answers what other nodes ask, up to maxAnswers questions at once.
func (p *Peers) serve() {
	for {
		select {
		case m := <-p.requests:
			came := time.Now()
			select {
			case p.slots <- struct{}{}:
			case <-p.ctx.Done():
				return
			}
			p.running.Go(func() {
				defer func() { <-p.slots }()
				p.answer(m, came)
			})
		case <-p.ctx.Done():
			return
		}
	}
}

// answer answers one question, if its asker still waits.
func (p *Peers) answer(m *nats.Msg, came time.Time) {
	if !p.isReply(m.Reply) { // nobody else is answered, whatever they would like to have published where
		p.metrics.malformed.Inc()
		return
	}
	timeout := defaultAskTimeout
	if ms, err := strconv.Atoi(m.Header.Get(headerTimeout)); err == nil && ms > 0 {
		timeout = time.Duration(min(ms, int(maxAskTimeout.Milliseconds()))) * time.Millisecond
	}
	ctx, cancel := context.WithDeadline(p.ctx, came.Add(timeout))
	defer cancel()
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	f := p.answers[m.Header.Get(headerOp)]
	p.mu.Unlock()
	out := &nats.Msg{Subject: m.Reply, Header: nats.Header{}}
	result := resultUnknown
	if f != nil {
		b, err := p.call(ctx, f, m.Data)
		switch {
		case err != nil:
			result = resultError
			out.Header.Set(headerError, errorText(err.Error()))
		case len(b) > p.maxData():
			result = resultTooLarge
		default:
			result, out.Data = resultOK, b
		}
	}
	if ctx.Err() != nil { // the asker has counted this node as missing, or is about to
		return
	}
	out.Header.Set(headerResult, result)
	p.metrics.answered(result)
	p.send(ctx, out)
}

// isReply reports whether subject is one on which a node of this cluster hears answers.
func (p *Peers) isReply(subject string) bool {
	rest, ok := strings.CutPrefix(subject, p.prefix)
	tokens := strings.Split(rest, ".")
	if !ok || len(tokens) != 4 || tokens[1] != "r" || strings.ContainsAny(rest, "*>") {
		return false
	}
	_, err := session.ParseEpoch(tokens[0])
	return err == nil
}

var errPanicked = errors.New("it panicked; its log has the details")

// call calls f, whose panic is an error.
func (p *Peers) call(ctx context.Context, f Answerer, payload []byte) (b []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			// A payload may be in the value: only its type is told.
			p.log.Error("bus: answering another node panicked", "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			b, err = nil, errPanicked
		}
	}()
	return f(ctx, payload)
}
