package gateway

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// readHead reads raw, chunk by chunk as r gives it, with a limit of limit bytes.
func readHead(r io.Reader, limit int) (got, pending string, err error) {
	h := head{pool: newBuffers(limit)}
	defer h.release()
	if err := h.read(r); err != nil {
		return "", "", err
	}
	return string(h.bytes()), string(h.pending()), nil
}

func TestHeadRead(t *testing.T) {
	const limit = 16 << 10
	frames := "\x81\x85\x00\x00\x00\x00hello"
	filler := func(size int) string { // a head of size bytes
		const empty = "GET / HTTP/1.1\r\nX: \r\n\r\n"
		return lines("GET / HTTP/1.1", "X: "+strings.Repeat("x", size-len(empty)))
	}
	for _, c := range []struct {
		name          string
		raw           string
		head, pending string
		want          *reasonError
	}{
		{"a head", browserHead, browserHead, "", nil},
		{"frames behind it", browserHead + frames, browserHead, frames, nil},
		{"an empty line behind it", browserHead + "\r\n", browserHead, "\r\n", nil},
		{"more than the small buffer", filler(smallHead + 1), filler(smallHead + 1), "", nil},
		{"just the small buffer", filler(smallHead), filler(smallHead), "", nil},
		{"just the limit", filler(limit), filler(limit), "", nil},
		{"one more", filler(limit + 1), "", "", errHeadTooLarge},
		{"no end in sight", strings.Repeat("a", 1<<20), "", "", errHeadTooLarge},
		{"TLS", "\x16\x03\x01\x02\x00\x01", "", "", errRequestLine},
		{"an empty line first", "\r\n", "", "", errRequestLine},
		{"bare LF", "GET / HTTP/1.1\n", "", "", errBareLF},
		{"bare LF behind a CR LF", "GET / HTTP/1.1\r\n\n", "", "", errBareLF},
		{"the end of the client", "GET / HTTP/1.1\r\nHost: h\r\n", "", "", errGone},
		{"nothing", "", "", "", errGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once":          strings.NewReader(c.raw),
				"with the end":     iotest.DataErrReader(strings.NewReader(c.raw)),
				"in halves":        iotest.HalfReader(strings.NewReader(c.raw)),
				"byte by byte":     iotest.OneByteReader(strings.NewReader(c.raw)),
				"with empty reads": &stutter{r: strings.NewReader(c.raw)},
			} {
				got, pending, err := readHead(r, limit)
				if !isReason(err, c.want) || got != c.head {
					t.Errorf("%s: got %.60q, %v, want %.60q, %v", how, got, err, c.head, c.want)
				}
				if !strings.HasPrefix(c.pending, pending) {
					t.Errorf("%s: pending is %q, want the beginning of %q", how, pending, c.pending)
				}
			}
		})
	}
}

// stutter reads nothing every other time.
type stutter struct {
	r    io.Reader
	idle bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.idle = !s.idle; s.idle {
		return 0, nil
	}
	return s.r.Read(p)
}

func TestHeadReadErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want *reasonError
	}{
		{os.ErrDeadlineExceeded, errHeadTimeout},
		{io.ErrUnexpectedEOF, errGone},
		{errors.New("connection reset by peer"), errGone},
	} {
		r := io.MultiReader(strings.NewReader("GET / HTTP/1.1\r\n"), iotest.ErrReader(c.err))
		if _, _, err := readHead(r, 1024); !isReason(err, c.want) {
			t.Errorf("after %v: got %v, want %v", c.err, err, c.want)
		}
	}
}

// A small limit is a limit too, and its buffers are its own.
func TestHeadReadSmallLimit(t *testing.T) {
	if _, _, err := readHead(strings.NewReader(browserHead), 512); !isReason(err, errHeadTooLarge) {
		t.Errorf("got %v, want %v", err, errHeadTooLarge)
	}
}

// A released head reads another, in small and in big buffers, and has nothing left of the first.
func TestHeadRelease(t *testing.T) {
	h := head{pool: newBuffers(16 << 10)}
	h.release() // nothing was read
	big := lines("GET /big HTTP/1.1", "X: "+strings.Repeat("x", 10<<10))
	for _, raw := range []string{browserHead + "frames", big, browserHead, big + "frames"} {
		if err := h.read(strings.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
		if got := string(h.bytes()) + string(h.pending()); got != raw {
			t.Errorf("read %.60q, want %.60q", got, raw)
		}
		if want := smallHead; len(raw) <= smallHead && len(h.buffer()) != want {
			t.Errorf("%d bytes are in a buffer of %d, want %d", len(raw), len(h.buffer()), want)
		}
		h.release()
		h.release()
		if h.lent != nil || h.n != 0 || h.end != 0 {
			t.Errorf("release left %+v", h)
		}
	}
}

// FuzzHeadReader holds that however the bytes come, the head ends behind the first empty line, and nothing is lost.
func FuzzHeadReader(f *testing.F) {
	for _, c := range headCases() {
		f.Add([]byte(c.raw), 7)
		f.Add([]byte(c.raw+"\x81\x00"), 1000)
	}
	f.Fuzz(func(t *testing.T, b []byte, chunk int) {
		if chunk < 1 {
			chunk = 1
		}
		const limit = 512
		raw := string(b)
		rest := &chunks{s: raw, size: chunk}
		h := head{pool: newBuffers(limit)}
		defer h.release()
		if err := h.read(rest); err != nil {
			if i := strings.Index(raw, "\r\n\r\n"); i >= 0 && i+4 <= limit && err == error(errHeadTooLarge) { //nolint:errorlint // identity
				t.Fatalf("too large, and ends at %d", i)
			}
			return
		}
		end := strings.Index(raw, "\r\n\r\n") + 4
		if got := string(h.bytes()); got != raw[:end] {
			t.Fatalf("the head is %q, want %q", got, raw[:end])
		}
		if got := string(h.bytes()) + string(h.pending()) + rest.s; got != raw {
			t.Fatalf("read %q of %q", got, raw)
		}
	})
}

// chunks gives size bytes a read.
type chunks struct {
	s    string
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.size)], c.s)
	c.s = c.s[n:]
	return n, nil
}
