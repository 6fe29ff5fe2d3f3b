package actor

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// compressedCases are what permessage-deflate adds to the conformance cases: sections 12 and 13 of the Autobahn test suite,
// and RFC 7692 sections 6 and 7.2.3.
func compressedCases(good func(name string, send []byte, want ...string), bad func(name string, fault CloseCode, send []byte, want ...string)) {
	for _, size := range []int{0, 1, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072} {
		s := strings.Repeat(`{"id":17,"text":"any"}`, size/22+1)[:size]
		good(fmt.Sprintf("12.1 text of %d", size), masked(text|rsv1, pack(s)), "text:"+s)
		s = noise(size, size)
		good(fmt.Sprintf("12.2 noise of %d", size), masked(bin|rsv1, pack(s)), "binary:"+s)
		p := pack(s)
		for _, n := range []int{1, 7, 1000} {
			if size/n < 300 && len(p) > n {
				f := fragments(p, n)
				f[0] |= rsv1
				good(fmt.Sprintf("12.3 noise of %d in fragments of %d", size, n), f, "text:"+s)
			}
		}
	}
	hello := pack("Hello")
	good("7.2.3.1 of the RFC", masked(text|rsv1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), "text:Hello")
	good("7.2.3.1, in fragments", frames(masked(begin|rsv1, "\xf2\x48\xcd"), masked(contin, "\xc9\xc9\x07\x00")), "text:Hello")
	good("7.2.3.3 no compression", masked(text|rsv1, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), "text:Hello")
	good("7.2.3.4 BFINAL", masked(text|rsv1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "text:Hello")
	good("7.2.3.5 two blocks", masked(text|rsv1, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "text:Hello")
	good("7.2.3.6 an empty message", masked(text|rsv1, "\x00"), "text:")
	good("plain among compressed", frames(masked(text|rsv1, hello), masked(text, "plain"), masked(text|rsv1, hello)), "text:Hello", "text:plain", "text:Hello")
	good("a ping inside", frames(masked(begin|rsv1, hello[:2]), masked(ping, "p"), masked(contin, hello[2:])), "pong:p", "text:Hello")
	bad("RSV1 in a continuation", 1002, frames(masked(begin|rsv1, hello[:2]), masked(contin|rsv1, hello[2:])))
	bad("RSV1 in a continuation of a plain message", 1002, frames(masked(begin, "a"), masked(contin|rsv1, hello)))
	bad("RSV1 in a ping", 1002, masked(ping|rsv1, hello))
	bad("RSV1 and RSV2", 1002, masked(text|rsv1|0x20, hello))
	bad("no DEFLATE stream", 1007, masked(bin|rsv1, "\xff\xff\xff\xff"))
	bad("a stream that is cut off", 1007, masked(text|rsv1, pack(noise(0, 1000))[:500]))
	bad("bytes behind the last block", 1007, masked(text|rsv1, "\xf3\x48\xcd\xc9\xc9\x07\x00hidden"))
	bad("a text that is not UTF-8", 1007, masked(text|rsv1, pack("\xff")))
	bad("a message over the limit", 1009, masked(text|rsv1, pack(strings.Repeat("*", 1<<20+1))))
	good("a message at the limit", masked(bin|rsv1, pack(strings.Repeat("*", 1<<20))), "binary:"+strings.Repeat("*", 1<<20))
	s := noise(1, 1<<20)
	good("noise at the limit", masked(bin|rsv1, pack(s)), "binary:"+s)
	bad("a compressed message over the limit", 1009, head(text|rsv1, 64, 1<<20+8192))
}

// Few bytes cannot become many: what is made of them is bounded, and the memory for it too.
func TestInflateIsBounded(t *testing.T) {
	bomb := []byte(pack(strings.Repeat("\x00", 8<<20)))
	const limit = 64 << 10
	got, err := inflate(nil, bomb, limit)
	if !errors.Is(err, errTooBig) || cap(got) > 4*limit {
		t.Errorf("a bomb of %d bytes: %v, with room for %d", len(bomb), err, cap(got))
	}
	for _, size := range []int{0, 1, 511, 512, 513, limit - 1, limit} {
		want := noise(size, size)
		if got, err := inflate([]byte("before"), []byte(pack(want)), limit); err != nil || string(got) != "before"+want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := inflate(nil, []byte(pack(noise(0, limit+1))), limit); !errors.Is(err, errTooBig) {
		t.Errorf("one byte over the limit: %v", err)
	}
}

// FuzzInflate: whatever a stranger sends is inflated as the standard library does it, within the limit, or is a fault.
func FuzzInflate(f *testing.F) {
	for _, s := range []string{"", "Hello", strings.Repeat("Hello", 100), noise(0, 300)} {
		f.Add([]byte(pack(s)), 100)
	}
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), 100)
	f.Add([]byte("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), 4)
	f.Add([]byte(pack(strings.Repeat("\x00", 1<<20))), 1<<16)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		limit &= 1<<20 - 1
		got, err := inflate(nil, b, limit)
		if v := (*violationError)(nil); err != nil && !errors.As(err, &v) {
			t.Fatalf("the error is %v", err)
		}
		if len(got) > limit+1 {
			t.Fatalf("%d bytes for a limit of %d", len(got), limit)
		}
		want, werr := io.ReadAll(io.LimitReader(flate.NewReader(io.MultiReader(bytes.NewReader(b), bytes.NewReader(endTail))), int64(limit)+1))
		switch {
		case err == nil && (werr != nil || !bytes.Equal(got, want)):
			t.Errorf("%d bytes, want %d, %v", len(got), len(want), werr)
		case errors.Is(err, errTooBig) && len(want) != limit+1:
			t.Errorf("too big, and the standard library makes %d bytes of it, with a limit of %d", len(want), limit)
		}
	})
}

// What is small, or does not get smaller, is sent as it is.
func TestDeflateOrNot(t *testing.T) {
	m, err := newMetrics(nil, func() int { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	for level := 1; level <= 9; level++ {
		d := newDeflater(level, 100, m)
		for _, tc := range []struct {
			payload string
			packed  bool
		}{
			{"", false},
			{strings.Repeat("x", 99), false},
			{strings.Repeat("x", 100), true},
			{strings.Repeat("any text, ", 20_000), true},
			{string(randomBytes(1000)), false},
			{string(randomBytes(100_000)), false},
		} {
			b := d.AppendMessage([]byte("before"), &bus.Message{Binary: true, Payload: []byte(tc.payload)})
			if !bytes.HasPrefix(b, []byte("before")) || b[6]&^rsv1 != bin || (b[6]&rsv1 != 0) != tc.packed {
				t.Errorf("level %d, %d bytes: the frame begins with %x", level, len(tc.payload), b[:8])
				continue
			}
			if !tc.packed && !bytes.Equal(b[6:], appendFrame(nil, 2, []byte(tc.payload))) {
				t.Errorf("level %d, %d bytes: not sent as it is", level, len(tc.payload))
			}
		}
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// Frames are found by the payload that they were made of, and no more are kept than so many, and so many bytes.
func TestRecentFrames(t *testing.T) {
	var r recentFrames
	same := []byte("the same words")
	if f := r.get(same, false); r.get(same, false) != f || r.get(same, true) == f || r.get(bytes.Clone(same), false) == f || r.get(same[:3], false) == f {
		t.Error("a frame is found by another payload, or not by its own")
	}
	for i := range 1000 {
		p := make([]byte, 1+i*37%(maxRecentBytes/10))
		f := r.get(p, false)
		if r.get(p, false) != f {
			t.Fatalf("payload %d is not found again", i)
		}
		sum, count := 0, 0
		for _, f := range r.ring {
			if f != nil {
				sum += len(f.payload)
				count++
			}
		}
		if sum != r.bytes || sum > maxRecentBytes || count == 0 {
			t.Fatalf("after %d: %d frames of %d bytes, counted as %d", i, count, sum, r.bytes)
		}
	}
	huge := make([]byte, maxRecentBytes+1)
	if first := r.get(huge, false); r.get(huge, false) == first {
		t.Error("a payload is kept that is over the bound alone")
	}
}

// sink is a transport that takes everything, and keeps the last frame.
type sink struct {
	nowhere
	last []byte
}

func (s *sink) write(p []byte) (int, error) {
	s.last = p
	return len(p), nil
}

// crowd is so many actors in one group, of connections that agreed on compression, or not.
func crowd(t testing.TB, n *node, members int, deflate bool) (sinks []*sink, leave func()) {
	t.Helper()
	g := mustGroup(t, "g")
	var joined sync.WaitGroup
	var kept []*bus.Membership
	for i := range members {
		s := &sink{}
		sinks = append(sinks, s)
		joined.Add(1)
		a := &Actor{system: n.System, conn: s, compressed: deflate, number: uint64(i)}
		kept = append(kept, n.bus.Join(g, a, uint32(i), func(error) { joined.Done() }))
	}
	joined.Wait()
	return sinks, func() {
		for _, m := range kept {
			n.bus.Leave(m)
		}
	}
}

// delivered waits until so many more deliveries are counted.
func (n *node) delivered(want float64) {
	eventually(n.t, "all have it", func() bool { return n.value("fairlead_messages_sent_total", "") >= want })
}

// 5,000 members receive a broadcast at the cost of one compression, on however many shards they are.
func TestBroadcastIsCompressedOnce(t *testing.T) {
	n := newNode(t, Config{})
	const members, messages = 5000, 4
	sinks, leave := crowd(t, n, members, true)
	defer leave()
	plain := n.connect(Birth{Groups: []session.Group{mustGroup(t, "g")}})
	for i := range messages {
		payload := fmt.Sprint(i, strings.Repeat(" and so on", 100))
		if err := n.bus.Publish(bus.Message{Group: mustGroup(t, "g"), Payload: []byte(payload)}, nil); err != nil {
			t.Fatal(err)
		}
		plain.want(text, payload)
		n.delivered(float64((members + 1) * (i + 1)))
		if got := n.value("fairlead_compressions_total", ""); got != float64(i+1) {
			t.Fatalf("%v compressions for %d messages", got, i+1)
		}
		for k, s := range sinks {
			if s.last[0] != text|rsv1 || int(s.last[1]) != len(s.last)-2 {
				t.Fatalf("member %d has a frame that begins with %x", k, s.last[:4])
			}
			if got, err := unpack(s.last[2:]); k%500 == 0 && (err != nil || string(got) != payload) {
				t.Fatalf("member %d has %.50q, %v", k, got, err)
			}
		}
	}
	in, out := n.value("fairlead_compression_input_bytes_total", ""), n.value("fairlead_compression_output_bytes_total", "")
	if in < messages*1000 || out > in/5 {
		t.Errorf("%v bytes became %v", in, out)
	}
}

// A message for a client alone is compressed too, on both ways.
func TestEchoIsCompressed(t *testing.T) {
	n := newNode(t, Config{})
	n.wiring = compressed
	c := n.connect(Birth{Handler: Echo})
	payload := strings.Repeat("again and ", 1000)
	c.send(text, payload)
	c.want(text, payload)
	c.send(text, "short")
	c.want(text, "short")
	if got := n.value("fairlead_compressions_total", ""); got != 1 {
		t.Errorf("%v compressions, want 1: the second message is too short", got)
	}
	if got := n.value("fairlead_sent_bytes_total", ""); got > 200 {
		t.Errorf("%v bytes were sent", got)
	}
	if got := n.value("fairlead_received_bytes_total", ""); got != float64(len(payload)+len("short")) {
		t.Errorf("%v bytes were received, want those of the messages", got)
	}
}

// A limit of bytes counts what a message was before it was compressed: else a client could say a thousand times as much.
func TestBytesAreCountedInflated(t *testing.T) {
	n := compressed.newNode(t, Config{Limits: Limits{BytesPerSecond: 1000, ByteBurst: 100_000}})
	c := n.connect(Birth{Handler: Echo})
	payload := strings.Repeat("x", 60_000)
	c.send(text, payload)
	c.want(text, payload)
	c.send(text, payload)
	c.wantClose(CloseRateLimited)
	n.wantClosed(c, CloseRateLimited, "too many bytes in a second")
}

// BenchmarkBroadcast is what one message of 1 KiB to 5,000 members costs without the kernel: with compression there is one
// compression more, and all else is the same.
func BenchmarkBroadcast(b *testing.B) {
	words := strings.Fields(strings.Repeat("the quick brown fox jumps over a lazy dog ", 5))
	var text strings.Builder
	for i := 0; text.Len() < 1<<10; i++ {
		fmt.Fprintf(&text, `{"id":%d,"word":%q}`, i*7919%1000, words[i*31%len(words)])
	}
	for name, deflate := range map[string]bool{"plain": false, "compressed": true} {
		b.Run(name, func(b *testing.B) {
			n := newNode(b, Config{})
			const members = 5000
			_, leave := crowd(b, n, members, deflate)
			defer leave()
			g, sent := mustGroup(b, "g"), uint64(0)
			count := func() (sum uint64) {
				for i := range n.metrics.sentBy {
					sum += n.metrics.sentBy[i].messages.Load()
				}
				return sum
			}
			b.ResetTimer()
			for range b.N {
				if err := n.bus.Publish(bus.Message{Group: g, Payload: []byte(text.String())}, nil); err != nil {
					b.Fatal(err)
				}
				for sent += members; count() < sent; {
				}
			}
			b.StopTimer()
			b.ReportMetric(n.value("fairlead_compressions_total", "")/float64(b.N), "compressions/op")
		})
	}
}

// BenchmarkDeflate is one compression of such a message, by level.
func BenchmarkDeflate(b *testing.B) {
	payload := []byte(strings.Repeat(`{"type":"message","from":"alice","text":"how are you?","at":"2026-01-01T12:00:00Z"},`, 12))
	m, err := newMetrics(nil, func() int { return 0 })
	if err != nil {
		b.Fatal(err)
	}
	for _, level := range []int{1, 5, 9} {
		b.Run(fmt.Sprint("level ", level), func(b *testing.B) {
			d, dst := newDeflater(level, 1, m), make([]byte, 0, 4<<10)
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			for range b.N {
				dst = d.appendFrame(dst[:0], false, payload)
			}
			b.ReportMetric(float64(len(dst)), "bytes")
		})
	}
	b.Run("inflate", func(b *testing.B) {
		packed := slices.Clone([]byte(pack(string(payload))))
		dst := make([]byte, 0, 4<<10)
		b.ReportAllocs()
		b.SetBytes(int64(len(payload)))
		for range b.N {
			if dst, err = inflate(dst[:0], packed, 64<<10); err != nil {
				b.Fatal(err)
			}
		}
	})
}
