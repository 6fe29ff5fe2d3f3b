package actor

import (
	"encoding/binary"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/bus"
)

// The bits of a frame's first two bytes (RFC 6455 section 5.2).
const (
	finBit    = 0x80
	rsvBits   = 0x70
	opBits    = 0x0f
	maskBit   = 0x80
	lenBits   = 0x7f
	len16     = 126
	len64     = 127
	maxHeader = 14
	// maxControl is the longest payload of a control frame (RFC 6455 section 5.5).
	maxControl = 125
)

// rawEncoding makes a WebSocket frame of a message: on a raw route the frames are the messages.
type rawEncoding struct{}

var _ bus.Encoding = rawEncoding{}

// AppendMessage implements [bus.Encoding].
func (rawEncoding) AppendMessage(dst []byte, m *bus.Message) []byte {
	return appendFrame(dst, dataOp(m.Binary), m.Payload)
}

func dataOp(binary bool) ws.OpCode {
	if binary {
		return ws.OpBinary
	}
	return ws.OpText
}

// appendFrame appends an unmasked, unfragmented frame.
func appendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = append(dst, finBit|byte(op))
	switch n := len(payload); {
	case n < len16:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, len16), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, len64), uint64(n))
	}
	return append(dst, payload...)
}

// violationError is a breach of the protocol by the peer: it says with which code the connection ends.
type violationError struct {
	code   CloseCode
	reason string
}

func (e *violationError) Error() string { return e.reason }

func violation(code CloseCode, reason string) error { return &violationError{code, reason} }

// eventKind is what [reader.next] found.
type eventKind uint8

const (
	needMore eventKind = iota
	gotMessage
	gotPing
	gotPong
	gotClose
)

// event is a whole message or control frame. The payload is borrowed: it dies with the next call of reader.next.
type event struct {
	kind    eventKind
	binary  bool
	gained  int // how many bytes of payload inflating has added to what came
	payload []byte
}

// reader takes a client's bytes apart into messages and control frames. It sees them in pieces of any size, in order. It
// holds nothing while no frame and no message is half read, so that an idle actor needs none.
type reader struct {
	limit   int  // of a message's payload
	deflate bool // permessage-deflate was agreed on

	// The frame that is half read.
	head   [maxHeader]byte
	headN  int // bytes of the header so far
	inBody bool
	op     ws.OpCode
	fin    bool
	mask   [4]byte
	length int // of the payload
	done   int // payload bytes taken

	// The message that is half read.
	fragmented bool      // a data frame without FIN came
	messageOp  ws.OpCode // its opcode
	packed     bool      // it is compressed
	message    []byte
	inflated   []byte // what a compressed message was
	utf8       utf8Check

	control  [maxControl]byte
	controlN int
}

var readers = sync.Pool{New: func() any { return new(reader) }}

// keptMessage is the largest buffer of a message that a reader keeps for the next one.
const keptMessage = 4 << 10

func newReader(limit int) *reader {
	r := readers.Get().(*reader)
	r.limit = limit
	return r
}

// free gives an idle or failed reader back to the pool.
func (r *reader) free() {
	message, inflated := r.message[:0], r.inflated[:0]
	if cap(message) > keptMessage {
		message = nil
	}
	if cap(inflated) > keptMessage {
		inflated = nil
	}
	*r = reader{message: message, inflated: inflated}
	readers.Put(r)
}

// idle reports whether nothing is half read.
func (r *reader) idle() bool { return r.headN == 0 && !r.inBody && !r.fragmented }

// next takes bytes from b, in place, until a message or control frame is whole, and returns how many it took. With
// needMore it took all of b. An error is a *violationError; the reader is of no use then.
func (r *reader) next(b []byte) (ev event, n int, err error) {
	for n < len(b) {
		if !r.inBody {
			took, whole := r.takeHeader(b[n:])
			n += took
			if !whole {
				return event{}, n, nil
			}
			if err := r.parseHeader(); err != nil {
				return event{}, n, err
			}
			r.inBody, r.done, r.headN = true, 0, 0
		}
		part := b[n:min(len(b), n+r.length-r.done)]
		ws.Cipher(part, r.mask, r.done)
		n += len(part)
		r.done += len(part)
		ev, whole, err := r.takeBody(part)
		if err != nil || whole {
			return ev, n, err
		}
	}
	return event{}, n, nil
}

// takeHeader collects a frame's header from b, and reports whether it is whole.
func (r *reader) takeHeader(b []byte) (n int, whole bool) {
	for n < len(b) {
		want := 2
		if r.headN >= 2 {
			want = headerSize(r.head[1])
		}
		if r.headN == want {
			return n, true
		}
		took := copy(r.head[r.headN:want], b[n:])
		n += took
		r.headN += took
	}
	return n, r.headN >= 2 && r.headN == headerSize(r.head[1])
}

// headerSize returns the size of a header by its second byte.
func headerSize(b1 byte) int {
	size := 2
	switch b1 & lenBits {
	case len16:
		size += 2
	case len64:
		size += 8
	}
	if b1&maskBit != 0 {
		size += 4
	}
	return size
}

