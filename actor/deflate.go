package actor

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"unsafe"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"

	"github.com/fairlead-ws/fairlead/bus"
)

// rsv1 is the bit of a frame's first byte that says that the message is compressed (RFC 7692 section 6).
const rsv1 = 0x40

// syncTail is what ends a flushed DEFLATE stream, and is not sent (RFC 7692 section 7.2.1).
var syncTail = []byte{0x00, 0x00, 0xff, 0xff}

// endTail is syncTail and an empty last block: with it a message is a whole stream.
var endTail = []byte{0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff}

// deflater compresses messages for connections that agreed on permessage-deflate without context takeover (RFC 7692): one
// message is one stream, so that a compressed frame is the same for all of them. It is the [bus.Encoding] of those
// connections. Many goroutines may use it.
type deflater struct {
	// Fixed after newDeflater.
	min     int // smaller payloads are sent as they are
	metrics *metrics

	writers sync.Pool // of *flateWriter
	recent  recentFrames
}

var _ bus.Encoding = (*deflater)(nil)

// flateWriter is a compressor with the buffer that it writes to.
type flateWriter struct {
	*flate.Writer
	to bytes.Buffer
}

// keptFlate is the largest buffer that a flateWriter keeps for the next message.
const keptFlate = 64 << 10

// newDeflater returns a deflater of a level from 1 to 9.
func newDeflater(level, minBytes int, m *metrics) *deflater {
	d := &deflater{min: minBytes, metrics: m}
	d.writers.New = func() any {
		w := &flateWriter{}
		w.Writer, _ = flate.NewWriter(&w.to, level) // the level is checked by New
		return w
	}
	return d
}

// AppendMessage implements [bus.Encoding]. Each shard encodes what it delivers; the frame is made once for all of them.
func (d *deflater) AppendMessage(dst []byte, m *bus.Message) []byte {
	if len(m.Payload) < d.min {
		return appendFrame(dst, dataOp(m.Binary), m.Payload)
	}
	r := d.recent.get(m.Payload, m.Binary)
	r.once.Do(func() { r.frame = slices.Clip(d.appendFrame(nil, m.Binary, m.Payload)) })
	return append(dst, r.frame...)
}

// appendFrame appends a frame with the payload, compressed where that is worth it.
func (d *deflater) appendFrame(dst []byte, binary bool, payload []byte) []byte {
	if len(payload) < d.min {
		return appendFrame(dst, dataOp(binary), payload)
	}
	w := d.writers.Get().(*flateWriter)
	defer d.writers.Put(w)
	w.to.Reset()
	w.Reset(&w.to)
	_, _ = w.Write(payload) // to a buffer in memory
	_ = w.Flush()
	packed := bytes.TrimSuffix(w.to.Bytes(), syncTail)
	d.metrics.compressed(len(payload), min(len(packed), len(payload)))
	if len(packed) >= len(payload) {
		dst = appendFrame(dst, dataOp(binary), payload)
	} else {
		dst = appendFrame(dst, dataOp(binary)|rsv1, packed)
	}
	if w.to.Cap() > keptFlate {
		w.to = bytes.Buffer{}
	}
	return dst
}

const (
	// maxRecent and maxRecentBytes bound the frames that are kept for the shards that have not come to them yet.
	maxRecent      = 64
	maxRecentBytes = 1 << 20
)

// recentFrames are the frames of the newest messages, by the payload they were made of: shards that deliver one message hold
// one payload, which nobody changes.
type recentFrames struct {
	// Guarded by mu.
	mu    sync.Mutex
	ring  [maxRecent]*recentFrame // nil: free
	next  int
	bytes int // of the payloads
}

type recentFrame struct {
	// Fixed after get.
	payload []byte // kept, so that its address stays its own
	binary  bool

	once  sync.Once
	frame []byte // fixed after once
}

