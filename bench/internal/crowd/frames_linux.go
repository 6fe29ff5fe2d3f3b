package crowd

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// frames handles the whole frames in b and keeps the rest.
func (c *Crowd) frames(at *conn, b []byte) {
	for at.state == open {
		h, ok, err := wire.ParseHeader(b)
		if err != nil {
			c.fail(at, err)
			return
		}
		if !ok || len(b) < h.Size+h.Length {
			break
		}
		c.frame(at, h, b[h.Size:h.Size+h.Length])
		b = b[h.Size+h.Length:]
	}
	if at.state == open && len(b) > 0 {
		at.rest = append([]byte(nil), b...)
	}
}

func (c *Crowd) frame(at *conn, h wire.Header, payload []byte) {
	switch h.Opcode {
	case wire.Ping:
		c.counts.Pings++
		c.send(at, wire.AppendFrame(nil, wire.Pong, payload))
	case wire.Close:
		code := 1005 // none was sent
		if len(payload) >= 2 {
			code = int(binary.BigEndian.Uint16(payload))
		}
		c.counts.Codes[code]++
		c.send(at, wire.AppendFrame(nil, wire.Close, payload))
		c.fail(at, closeError(code))
	case wire.Text, wire.Binary:
		if s, ok := parseMessage(payload); ok {
			c.message(at, s)
		}
	case wire.Continuation, wire.Pong:
	}
}

// closeError is a close code of the server's.
type closeError int

func (e closeError) Error() string { return fmt.Sprintf("closed by the server with %d", int(e)) }

// message counts a message of the crowd.
func (c *Crowd) message(at *conn, s stamp) {
	c.counts.Messages++
	record(c.latency, c.now()-s.at)
	if at.last == nil {
		at.last = map[uint16]uint32{}
	}
	last, known := at.last[s.sender]
	switch {
	case known && s.number <= last:
		c.counts.Repeats++
		return
	case known && s.number > last+1:
		c.counts.Gaps += int64(s.number - last - 1)
	}
	at.last[s.sender] = s.number
}

// longestLatency is what a histogram can hold; what takes longer counts as that.
const longestLatency = time.Minute

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(longestLatency), 3) }

func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(max(1, min(ns, int64(longestLatency)))) // within its range
}

func quantiles(h *hdrhistogram.Histogram) Quantiles {
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) }
	return Quantiles{N: h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Most: time.Duration(h.Max())}
}

// snapshot returns the counts as of now.
func (c *Crowd) snapshot() *Counts {
	counts := c.counts
	counts.Codes = map[int]int{}
	for k, v := range c.counts.Codes {
		counts.Codes[k] = v
	}
	counts.Latency = quantiles(c.latency)
	return &counts
}
