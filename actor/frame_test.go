package actor

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/bus"
)

// found is what a reader found in some bytes.
type found struct {
	events []string  // kind and payload
	code   CloseCode // of the violation, 0: none
	half   bool      // something is half read
}

func (f found) equal(g found) bool {
	return slices.Equal(f.events, g.events) && f.code == g.code && f.half == g.half
}

// read gives data to a new reader in pieces of the sizes that size returns, at least one byte each.
func read(t testing.TB, data []byte, size func() int) (f found) {
	t.Helper()
	r := newReader(testLimit)
	defer r.free()
	data = slices.Clone(data) // it is unmasked in place
	for len(data) > 0 {
		n := min(max(size(), 1), len(data))
		piece := data[:n]
		data = data[n:]
		for len(piece) > 0 {
			ev, n, err := r.next(piece)
			if n < 1 || n > len(piece) {
				t.Fatalf("next took %d of %d bytes", n, len(piece))
			}
			if err == nil && ev.kind == needMore && n != len(piece) {
				t.Fatalf("next left %d of %d bytes and wants more", len(piece)-n, len(piece))
			}
			piece = piece[n:]
			if c := cap(r.message); c > 2*testLimit+keptMessage {
				t.Fatalf("the reader holds %d bytes, and a message may have %d", c, testLimit)
			}
			if err != nil {
				var v *violationError
				if !errors.As(err, &v) || v.reason == "" || len(v.reason) > maxCloseReason {
					t.Fatalf("the error is %#v", err)
				}
				f.code = v.code
				return f
			}
			if ev.kind != needMore {
				f.events = append(f.events, label(ev)+string(ev.payload))
			}
		}
	}
	f.half = !r.idle()
	return f
}

func label(ev event) string {
	switch {
	case ev.kind == gotMessage && ev.binary:
		return "binary:"
	case ev.kind == gotMessage:
		return "text:"
	}
	return [...]string{gotPing: "ping:", gotPong: "pong:", gotClose: "close:"}[ev.kind]
}

func whole() int    { return 1 << 30 }
func bytewise() int { return 1 }

const testLimit = 1000

func frames(parts ...[]byte) []byte { return slices.Concat(parts...) }

// head returns the header of a masked frame: with a length of 2 bytes (16) or 8 bytes (64), whatever its value.
func head(b0 byte, form int, length uint64) []byte {
	switch form {
	case 16:
		return append(binary.BigEndian.AppendUint16([]byte{b0, maskBit | len16}, uint16(length)), mask[:]...)
	case 64:
		return append(binary.BigEndian.AppendUint64([]byte{b0, maskBit | len64}, length), mask[:]...)
	}
	return append([]byte{b0, maskBit | byte(length)}, mask[:]...)
}

