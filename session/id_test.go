package session

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// testEpoch is 2026-11-24T12:00:00Z and eight bytes 1 to 8.
func testEpoch(t testing.TB) Epoch {
	t.Helper()
	e, err := NewEpoch(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), bytes.NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8}))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestNewEpoch(t *testing.T) {
	e := testEpoch(t)
	if got, want := e.String(), "dc2nog01081g81860s40"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got, want := e.Start(), time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC); got != want {
		t.Errorf("Start() = %v, want %v", got, want)
	}
	if e.IsZero() || !(Epoch{}).IsZero() {
		t.Errorf("IsZero() = %v and %v for the zero Epoch, want false and true", e.IsZero(), Epoch{}.IsZero())
	}
	if _, err := NewEpoch(time.Now(), strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("NewEpoch with too few random bytes: %v, want io.ErrUnexpectedEOF", err)
	}
	broken := errors.New("no entropy")
	if _, err := NewEpoch(time.Now(), iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("NewEpoch with a broken source: %v, want its error", err)
	}
}

func TestEpochsSortByStart(t *testing.T) {
	start := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	var texts []string
	for i := range 300 { // over a byte's end
		random := bytes.Repeat([]byte{byte(255 - i)}, 8)
		e, err := NewEpoch(start.Add(time.Duration(i)*time.Second), bytes.NewReader(random))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, e.String())
	}
	if !slices.IsSorted(texts) {
		t.Error("epochs do not sort by their start")
	}
}

func TestParseEpoch(t *testing.T) {
	e := testEpoch(t)
	if got, err := ParseEpoch(e.String()); err != nil || got != e {
		t.Errorf("ParseEpoch(%q) = %v, %v", e, got, err)
	}
	for name, text := range map[string]string{
		"empty":               "",
		"short":               "dc2nog01081g81860s4",
		"long":                "dc2nog01081g81860s400",
		"upper case":          "DC2NOG01081G81860S40",
		"outside of the set":  "dc2nog01081g81860s4w",
		"stray bits":          "dc2nog01081g81860s41",
		"line end":            "dc2nog01081g81860s4\n",
		"line ends, decoding": "dc2nog01\n081\rg81860s",
		"wildcard":            "dc2nog01081g81860s4*",
	} {
		if got, err := ParseEpoch(text); !errors.Is(err, ErrID) || got != (Epoch{}) {
			t.Errorf("%s: ParseEpoch(%q) = %v, %v; want the zero Epoch and ErrID", name, text, got, err)
		}
	}
}

func TestID(t *testing.T) {
	e := testEpoch(t)
	for text, id := range map[string]ID{
		"dc2nog01081g81860s40-0":                    {Epoch: e},
		"dc2nog01081g81860s40-1":                    {Epoch: e, Number: 1},
		"dc2nog01081g81860s40-18446744073709551615": {Epoch: e, Number: math.MaxUint64},
		"00000000000000000000-0":                    {},
	} {
		if got := id.String(); got != text {
			t.Errorf("String() = %q, want %q", got, text)
		}
		if len(text) > epochTextLen+21 {
			t.Errorf("%q is longer than the room String makes", text)
		}
		if got, err := ParseID(text); err != nil || got != id {
			t.Errorf("ParseID(%q) = %v, %v", text, got, err)
		}
		var got ID
		if err := got.UnmarshalText([]byte(text)); err != nil || got != id {
			t.Errorf("UnmarshalText(%q) = %v, %v", text, got, err)
		}
		if b, err := id.MarshalText(); err != nil || string(b) != text {
			t.Errorf("MarshalText() = %q, %v, want %q", b, err, text)
		}
		if b, err := id.AppendText([]byte("at ")); err != nil || string(b) != "at "+text {
			t.Errorf("AppendText() = %q, %v, want %q", b, err, "at "+text)
		}
		if got, want := id.IsZero(), id == (ID{}); got != want {
			t.Errorf("%s: IsZero() = %v, want %v", text, got, want)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, text := range []string{
		"", "-", "1", "dc2nog01081g81860s40", "dc2nog01081g81860s40-", "dc2nog01081g81860s40--1", "dc2nog01081g81860s40-+1",
		"dc2nog01081g81860s40-01", "dc2nog01081g81860s40-1 ", "dc2nog01081g81860s40-1_0", "dc2nog01081g81860s40-0x1",
		"dc2nog01081g81860s40-18446744073709551616", "dc2nog01081g81860s4-1", "dc2nog01081g81860s41-1", " dc2nog01081g81860s40-1",
	} {
		if got, err := ParseID(text); !errors.Is(err, ErrID) || got != (ID{}) {
			t.Errorf("ParseID(%q) = %v, %v; want the zero ID and ErrID", text, got, err)
		}
		id := ID{Number: 7}
		if err := id.UnmarshalText([]byte(text)); !errors.Is(err, ErrID) || id != (ID{Number: 7}) {
			t.Errorf("UnmarshalText(%q) = %v, and the id is %v; want ErrID and the id as it was", text, err, id)
		}
	}
}

func TestEpochText(t *testing.T) {
	e := testEpoch(t)
	b, err := e.MarshalText()
	if err != nil || string(b) != e.String() {
		t.Errorf("MarshalText() = %q, %v, want %q", b, err, e)
	}
	var got Epoch
	if err := got.UnmarshalText(b); err != nil || got != e {
		t.Errorf("UnmarshalText(%q) = %v, %v", b, got, err)
	}
	if err := got.UnmarshalText([]byte("x")); !errors.Is(err, ErrID) || got != e {
		t.Errorf(`UnmarshalText("x") = %v, and the epoch is %v; want ErrID and the epoch as it was`, err, got)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("dc2nog01081g81860s40-1")
	f.Add("dc2nog01081g81860s40-0")
	f.Add("dc2nog01081g81860s41-01")
	f.Add("dc2nog01\n081\rg81860s-1")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		switch {
		case err == nil && id.String() != text:
			t.Errorf("ParseID(%q) is written %q: an id has one text", text, id)
		case err != nil && !errors.Is(err, ErrID):
			t.Errorf("ParseID(%q): %v is no ErrID", text, err)
		}
	})
}
