package journal

import (
	"bytes"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
)

func TestEncoding(t *testing.T) {
	line := `{"v":1,"t":"2026-11-25T02:06:57.084676108Z","s":"dc341lrb3jeniiiv1vb0-1","n":1,"k":"joined","e":{"group":"app_1"}}` + "\n"
	for name, message := range map[string][]byte{
		"empty": {}, "short": []byte(line), "long": []byte(strings.Repeat(line, 300)), "random": noise(4096),
	} {
		encoded, encoding := encode(nil, message)
		if shorter := encoding == encodingS2; shorter != (len(encoded) < len(message)) || shorter != (name == "long") {
			t.Errorf("%s: %d bytes become %d, encoded as %q", name, len(message), len(encoded), encoding)
		}
		h := nats.Header{}
		if encoding != "" {
			h.Set(headerEncoding, encoding)
		}
		if got, err := decode(h, encoded); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%s: %d bytes come back, %v", name, len(got), err)
		}
	}
}

// The room is used again, and a message in it is whole.
func TestEncodingRoom(t *testing.T) {
	first, _ := encode(nil, bytes.Repeat([]byte("first "), 1000))
	room := first
	second, _ := encode(room, bytes.Repeat([]byte("2nd "), 1000))
	if &second[:1][0] != &room[:1][0] {
		t.Error("new memory, though there was room")
	}
	if got, err := decode(nats.Header{headerEncoding: {encodingS2}}, second); err != nil || string(got[:4]) != "2nd " || len(got) != 4000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		encoding string
		data     []byte
		want     string
	}{
		"another encoding": {"zstd", []byte("x"), `encoded as "zstd"`},
		"no s2":            {encodingS2, []byte{0xff, 0xff, 0xff}, "a compressed message"},
		"cut off":          {encodingS2, s2.Encode(nil, make([]byte, 5000))[:4], "a compressed message"},
		"too much":         {encodingS2, s2.Encode(nil, make([]byte, maxDecoded+1)), "4194305 bytes, want at most 4194304"},
	} {
		_, err := decode(nats.Header{headerEncoding: {tt.encoding}}, tt.data)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// noise returns bytes that nothing makes shorter.
func noise(n int) []byte {
	b, x := make([]byte, n), uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}
