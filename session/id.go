package session

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// ErrID is returned, wrapped with the offending text, for a text that is no epoch or session id.
var ErrID = errors.New("malformed id")

// Epoch names one life of one node: the time between a start and the matching stop. It is new at each start, so that
// what an earlier life of the same node left behind can be told apart. Epochs sort by their start, to the second.
type Epoch [12]byte

// epochText is how an Epoch is written: 20 characters, in the order of the bytes, in lower case.
var epochText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

const epochTextLen = 20

// NewEpoch returns an epoch that begins at now, made unique by eight bytes read from random.
// The only error is that of random.
func NewEpoch(now time.Time, random io.Reader) (Epoch, error) {
	var e Epoch
	binary.BigEndian.PutUint32(e[:4], uint32(now.Unix()))
	if _, err := io.ReadFull(random, e[4:]); err != nil {
		return Epoch{}, fmt.Errorf("new epoch: %w", err)
	}
	return e, nil
}

// ParseEpoch is the inverse of [Epoch.String].
func ParseEpoch(s string) (Epoch, error) {
	var e Epoch
	if len(s) != epochTextLen {
		return Epoch{}, fmt.Errorf("%w: epoch %.40q: want %d characters", ErrID, s, epochTextLen)
	}
	b, err := epochText.DecodeString(s)
	if err != nil {
		return Epoch{}, fmt.Errorf("%w: epoch %q: want 0-9 and a-v only", ErrID, s)
	}
	copy(e[:], b)
	if e.String() != s { // stray bits behind the last byte: one epoch has one text
		return Epoch{}, fmt.Errorf("%w: epoch %q is not in canonical form", ErrID, s)
	}
	return e, nil
}

// String returns the epoch as 20 characters of 0-9 and a-v.
func (e Epoch) String() string { return string(e.append(nil)) }

func (e Epoch) append(b []byte) []byte { return epochText.AppendEncode(b, e[:]) }

// Start returns the second in which the epoch began.
func (e Epoch) Start() time.Time { return time.Unix(int64(binary.BigEndian.Uint32(e[:4])), 0).UTC() }

// IsZero reports whether e is the zero Epoch, which no node ever has.
func (e Epoch) IsZero() bool { return e == Epoch{} }

// MarshalText implements [encoding.TextMarshaler].
func (e Epoch) MarshalText() ([]byte, error) { return e.append(nil), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (e *Epoch) UnmarshalText(b []byte) error {
	v, err := ParseEpoch(string(b))
	if err != nil {
		return err
	}
	*e = v
	return nil
}

// ID names one session in the whole cluster: the epoch that opened it and a number inside that epoch, from 1.
// Number 0 stands for the node itself, whose events share the epoch's subject. IDs are comparable.
type ID struct {
	Epoch  Epoch
	Number uint64
}

// ParseID is the inverse of [ID.String].
func ParseID(s string) (ID, error) {
	epoch, number, ok := strings.Cut(s, "-")
	if !ok {
		return ID{}, fmt.Errorf("%w: session id %.60q: want EPOCH-NUMBER", ErrID, s)
	}
	e, err := ParseEpoch(epoch)
	if err != nil {
		return ID{}, err
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != number {
		return ID{}, fmt.Errorf("%w: session id %.60q: want a decimal number behind the dash", ErrID, s)
	}
	return ID{Epoch: e, Number: n}, nil
}

// String returns the id as EPOCH-NUMBER, at most 41 characters of 0-9, a-v and one dash.
func (id ID) String() string {
	b, _ := id.AppendText(make([]byte, 0, epochTextLen+21))
	return string(b)
}

// AppendText implements [encoding.TextAppender]; its error is always nil.
func (id ID) AppendText(b []byte) ([]byte, error) {
	b = append(id.Epoch.append(b), '-')
	return strconv.AppendUint(b, id.Number, 10), nil
}

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText implements [encoding.TextMarshaler].
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
