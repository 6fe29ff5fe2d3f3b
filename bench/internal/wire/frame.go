package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcode is the kind of a frame (RFC 6455, section 5.2).
type Opcode byte

// The opcodes.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// ErrFrame is wrapped by the errors of [ParseHeader].
var ErrFrame = errors.New("malformed frame")

// mask is the one mask of all frames: it need not be secret where no proxy stands between (RFC 6455, section 10.3).
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// AppendFrame appends a masked frame, as a client sends it.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n <= 125:
		dst = append(dst, 0x80|byte(n))
	case n <= 0xFFFF:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = append(dst, mask[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	for i := range dst[start:] {
		dst[start+i] ^= mask[i&3]
	}
	return dst
}

// FrameSize returns how many bytes a server sends for a message of n bytes in one frame.
func FrameSize(n int) int {
	switch {
	case n <= 125:
		return 2 + n
	case n <= 0xFFFF:
		return 4 + n
	}
	return 10 + n
}

// Header is the head of a server's frame.
type Header struct {
	Fin    bool
	Opcode Opcode
	Size   int // bytes of the header itself
	Length int // bytes of the payload
}

// MaxPayload is the longest payload that [ParseHeader] accepts.
const MaxPayload = 1 << 24

// ParseHeader reads the header of a server's frame from the start of b. ok is false while bytes are missing. A masked
// frame, reserved bits, an unknown opcode, a control frame that is long or in pieces, a length that is not in its shortest
// form or beyond [MaxPayload] are errors that wrap [ErrFrame].
func ParseHeader(b []byte) (h Header, ok bool, err error) {
	if len(b) < 2 {
		return Header{}, false, nil
	}
	h = Header{Fin: b[0]&0x80 != 0, Opcode: Opcode(b[0] & 0x0F), Size: 2, Length: int(b[1] & 0x7F)}
	control := h.Opcode >= Close
	switch {
	case b[0]&0x70 != 0:
		return Header{}, false, fmt.Errorf("%w: reserved bits in %#x", ErrFrame, b[0])
	case b[1]&0x80 != 0:
		return Header{}, false, fmt.Errorf("%w: a server does not mask", ErrFrame)
	case h.Opcode > Pong, h.Opcode > Binary && h.Opcode < Close:
		return Header{}, false, fmt.Errorf("%w: opcode %#x", ErrFrame, byte(h.Opcode))
	case control && (!h.Fin || h.Length > 125):
		return Header{}, false, fmt.Errorf("%w: a control frame is whole and short", ErrFrame)
	}
	switch h.Length {
	case 126:
		if len(b) < 4 {
			return Header{}, false, nil
		}
		h.Size, h.Length = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return Header{}, false, nil
		}
		n := binary.BigEndian.Uint64(b[2:])
		if n > MaxPayload {
			return Header{}, false, fmt.Errorf("%w: a payload of %d bytes", ErrFrame, n)
		}
		h.Size, h.Length = 10, int(n)
	}
	if FrameSize(h.Length) != h.Size+h.Length {
		return Header{}, false, fmt.Errorf("%w: length %d in %d bytes", ErrFrame, h.Length, h.Size)
	}
	return h, true, nil
}
