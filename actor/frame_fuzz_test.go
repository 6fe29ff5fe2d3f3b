package actor

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// readSlowly is a reader of frames made of gobwas/ws's parts, which says what [reader] must find in data.
func readSlowly(limit int, data []byte) (f found) {
	var message []byte
	var op ws.OpCode
	state := ws.StateServerSide
	for in := bytes.NewReader(data); in.Len() > 0; {
		f.half = true
		before := in.Len()
		h, err := ws.ReadHeader(in)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return f
		case err != nil, ws.CheckHeader(h, state) != nil, before-in.Len() != ws.HeaderSize(h): // longer than it need be
			f.code = CloseProtocolError
		case !h.OpCode.IsControl() && h.Length > int64(limit-len(message)):
			f.code = CloseMessageTooBig
		}
		if f.code != 0 {
			return f
		}
		payload := make([]byte, min(h.Length, int64(in.Len())))
		_, _ = io.ReadFull(in, payload)
		ws.Cipher(payload, h.Mask, 0)
		rest := h.Length - int64(len(payload))
		if h.OpCode.IsControl() {
			if rest > 0 {
				return f
			}
			kind := map[ws.OpCode]string{ws.OpPing: "ping:", ws.OpPong: "pong:", ws.OpClose: "close:"}[h.OpCode]
			f.events = append(f.events, kind+string(payload))
			f.half = state.Fragmented()
			continue
		}
		if h.OpCode != ws.OpContinuation {
			op = h.OpCode
		}
		message = append(message, payload...)
		ends := rest == 0 && h.Fin
		if op == ws.OpText && (!begins(message) || ends && !utf8.Valid(message)) {
			f.code = CloseInvalidPayload
			return f
		}
		if rest > 0 {
			return f
		}
		state = state.Set(ws.StateFragmented)
		if ends {
			kind := map[ws.OpCode]string{ws.OpText: "text:", ws.OpBinary: "binary:"}[op]
			f.events = append(f.events, kind+string(message))
			state, message = state.Clear(ws.StateFragmented), nil
		}
		f.half = !ends
	}
	return f
}

// begins reports whether p can be the begin of a text in UTF-8.
func begins(p []byte) bool {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			return !utf8.FullRune(p)
		}
		p = p[n:]
	}
	return true
}

// sizes returns a function that returns the sizes in cuts, again and again.
func sizes(cuts []byte) func() int {
	i := 0
	return func() int {
		if len(cuts) == 0 {
			return 1
		}
		i++
		return int(cuts[i%len(cuts)])
	}
}

// FuzzReader compares the reader, fed in any pieces, with one that is made of gobwas/ws's parts.
func FuzzReader(f *testing.F) {
	for i, tc := range readerCases {
		f.Add(tc.in, []byte{byte(i), byte(3 * i), 1, 0})
		f.Add(frames(masked(begin, "€"[:i%4]), masked(ping, "p"), tc.in), []byte{})
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		want := readSlowly(testLimit, data)
		if want.code != 0 {
			want.half = false
		}
		for name, size := range map[string]func() int{"whole": whole, "byte by byte": bytewise, "in pieces": sizes(cuts)} {
			got := read(t, data, size)
			if !got.equal(want) {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
	})
}

// FuzzUTF8 says that utf8Check agrees with unicode/utf8 however the text comes, and finds a fault at its byte.
func FuzzUTF8(f *testing.F) {
	for _, s := range []string{
		"", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\xf0\x9f\x9a\xa2\xef\xbf\xbf", "\xed\xa0\x80edited", "\xf4\x90\x80\x80", "\xc0\x80", "\xe2\x82",
		"\xf0\x9f\x9a", "\x80", strings.Repeat("ab€", 20), "\xf8\x88\x80\x80\x80", "\xed\x9f\xbf\xee\x80\x80",
	} {
		f.Add([]byte(s), []byte{1, 2, 3})
		f.Add([]byte("a"+s+"b"), []byte{7, 1})
	}
	f.Fuzz(func(t *testing.T, p, cuts []byte) {
		for name, size := range map[string]func() int{"whole": whole, "byte by byte": bytewise, "in pieces": sizes(cuts)} {
			var u utf8Check
			good := true
			for rest := p; good && len(rest) > 0; {
				n := min(max(size(), 1), len(rest))
				good = u.write(rest[:n])
				rest = rest[n:]
				if could := begins(p[:len(p)-len(rest)]); good != could {
					t.Fatalf("%s: %q is %v, want %v", name, p[:len(p)-len(rest)], good, could)
				}
			}
			if got := good && u.complete(); got != utf8.Valid(p) {
				t.Errorf("%s: %q is %v, want %v", name, p, got, !got)
			}
		}
	})
}

// FuzzClose says that what parseClose accepts can be sent, and comes back the same.
func FuzzClose(f *testing.F) {
	for _, tc := range closeCases {
		f.Add([]byte(tc.payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > maxControl {
			payload = payload[:maxControl]
		}
		c, reason, err := parseClose(payload)
		if err != nil {
			var v *violationError
			if !errors.As(err, &v) || v.code != CloseProtocolError && v.code != CloseInvalidPayload {
				t.Errorf("%x: %v", payload, err)
			}
			return
		}
		frame := closeFrame(c, reason)
		if frame[0] != closeBit || int(frame[1]) != len(frame)-2 || !bytes.Equal(frame[2:], payload) {
			t.Errorf("%x comes back as %x", payload, frame)
		}
	})
}