// parseHeader checks the header in r.head against RFC 6455 section 5 before any payload is taken.
func (r *reader) parseHeader() error {
	b0, b1 := r.head[0], r.head[1]
	r.fin, r.op = b0&finBit != 0, ws.OpCode(b0&opBits)
	switch {
	case b0&rsvBits != 0 && !r.deflate:
		return violation(CloseProtocolError, "a reserved bit is set and no extension was agreed on")
	case b0&rsvBits&^rsv1 != 0 || b0&rsv1 != 0 && !isData(r.op):
		return violation(CloseProtocolError, "a reserved bit is set where no extension that was agreed on has a use for it")
	case b1&maskBit == 0:
		return violation(CloseProtocolError, "a frame from a client that is not masked")
	}
	var length uint64
	rest := r.head[2:r.headN]
	switch n := b1 & lenBits; n {
	case len16:
		length, rest = uint64(binary.BigEndian.Uint16(rest)), rest[2:]
		if length < len16 {
			return violation(CloseProtocolError, "a frame length that is not in its shortest form")
		}
	case len64:
		length, rest = binary.BigEndian.Uint64(rest), rest[8:]
		if length < 1<<16 || length>>63 != 0 {
			return violation(CloseProtocolError, "a frame length that is not in its shortest form")
		}
	default:
		length = uint64(n)
	}
	copy(r.mask[:], rest)
	switch r.op {
	case ws.OpClose, ws.OpPing, ws.OpPong:
		if !r.fin || length > maxControl {
			return violation(CloseProtocolError, "a control frame that is fragmented or longer than 125 bytes")
		}
		r.controlN = 0
	case ws.OpText, ws.OpBinary:
		if r.fragmented {
			return violation(CloseProtocolError, "a new message inside a fragmented one")
		}
		r.messageOp, r.message, r.utf8 = r.op, r.message[:0], utf8Check{}
		r.packed = b0&rsv1 != 0
	case ws.OpContinuation:
		if !r.fragmented {
			return violation(CloseProtocolError, "a continuation without a message to continue")
		}
	default:
		return violation(CloseProtocolError, "a reserved opcode")
	}
	if !r.op.IsControl() && length > uint64(r.room()) {
		return errTooBig
	}
	r.length = int(length)
	return nil
}

// room returns how many bytes the message that is read may still have.
func (r *reader) room() int {
	if r.packed {
		return r.limit + slack(r.limit) - len(r.message)
	}
	return r.limit - len(r.message)
}

// takeBody takes the next part of the frame's payload, unmasked. It reports whether an event is whole with it.
func (r *reader) takeBody(part []byte) (ev event, whole bool, err error) {
	frameEnds := r.done == r.length
	r.inBody = !frameEnds
	if r.op.IsControl() {
		r.controlN += copy(r.control[r.controlN:], part)
		if !frameEnds {
			return event{}, false, nil
		}
		return event{kind: controlKind(r.op), payload: r.control[:r.controlN]}, true, nil
	}
	text := r.messageOp == ws.OpText
	if frameEnds && r.fin && !r.fragmented && len(part) == r.length {
		// The usual case: the whole message is in the buffer, and is used there.
		return r.whole(part)
	}
	if text && !r.packed && !r.utf8.write(part) {
		return event{}, false, errNotUTF8
	}
	r.message = append(r.message, part...)
	if !frameEnds {
		return event{}, false, nil
	}
	r.fragmented = !r.fin
	if !r.fin {
		return event{}, false, nil
	}
	if r.packed {
		return r.whole(r.message)
	}
	if text && !r.utf8.complete() {
		return event{}, false, errNotUTF8
	}
	return event{kind: gotMessage, binary: !text, payload: r.message}, true, nil
}

// whole returns the message that payload is, or that it is the compressed form of.
func (r *reader) whole(payload []byte) (ev event, whole bool, err error) {
	gained := 0
	if r.packed {
		if r.inflated, err = inflate(r.inflated[:0], payload, r.limit); err != nil {
			return event{}, false, err
		}
		gained = max(0, len(r.inflated)-len(payload))
		payload = r.inflated
	}
	text := r.messageOp == ws.OpText
	if text && !utf8.Valid(payload) {
		return event{}, false, errNotUTF8
	}
	return event{kind: gotMessage, binary: !text, gained: gained, payload: payload}, true, nil
}

var errNotUTF8 = violation(CloseInvalidPayload, "a text message that is not UTF-8")

// utf8Check checks a text that comes in pieces, and finds a fault as soon as it is there (RFC 6455 section 8.1).
type utf8Check struct {
	tail [utf8.UTFMax]byte // the begin of a character whose rest has not come
	n    int
}

// write reports whether p can go on what came before.
func (u *utf8Check) write(p []byte) bool {
	for u.n > 0 && len(p) > 0 {
		u.tail[u.n], p = p[0], p[1:]
		u.n++
		if utf8.FullRune(u.tail[:u.n]) {
			if !utf8.Valid(u.tail[:u.n]) {
				return false
			}
			u.n = 0
		}
	}
	cut := len(p)
	for i := len(p) - 1; i >= 0 && i > len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				cut = i
			}
			break
		}
	}
	u.n += copy(u.tail[u.n:], p[cut:])
	return utf8.Valid(p[:cut])
}

// complete reports whether the text may end here.
func (u *utf8Check) complete() bool { return u.n == 0 }

func controlKind(op ws.OpCode) eventKind {
	switch op {
	case ws.OpPing:
		return gotPing
	case ws.OpPong:
		return gotPong
	default:
		return gotClose
	}
}
