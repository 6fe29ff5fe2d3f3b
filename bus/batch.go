package bus

import (
	"bytes"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	// maxBatchBytes bounds a batch of more than one message, encoded, so that one write stays one short system call.
	maxBatchBytes = 64 << 10
	// messageOverhead is what an encoding is expected to add to a payload at most: the longest header of an unmasked
	// WebSocket frame (RFC 6455 section 5.2). An encoding that adds more makes larger batches and grows its buffer.
	messageOverhead = 10
	// maxWaste is what a batch's buffer may have beyond its bytes: no more than short messages expect in vain.
	maxWaste = maxWindow * (messageOverhead - 2)
)

// Batch is a run of messages of one group, in order. A Batch and its messages are only valid during Deliver, except for
// the payloads and for what Bytes returns. Only the goroutine that calls Deliver may use it.
type Batch struct {
	messages []Message
	size     int // the expected length of all messages, encoded

	// One node speaks one or two protocols, so the first two encodings are found without a look-up.
	first, second encoded
	more          []encoded
}

type encoded struct {
	encoding Encoding
	bytes    []byte
}

// Group returns the group.
func (b *Batch) Group() session.Group { return b.messages[0].Group }

// Messages returns the messages, at least one. The slice is only valid during Deliver, the payloads may be kept.
func (b *Batch) Messages() []Message { return b.messages }

// Bytes returns all messages, encoded by e and joined. They are made once for each batch and Encoding, and shared: they
// are read-only, and may be kept.
func (b *Batch) Bytes(e Encoding) []byte {
	switch e {
	case b.first.encoding:
		return b.first.bytes
	case b.second.encoding:
		return b.second.bytes
	}
	return b.encode(e)
}

func (b *Batch) encode(e Encoding) []byte {
	for i := range b.more {
		if b.more[i].encoding == e {
			return b.more[i].bytes
		}
	}
	buf := make([]byte, 0, b.size) // not reused: outboxes keep it
	for i := range b.messages {
		buf = e.AppendMessage(buf, &b.messages[i])
	}
	if cap(buf)-len(buf) > max(len(buf), maxWaste) { // they were compressed: outboxes must not keep what they do not count
		buf = bytes.Clone(buf)
	}
	buf = buf[:len(buf):len(buf)] // who appends to it must not write into the others' bytes
	switch made := (encoded{e, buf}); {
	case b.first.encoding == nil:
		b.first = made
	case b.second.encoding == nil:
		b.second = made
	default:
		b.more = append(b.more, made)
	}
	return buf
}

// reset makes b the batch of messages, which it borrows.
func (b *Batch) reset(messages []Message, size int) {
	b.messages, b.size = messages, size
	b.first, b.second, b.more = encoded{}, encoded{}, nil
}