var readerCases = []struct {
	name string
	in   []byte
	want []string
	code CloseCode // if it is not 0, the fault is in the last byte of in: what is before that is right
	half bool
}{
	{name: "nothing"},
	{name: "text", in: masked(text, "Hello"), want: []string{"text:Hello"}},
	{name: "binary", in: masked(bin, "\xff\x00"), want: []string{"binary:\xff\x00"}},
	{
		name: "empty frames", in: frames(masked(text, ""), masked(bin, ""), masked(ping, ""), masked(pong, ""), masked(closeBit, "")),
		want: []string{"text:", "binary:", "ping:", "pong:", "close:"},
	},
	{name: "125 bytes", in: masked(text, strings.Repeat("a", 125)), want: []string{"text:" + strings.Repeat("a", 125)}},
	{name: "126 bytes", in: masked(text, strings.Repeat("a", 126)), want: []string{"text:" + strings.Repeat("a", 126)}},
	{name: "as long as it may be", in: masked(text, strings.Repeat("a", testLimit)), want: []string{"text:" + strings.Repeat("a", testLimit)}},
	{name: "a mask of zeros", in: []byte{text, maskBit | 2, 0, 0, 0, 0, 'h', 'i'}, want: []string{"text:hi"}},
	{name: "half a header", in: []byte{text}, half: true},
	{name: "half a mask", in: []byte{text, maskBit | 5, 1, 2}, half: true},
	{name: "half a payload", in: masked(text, "Hello")[:8], half: true},
	{name: "a message, and the next begins", in: frames(masked(text, "a"), masked(text, "b")[:1]), want: []string{"text:a"}, half: true},

	{name: "fragments", in: frames(masked(begin, "a"), masked(contBegin, "b"), masked(contin, "c")), want: []string{"text:abc"}},
	{name: "binary fragments", in: frames(masked(beginBin, "\xff"), masked(contin, "\xfe")), want: []string{"binary:\xff\xfe"}},
	{name: "empty fragments", in: frames(masked(begin, ""), masked(contBegin, ""), masked(contin, "")), want: []string{"text:"}},
	{name: "half a fragmented message", in: masked(begin, "a"), half: true},
	{
		name: "control frames between fragments", in: frames(masked(begin, "a"), masked(ping, "1"), masked(contBegin, "b"), masked(pong, ""),
			masked(ping, strings.Repeat("2", 125)), masked(contin, "c"), masked(closeBit, code(1000, "x"))),
		want: []string{"ping:1", "pong:", "ping:" + strings.Repeat("2", 125), "text:abc", "close:\x03\xe8x"},
	},
	{name: "a close inside a fragmented message", in: frames(masked(begin, "a"), masked(closeBit, "")), want: []string{"close:"}, half: true},
	{
		name: "two messages of fragments", in: frames(masked(begin, "a"), masked(contin, "b"), masked(beginBin, "\xff"), masked(contin, "d")),
		want: []string{"text:ab", "binary:\xffd"},
	},
	{
		name: "a character over two fragments", in: frames(masked(begin, "\xe2\x82"), masked(ping, "\xff"), masked(contin, "\xac")),
		want: []string{"ping:\xff", "text:€"},
	},
	{name: "a character over four fragments", in: frames(masked(begin, "\xf0"), masked(contBegin, "\x9f"), masked(contBegin, "\x9a"),
		masked(contin, "\xa2")), want: []string{"text:🚢"}},

	{name: "RSV1", in: head(text|0x40, 7, 5), code: 1002},
	{name: "RSV2 on a control frame", in: head(ping|0x20, 7, 0), code: 1002},
	{name: "RSV3 on a continuation", in: frames(masked(begin, "a"), head(contin|0x10, 7, 0)), code: 1002},
	{name: "a reserved data opcode", in: head(finBit|3, 7, 0), code: 1002},
	{name: "the last reserved data opcode", in: head(finBit|7, 7, 0), code: 1002},
	{name: "a reserved control opcode", in: head(finBit|0xb, 7, 0), code: 1002},
	{name: "the last opcode", in: head(finBit|0xf, 7, 0), code: 1002},
	{name: "not masked", in: []byte{text, 0}, code: 1002},
	{name: "not masked, with a payload", in: []byte{text, 5}, code: 1002},
	{name: "not masked, 16 bits of length", in: []byte{text, 126, 0, 126}, code: 1002},
	{name: "a control frame of 126 bytes", in: head(ping, 16, 126), code: 1002},
	{name: "a control frame of 64 KiB", in: head(closeBit, 64, 1<<16), code: 1002},
	{name: "a fragmented control frame", in: head(ping&^finBit, 7, 0), code: 1002},
	{name: "16 bits where 7 are enough", in: head(text, 16, 125), code: 1002},
	{name: "64 bits where 7 are enough", in: head(text, 64, 1), code: 1002},
	{name: "64 bits where 16 are enough", in: head(bin, 64, 1<<16-1), code: 1002},
	{name: "the most significant bit of the length", in: head(bin, 64, 1<<63|1<<16), code: 1002},
	{name: "all bits of the length", in: head(bin, 64, 1<<64-1), code: 1002},
	{name: "a continuation of nothing", in: head(contin, 7, 0), code: 1002},
	{name: "a continuation after a message", in: frames(masked(text, "a"), head(contBegin, 7, 1)), want: []string{"text:a"}, code: 1002},
	{
		name: "a continuation after the last fragment", in: frames(masked(begin, "a"), masked(contin, "b"), head(contin, 7, 1)),
		want: []string{"text:ab"}, code: 1002,
	},
	{name: "a new message in a fragmented one", in: frames(masked(begin, "a"), head(text, 7, 1)), code: 1002},
	{
		name: "a new binary message in a fragmented text", in: frames(masked(begin, "a"), masked(ping, ""), head(beginBin, 7, 1)),
		want: []string{"ping:"}, code: 1002,
	},

	{name: "too big", in: head(text, 16, testLimit+1), code: 1009},
	{name: "much too big", in: head(bin, 64, 1<<63-1), code: 1009},
	{name: "too big in fragments", in: frames(masked(begin, strings.Repeat("a", testLimit-2)), masked(contBegin, "b"), head(contin, 7, 2)), code: 1009},
	{
		name: "the next fragment is empty", in: frames(masked(begin, strings.Repeat("a", testLimit)), masked(contin, "")),
		want: []string{"text:" + strings.Repeat("a", testLimit)},
	},
	{
		name: "the limit is for each message", in: frames(masked(begin, strings.Repeat("a", 600)), masked(contin, "b"), masked(bin, strings.Repeat("c", 600))),
		want: []string{"text:" + strings.Repeat("a", 600) + "b", "binary:" + strings.Repeat("c", 600)},
	},

	{name: "not UTF-8", in: masked(text, "a\xff"), code: 1007},
	{name: "not UTF-8 in the middle of a frame", in: append(head(text, 7, 100), masked(text, "ab\x80")[6:]...), code: 1007},
	{name: "not UTF-8 in the middle of a fragment", in: frames(masked(begin, "a€"), append(head(contBegin, 7, 100), masked(text, "b\xc0")[6:]...)), code: 1007},
	{name: "a surrogate, seen at its second byte", in: append(head(text, 7, 100), masked(text, "\xed\xa0")[6:]...), code: 1007},
	{name: "beyond Unicode, seen at its second byte", in: append(head(text, 7, 100), masked(text, "\xf4\x90")[6:]...), code: 1007},
	{name: "an overlong form, seen at its second byte", in: append(head(text, 7, 100), masked(text, "\xe0\x80")[6:]...), code: 1007},
	{name: "half a character at the end", in: masked(text, "a\xe2\x82"), code: 1007},
	{name: "half a character at the end of the fragments", in: frames(masked(begin, "\xe2"), masked(contin, "\x82")), code: 1007},
	{name: "half a character and an empty last fragment", in: frames(masked(begin, "\xe2\x82"), masked(contin, "")), code: 1007},
	{name: "a character broken by a fragment", in: frames(masked(begin, "\xe2\x82"), masked(contin, "a")), code: 1007},
}

