package crowd

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// A message of a crowd is text: a mark, then the sender, its running number and the time of sending in hexadecimal, then
// padding. So every member can check order and completeness and take the latency without any other channel.
const (
	mark        = "bench:"
	stampBytes  = 2 + 4 + 8
	MinimumSize = len(mark) + 2*stampBytes // bytes of the shortest message
)

type stamp struct {
	sender uint16
	number uint32
	at     int64 // nanoseconds on the crowd's clock
}

// appendMessage appends a message of size bytes, at least [MinimumSize].
func appendMessage(dst []byte, s stamp, size int) []byte {
	var raw [stampBytes]byte
	binary.BigEndian.PutUint16(raw[0:], s.sender)
	binary.BigEndian.PutUint32(raw[2:], s.number)
	binary.BigEndian.PutUint64(raw[6:], uint64(s.at))
	dst = hex.AppendEncode(append(dst, mark...), raw[:])
	return append(dst, strings.Repeat(".", max(0, size-MinimumSize))...)
}

// parseMessage reads the stamp of a message; ok is false for any other text.
func parseMessage(b []byte) (s stamp, ok bool) {
	var raw [stampBytes]byte
	if len(b) < MinimumSize || string(b[:len(mark)]) != mark {
		return stamp{}, false
	}
	if _, err := hex.Decode(raw[:], b[len(mark):MinimumSize]); err != nil {
		return stamp{}, false
	}
	return stamp{
		sender: binary.BigEndian.Uint16(raw[0:]),
		number: binary.BigEndian.Uint32(raw[2:]),
		at:     int64(binary.BigEndian.Uint64(raw[6:])),
	}, true
}
