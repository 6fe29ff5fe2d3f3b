package bus

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// errMalformed is for a message of which cannot be said what it is.
var errMalformed = errors.New("malformed message")

// decode makes a message of what came from NATS. It keeps payload.
func decode(prefix, subject, kind string, payload []byte) (m Message, err error) {
	if m.Group, err = parseSubject(prefix, subject); err != nil {
		return Message{}, err
	}
	m.Payload = payload
	switch kind {
	case typeBinary:
		m.Binary = true
	case "":
		m.Binary = !utf8.Valid(payload)
	case typeText:
		if !utf8.Valid(payload) {
			return Message{}, errMalformed
		}
	default:
		return Message{}, errMalformed
	}
	return m, nil
}

// receiver takes messages from NATS to the shards, on a goroutine of its own. It alone may wait for room in an inbox:
// then nats.go's channel fills, and nats.go drops what does not fit, which link.countSlow counts.
type receiver struct {
	// Fixed after NewNATS.
	hub     *hub
	prefix  string
	metrics *metrics
	inbound chan *nats.Msg
	ended   chan struct{}

	room chan struct{} // holds a token when an inbox may have room
}

// BusReady implements [Waiter].
func (r *receiver) BusReady() {
	select {
	case r.room <- struct{}{}:
	default:
	}
}

// loop works until stop ends, and then takes what has come already. When abort ends it gives up.
func (r *receiver) loop(stop, abort context.Context) {
	defer close(r.ended)
	for {
		select {
		case m := <-r.inbound:
			r.receive(abort, m)
			continue
		case <-stop.Done():
		}
		break
	}
	for {
		select {
		case m := <-r.inbound:
			r.receive(abort, m)
		default:
			return
		}
	}
}

func (r *receiver) receive(abort context.Context, nm *nats.Msg) {
	m, err := decode(r.prefix, nm.Subject, nm.Header.Get(typeHeader), nm.Data)
	if err != nil {
		r.metrics.droppedMalformed.Inc()
		return
	}
	parts, _ := r.hub.parts(m.Group)
	if len(parts) == 0 {
		return // the last member has left, and the subscription lingers
	}
	r.metrics.publishedRemote.Inc()
	for _, p := range parts {
		if !r.reserve(abort, p, cost(m.Payload)) {
			return
		}
		p.push(&m)
	}
}

// reserve waits for room in the part's shard. It reports false if abort ended first.
func (r *receiver) reserve(abort context.Context, p *part, n int64) bool {
	for !p.shard.inbox.reserve(n) {
		if abort.Err() != nil {
			return false
		}
		p.shard.inbox.wait(r, n)
		select {
		case <-r.room:
		case <-abort.Done():
			return false
		}
	}
	return true
}
