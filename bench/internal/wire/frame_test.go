package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gobwas/ws"
)

// TestAppendFrame has another implementation read the frames.
func TestAppendFrame(t *testing.T) {
	for _, op := range []Opcode{Text, Binary, Ping, Pong, Close} {
		for _, n := range []int{0, 1, 3, 4, 125, 126, 128, 0xFFFF, 0x10000} {
			if op >= Close && n > 125 {
				continue
			}
			payload := bytes.Repeat([]byte("abcdefg"), n/7+1)[:n]
			raw := AppendFrame([]byte("before"), op, payload)
			if !bytes.HasPrefix(raw, []byte("before")) {
				t.Fatalf("AppendFrame does not append: %.20q", raw)
			}
			r := bytes.NewReader(raw[len("before"):])
			h, err := ws.ReadHeader(r)
			if err != nil {
				t.Fatalf("opcode %d, %d bytes: %v", op, n, err)
			}
			if !h.Masked || !h.Fin || byte(h.OpCode) != byte(op) || int(h.Length) != n || r.Len() != n {
				t.Errorf("opcode %d, %d bytes: header %+v and %d bytes", op, n, h, r.Len())
			}
			got := raw[len(raw)-n:]
			if ws.Cipher(got, h.Mask, 0); !bytes.Equal(got, payload) {
				t.Errorf("opcode %d, %d bytes: payload %.40q", op, n, got)
			}
		}
	}
}

// TestParseHeaderAgreesWithPeer reads frames that another implementation has written.
func TestParseHeaderAgreesWithPeer(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 128, 0xFFFF, 0x10000} {
		for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary, ws.OpContinuation} {
			raw, err := ws.CompileFrame(ws.NewFrame(op, true, make([]byte, n)))
			if err != nil {
				t.Fatal(err)
			}
			h, ok, err := ParseHeader(raw)
			if err != nil || !ok || h.Length != n || h.Size+n != len(raw) || byte(h.Opcode) != byte(op) || !h.Fin {
				t.Errorf("%d bytes: %+v, %v, %v", n, h, ok, err)
			}
			if FrameSize(n) != len(raw) {
				t.Errorf("FrameSize(%d) = %d, want %d", n, FrameSize(n), len(raw))
			}
			for cut := range h.Size {
				if _, ok, err := ParseHeader(raw[:cut]); ok || err != nil {
					t.Errorf("%d bytes of a header of %d: %v, %v", cut, h.Size, ok, err)
				}
			}
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	tests := []struct {
		name string
		give []byte
	}{
		{"masked", []byte{0x81, 0x80, 1, 2, 3, 4}},
		{"reserved bit", []byte{0xC1, 0}},
		{"unknown data opcode", []byte{0x83, 0}},
		{"unknown control opcode", []byte{0x8B, 0}},
		{"a ping in pieces", []byte{0x09, 0}},
		{"a long ping", []byte{0x89, 126, 0, 200}},
		{"a long form for a short length", []byte{0x81, 126, 0, 125}},
		{"the longest form for a middle length", []byte{0x81, 127, 0, 0, 0, 0, 0, 0, 1, 0}},
		{"beyond the limit", []byte{0x81, 127, 0, 0, 0, 0, 1, 0, 0, 1}},
		{"a negative length", []byte{0x81, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if h, ok, err := ParseHeader(tt.give); ok || !errors.Is(err, ErrFrame) {
				t.Errorf("got %+v, %v, %v; want ErrFrame", h, ok, err)
			}
		})
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte{0x81, 5, 'h', 'e', 'l', 'l', 'o'})
	f.Add([]byte{0x82, 126, 1, 0})
	f.Add([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0})
	f.Add([]byte{0x88, 2, 3, 0xE8})
	f.Add([]byte{0x81, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok, err := ParseHeader(b)
		if err != nil || !ok {
			if ok || h != (Header{}) && err != nil {
				t.Errorf("%+v, %v with error %v", h, ok, err)
			}
			return
		}
		peer, err := ws.ReadHeader(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("gobwas/ws refuses what ParseHeader accepts as %+v: %v", h, err)
		}
		if int(peer.Length) != h.Length || peer.Fin != h.Fin || byte(peer.OpCode) != byte(h.Opcode) || peer.Masked {
			t.Errorf("%+v, gobwas/ws reads %+v", h, peer)
		}
	})
}