// TestReader holds the rules of RFC 6455 section 5 and 8.1, however the bytes come.
func TestReader(t *testing.T) {
	for _, tc := range readerCases {
		t.Run(tc.name, func(t *testing.T) {
			want := found{tc.want, tc.code, tc.half}
			if got := read(t, tc.in, whole); !got.equal(want) {
				t.Errorf("whole: %+v, want %+v", got, want)
			}
			if got := read(t, tc.in, bytewise); !got.equal(want) {
				t.Errorf("byte by byte: %+v, want %+v", got, want)
			}
			for seed := range uint64(30) {
				random := rand.New(rand.NewPCG(seed, 1))
				size := func() int { return 1 + random.IntN(1+random.IntN(40)) }
				if got := read(t, tc.in, size); !got.equal(want) {
					t.Fatalf("split with seed %d: %+v, want %+v", seed, got, want)
				}
			}
			if tc.code != 0 {
				if got := read(t, tc.in[:len(tc.in)-1], whole); got.code != 0 || !slices.Equal(got.events, tc.want) {
					t.Errorf("one byte less: %+v; the fault is in the last byte alone", got)
				}
			}
		})
	}
}

// A payload that is whole in the buffer is used there; a buffer that grew large is not kept.
func TestReaderMemory(t *testing.T) {
	r := newReader(1 << 20)
	b := masked(text, "hello")
	ev, _, err := r.next(b)
	if err != nil || &ev.payload[0] != &b[6] {
		t.Errorf("next copied the payload, %v", err)
	}
	big := frames(masked(beginBin, strings.Repeat("a", 100_000)), masked(contin, ""))
	if ev, n, err := r.next(big); err != nil || n != len(big) || len(ev.payload) != 100_000 {
		t.Fatalf("next = %d bytes, %d, %v", len(ev.payload), n, err)
	}
	if !r.idle() {
		t.Error("not idle after a message")
	}
	r.free()
	if c := cap(r.message); c != 0 {
		t.Errorf("a free reader keeps %d bytes", c)
	}
}

// Frames that come whole cost no garbage.
func TestReaderAllocs(t *testing.T) {
	r := newReader(testLimit)
	defer r.free()
	b := frames(masked(ping, "ping"), []byte{text, maskBit | 5, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'}, masked(closeBit, ""))
	got := testing.AllocsPerRun(100, func() {
		for p := b; len(p) > 0; {
			_, n, err := r.next(p)
			if err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
	})
	if got != 0 {
		t.Errorf("%v allocations for three frames, want 0", got)
	}
}

func TestAppendFrame(t *testing.T) {
	for n, want := range map[int]string{
		0: "\x81\x00", 125: "\x81\x7d", 126: "\x81\x7e\x00\x7e", 1<<16 - 1: "\x81\x7e\xff\xff",
		1 << 16: "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
	} {
		payload := strings.Repeat("a", n)
		got := rawEncoding{}.AppendMessage([]byte("before"), &bus.Message{Payload: []byte(payload)})
		if string(got) != "before"+want+payload {
			t.Errorf("%d bytes: the header is %x, want %x", n, got[6:len(got)-n], want)
		}
	}
	if got := (rawEncoding{}).AppendMessage(nil, &bus.Message{Binary: true, Payload: []byte("x")}); string(got) != "\x82\x01x" {
		t.Errorf("a binary message is %x", got)
	}
}

func BenchmarkReader(b *testing.B) {
	for name, payload := range map[string]string{"text of 16 bytes": "sixteen bytes !!", "text of 128 bytes": strings.Repeat("sixteen bytes !!", 8)} {
		b.Run(name, func(b *testing.B) {
			f := appendFrame(nil, ws.OpText, []byte(payload))
			f[1] |= maskBit
			f = slices.Insert(f, len(f)-len(payload), 0, 0, 0, 0) // next unmasks in place: so each time gives the same
			r := newReader(testLimit)
			defer r.free()
			b.ReportAllocs()
			b.SetBytes(int64(len(f)))
			for b.Loop() {
				if ev, _, err := r.next(f); err != nil || ev.kind != gotMessage {
					b.Fatal(ev, err)
				}
			}
		})
	}
}
