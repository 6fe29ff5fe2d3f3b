package gateway

import (
	"io"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/authn"
)

func extensions(lines ...string) (fields []authn.HeaderField) {
	fields = append(fields, authn.HeaderField{Name: []byte("Host"), Value: []byte("permessage-deflate")})
	for _, l := range lines {
		fields = append(fields, authn.HeaderField{Name: []byte("Sec-WebSocket-Extensions"), Value: []byte(l)})
	}
	return fields
}

func TestNegotiate(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"permessage-deflate"}, agreed},
		{[]string{"permessage-deflate; client_max_window_bits"}, agreed}, // browsers
		{[]string{"Permessage-Deflate;CLIENT_MAX_WINDOW_BITS"}, agreed},
		{[]string{"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}, agreed},
		{[]string{"permessage-deflate; client_max_window_bits=8"}, agreed},
		{[]string{"permessage-deflate; client_max_window_bits=\"15\""}, agreed},
		{[]string{"permessage-deflate; server_max_window_bits=15; client_max_window_bits=15"}, agreedWithWindow},
		{[]string{"permessage-deflate ; server_max_window_bits = 15"}, agreedWithWindow},

		// declined
		{[]string{"permessage-deflate; server_max_window_bits=10"}, ""},
		{[]string{"permessage-deflate; server_max_window_bits"}, ""},
		{[]string{"permessage-deflate; client_max_window_bits=7"}, ""},
		{[]string{"permessage-deflate; client_max_window_bits=16"}, ""},
		{[]string{"permessage-deflate; client_max_window_bits=08"}, ""},
		{[]string{"permessage-deflate; client_max_window_bits="}, ""},
		{[]string{"permessage-deflate; client_max_window_bits=a"}, ""},
		{[]string{"permessage-deflate; server_no_context_takeover=1"}, ""},
		{[]string{"permessage-deflate; client_no_context_takeover="}, ""},
		{[]string{"permessage-deflate; client_no_context_takeover; client_no_context_takeover"}, ""},
		{[]string{"permessage-deflate; unknown"}, ""},
		{[]string{"permessage-deflate;; client_max_window_bits"}, ""},
		{[]string{"permessage-deflate=1"}, ""},
		{[]string{"x-webkit-deflate-frame", "permessage-bzip2"}, ""},
		{[]string{`permessage-deflate; x="`}, ""},

		// one of several
		{[]string{"permessage-deflate; server_max_window_bits=10, permessage-deflate"}, agreed},
		{[]string{"permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=15"}, agreedWithWindow},
		{[]string{`foo; bar="a, permessage-deflate; \", x", permessage-deflate`}, agreed},
		{[]string{`foo; bar="permessage-deflate, permessage-deflate`}, ""},
		{[]string{",, permessage-deflate ,"}, agreed},
	} {
		if got := negotiate(extensions(tc.lines...)); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.lines, got, tc.want)
		}
	}
}

// Whatever a stranger offers, the answer is one of three, and is itself an offer that would be taken.
func FuzzNegotiate(f *testing.F) {
	for _, s := range []string{
		"", "permessage-deflate", "permessage-deflate; client_max_window_bits, x", `a; b="\"", permessage-deflate; server_max_window_bits=15`,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate", `"`, `\`, ";", "permessage-deflate;",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := negotiate(extensions(s))
		switch got {
		case "", agreed, agreedWithWindow:
		default:
			t.Fatalf("the answer is %q", got)
		}
		if got != "" && (!strings.Contains(strings.ToLower(s), "permessage-deflate") || negotiate(extensions(got)) != got) {
			t.Errorf("%q is answered with %q", s, got)
		}
	})
}

// Compression is agreed on where it is switched on and offered; else the response does not mention it.
func TestCompression(t *testing.T) {
	for _, on := range []bool{false, true} {
		s := serve(t, Config{Routes: echoRoute, Compression: on}, nil)
		for _, offered := range []bool{false, true} {
			head := handshakeTo("/ws/app_1")
			if offered {
				head = handshakeTo("/ws/app_1", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
			}
			conn := s.dial(t)
			if _, err := io.WriteString(conn, head); err != nil {
				t.Fatal(err)
			}
			r, _ := readAnswer(t, conn)
			want := ""
			if on && offered {
				want = agreed
			}
			if got := r.header.Get("Sec-WebSocket-Extensions"); r.status != 101 || got != want {
				t.Errorf("on %v, offered %v: %d with %q, want 101 with %q", on, offered, r.status, got, want)
			}
			waitFor(t, "the birth", func() bool { return len(s.actors.born()) > 0 })
			births := s.actors.born()
			if b := births[len(births)-1]; b.Compressed != (want != "") {
				t.Errorf("on %v, offered %v: the birth says %v", on, offered, b.Compressed)
			}
			conn.Close()
		}
	}
}