// get returns the frame of the payload, which may have to be made yet. A payload of which not even one would fit is not kept.
func (r *recentFrames) get(payload []byte, binary bool) *recentFrame {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ring { // the newest first
		f := r.ring[(r.next-1-i+2*maxRecent)%maxRecent]
		if f == nil {
			break
		}
		if f.binary == binary && len(f.payload) == len(payload) && unsafe.SliceData(f.payload) == unsafe.SliceData(payload) {
			return f
		}
	}
	f := &recentFrame{payload: payload, binary: binary}
	if len(payload) > maxRecentBytes {
		return f
	}
	r.drop(r.next)
	r.ring[r.next] = f
	r.next = (r.next + 1) % maxRecent
	r.bytes += len(payload)
	for i := r.next; r.bytes > maxRecentBytes; i = (i + 1) % maxRecent { // the oldest first
		r.drop(i)
	}
	return f
}

func (r *recentFrames) drop(i int) {
	if f := r.ring[i]; f != nil {
		r.bytes -= len(f.payload)
		r.ring[i] = nil
	}
}

// inflater makes the message of a compressed one. It belongs to one goroutine.
type inflater struct {
	from  tailReader
	flate io.ReadCloser // a flate.Resetter too
}

// tailReader reads a message and then endTail. It is an [io.ByteReader], so that nothing is read ahead.
type tailReader struct {
	message bytes.Reader
	tail    bytes.Reader
}

func (t *tailReader) Read(p []byte) (int, error) {
	if n, err := t.message.Read(p); n > 0 || len(p) == 0 {
		return n, err
	}
	return t.tail.Read(p)
}

func (t *tailReader) ReadByte() (byte, error) {
	if b, err := t.message.ReadByte(); err == nil {
		return b, nil
	}
	return t.tail.ReadByte()
}

var inflaters = sync.Pool{New: func() any {
	i := &inflater{}
	i.flate = flate.NewReader(&i.from)
	return i
}}

var (
	errNotDeflate = violation(CloseInvalidPayload, "a compressed message that is no DEFLATE stream")
	errTooBig     = violation(CloseMessageTooBig, "the message is too big")
)

// inflate appends to dst what message was before it was compressed, up to limit bytes, and stops there: what a stranger can
// make of few bytes is bounded before it is made. An error is a *violationError.
func inflate(dst, message []byte, limit int) ([]byte, error) {
	i := inflaters.Get().(*inflater)
	defer func() {
		i.from.message.Reset(nil)
		inflaters.Put(i)
	}()
	i.from.message.Reset(message)
	i.from.tail.Reset(endTail)
	if err := i.flate.(flate.Resetter).Reset(&i.from, nil); err != nil {
		return dst, errNotDeflate
	}
	for start := len(dst); ; {
		dst = slices.Grow(dst, max(512, min(len(message), limit)))
		room := dst[len(dst):min(cap(dst), start+limit+1)]
		n, err := i.flate.Read(room)
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-start > limit:
			return dst, errTooBig
		case errors.Is(err, io.EOF):
			if !i.from.ended() {
				return dst, errNotDeflate
			}
			return dst, nil
		case err != nil:
			return dst, errNotDeflate
		}
	}
}

// ended reports whether the stream took the whole message. One that has a last block of its own may be padded with a zero
// byte behind it (RFC 7692 section 7.2.3.4), and leaves the tail.
func (t *tailReader) ended() bool {
	b, err := t.message.ReadByte()
	return err != nil || b == 0 && t.message.Len() == 0
}

// slack is how much longer than a message of n bytes its compressed form may be: what cannot be compressed is stored in
// blocks.
func slack(n int) int { return n>>8 + 64 }

// appendData appends a frame with a message of the server's for this connection.
func (a *Actor) appendData(dst []byte, m Message) []byte {
	if a.compressed {
		return a.system.deflater.appendFrame(dst, m.Binary, m.Payload)
	}
	return appendFrame(dst, dataOp(m.Binary), m.Payload)
}

// encoding is how messages of the bus become frames for this connection.
func (a *Actor) encoding() bus.Encoding {
	if a.compressed {
		return a.system.deflater
	}
	return rawEncoding{}
}

// isData reports whether op begins a message: only then is rsv1 allowed.
func isData(op ws.OpCode) bool { return op == ws.OpText || op == ws.OpBinary }
