package gateway

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
)

// smallHead is the buffer that nearly every head fits in, in bytes.
const smallHead = 8 << 10

// buffers lends out buffers for heads: small ones, and where one is too small, one as big as a head may be.
// It may be used by many goroutines.
type buffers struct {
	// Fixed after newBuffers.
	limit int // bytes that a head may have

	small, big sync.Pool // of *[]byte
}

func newBuffers(limit int) *buffers {
	b := &buffers{limit: limit}
	b.small.New = func() any { return newBuffer(min(smallHead, limit)) }
	b.big.New = func() any { return newBuffer(limit) }
	return b
}

func newBuffer(size int) *[]byte {
	b := make([]byte, size)
	return &b
}

// head reads the head of one request: everything up to and including the empty line. It belongs to one goroutine.
type head struct {
	pool *buffers
	lent *[]byte // nil before read and after release

	n       int // bytes read
	scanned int // bytes looked at
	line    int // where the line begins that is being looked at
	end     int // behind the empty line; 0 while it has not come
}

// read reads from r until the empty line. What one read brings beyond it is kept, see pending.
//
// It refuses as early as it can, so that a client which speaks another protocol, or ends its lines in another way, gets an
// answer at once and not at the deadline. The errors are those of this package: a *[reasonError] with the refusal, and
// [errGone] when the client left. r's deadline makes it errHeadTimeout.
func (h *head) read(r io.Reader) error {
	h.lend()
	for {
		n, err := r.Read((*h.lent)[h.n:])
		h.n += n
		if serr := h.scan(); serr != nil || h.end > 0 {
			return serr
		}
		switch {
		case h.n >= h.pool.limit:
			return errHeadTooLarge
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errHeadTimeout
		case err != nil:
			return errGone
		case h.n == len(*h.lent):
			h.grow()
		}
	}
}

// scan looks at what is new, line by line.
func (h *head) scan() error {
	b := (*h.lent)[:h.n]
	if len(b) > 0 && !isToken(b[0]) {
		return errRequestLine // a TLS client, a stray empty line, noise
	}
	for {
		i := bytes.IndexByte(b[h.scanned:], '\n')
		if i < 0 {
			h.scanned = len(b)
			return nil
		}
		i += h.scanned
		if i == 0 || b[i-1] != '\r' {
			return errBareLF
		}
		h.scanned = i + 1
		if i-1 == h.line {
			h.end = i + 1
			return nil
		}
		h.line = i + 1
	}
}

// grow goes on in a buffer as big as a head may be.
func (h *head) grow() {
	big := h.pool.big.Get().(*[]byte)
	copy(*big, (*h.lent)[:h.n])
	h.giveBack()
	h.lent = big
}

// bytes returns the head, with the empty line. The slice dies with release.
func (h *head) bytes() []byte { return (*h.lent)[:h.end] }

// pending returns what came behind the head. The slice dies with release.
func (h *head) pending() []byte { return (*h.lent)[h.end:h.n:h.n] }

// buffer returns the whole buffer for another use, once nobody needs the head any more. It dies with release.
func (h *head) buffer() []byte {
	if h.lent == nil {
		h.lend()
	}
	return *h.lent
}

func (h *head) lend() { h.lent = h.pool.small.Get().(*[]byte) }

// release gives the buffer back. It is idempotent.
func (h *head) release() {
	if h.lent != nil {
		h.giveBack()
	}
	*h = head{pool: h.pool}
}

func (h *head) giveBack() {
	if len(*h.lent) > smallHead {
		h.pool.big.Put(h.lent)
		return
	}
	h.pool.small.Put(h.lent)
}
