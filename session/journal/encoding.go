package journal

import (
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
)

// A message in the log is compressed, where that makes it smaller. Records differ in little, so that it is a fifth of what
// they are: in the files of the log, on the way to its replicas, and in the servers' memory. `s2d` of the library reads one.

// headerEncoding is the header that says how a message is encoded; without it the message is plain.
const headerEncoding = "Fairlead-Encoding"

// encodingS2 is the block format of https://pkg.go.dev/github.com/klauspost/compress/s2.
const encodingS2 = "s2"

const (
	// minEncoded is what a message must have at least to be compressed.
	minEncoded = 512
	// maxDecoded is what a message may have when it is not any more: more than any batch has.
	maxDecoded = 4 << 20
)

// encode returns the message as it goes into the log, and its encoding. It writes into room, if that has enough.
func encode(room, message []byte) (encoded []byte, encoding string) {
	if len(message) < minEncoded {
		return message, ""
	}
	if need := s2.MaxEncodedLen(len(message)); cap(room) < need {
		room = make([]byte, need)
	}
	encoded = s2.Encode(room[:cap(room)], message)
	if len(encoded) >= len(message) {
		return message, ""
	}
	return encoded, encodingS2
}

// decode returns a message of the log as it was before [encode].
func decode(h nats.Header, data []byte) ([]byte, error) {
	switch encoding := h.Get(headerEncoding); encoding {
	case "":
		return data, nil
	case encodingS2:
		n, err := s2.DecodedLen(data)
		if err == nil && n > maxDecoded {
			err = fmt.Errorf("%d bytes, want at most %d", n, maxDecoded)
		}
		if err == nil {
			data, err = s2.Decode(nil, data)
		}
		if err != nil {
			return nil, fmt.Errorf("journal: a compressed message: %w", err)
		}
		return data, nil
	default:
		return nil, fmt.Errorf("journal: a message is encoded as %.20q, which this version does not know; read it with a newer one", encoding)
	}
}
