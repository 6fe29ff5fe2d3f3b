package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
)

const (
	// typeHeader is the header that tells a binary message from a text message.
	typeHeader = "Fairlead-Type"
	typeBinary = "binary"
	typeText   = "text"

	// binaryOverhead is what the header of a binary message takes of the server's limit: the line of the version, the
	// field, and the empty line.
	binaryOverhead = int64(len("NATS/1.0\r\n" + typeHeader + ": " + typeBinary + "\r\n\r\n"))
)

// binaryHeader is the header of all binary messages. It is never changed.
var binaryHeader = nats.Header{typeHeader: {typeBinary}}

// wireSize is the size of m as the server counts it.
func wireSize(m *Message) int64 {
	n := int64(len(m.Payload))
	if m.Binary {
		n += binaryOverhead
	}
	return n
}

// publisher takes messages to NATS, one after the other on a goroutine of its own: nats.go's Publish waits for the socket
// once its buffer is full. When the messages go on the wire is nats.go's to say: at once when it is idle, in runs of up to
// 32 KiB when it is not.
type publisher struct {
	// Fixed after NewNATS.
	link    *link
	metrics *metrics
	ended   chan struct{}

	queue queue[Message]
}

// loop works until the queue is closed and empty; then it waits until the server has everything, or ctx ends. Once ctx
// has ended nothing more is published.
func (p *publisher) loop(ctx context.Context) {
	defer close(p.ended)
	var items []Message
	for {
		var ok bool
		if items, ok = p.queue.take(items); !ok {
			break
		}
		for i := range items {
			p.publish(ctx, &items[i])
			p.queue.release(cost(items[i].Payload))
		}
		clear(items)
	}
	if p.link.connected.Load() {
		p.link.flush(ctx) // closing alone would not do: with messages unread, the kernel resets the connection
	}
}

func (p *publisher) publish(ctx context.Context, m *Message) {
	if ctx.Err() != nil {
		p.metrics.droppedClosed.Inc()
		return
	}
	if !p.link.connected.Load() { // nats.go would wait for its dial first, then refuse
		p.metrics.droppedDisconnected.Inc()
		return
	}
	nc := p.link.conn.Load()
	subject := p.link.prefix + token(m.Group)
	var err error
	if m.Binary {
		err = nc.PublishMsg(&nats.Msg{Subject: subject, Header: binaryHeader, Data: m.Payload})
	} else {
		err = nc.Publish(subject, m.Payload)
	}
	switch {
	case err == nil:
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrHeadersNotSupported):
		// The server has changed its mind since this message was looked at.
		p.metrics.droppedRejected.Inc()
		p.link.maxPayload.Store(nc.MaxPayload())
	default:
		p.metrics.droppedDisconnected.Inc()
	}
}
