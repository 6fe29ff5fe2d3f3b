package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"

	"github.com/pires/go-proxyproto"
)

// The sizes of a PROXY protocol header.
const (
	minProxyV1 = len("PROXY UNKNOWN\r\n")
	maxProxyV1 = 107
	headProxy2 = 16      // of version 2: signature, command, family, and the length of the rest
	maxProxyV2 = 1 << 10 // what is told beside addresses is seldom over 200 bytes
)

// readProxyHeader reads the header of the PROXY protocol, version 1 or 2, that a connection begins with, and not a byte
// more: what follows may be TLS, which reads for itself. It returns the address of the client, or the zero AddrPort where
// the header says that the connection is the proxy's own (LOCAL, UNKNOWN) or no TCP. Headers are at most 107 bytes in
// version 1 and 1 KiB in version 2; r's deadline bounds the time.
//
// See https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt. The errors are errProxyHeader, errGone and errHeadTimeout.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	var kept [256]byte
	b := kept[:minProxyV1]
	if err := readFull(r, b); err != nil {
		return netip.AddrPort{}, err
	}
	var err error
	switch {
	case bytes.HasPrefix(b, proxyproto.SIGV1):
		b, err = readProxyV1(r, b)
	case bytes.HasPrefix(b, proxyproto.SIGV2):
		b, err = readProxyV2(r, b)
	default:
		err = errProxyHeader
	}
	if err != nil {
		return netip.AddrPort{}, err
	}
	header, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), max(len(b), 16)))
	if err != nil {
		return netip.AddrPort{}, errProxyHeader
	}
	source, _, ok := header.TCPAddrs()
	if !ok || header.Command.IsLocal() {
		return netip.AddrPort{}, nil
	}
	a := source.AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

// readProxyV1 reads the rest of a line that begins with b, each time as much as must still come at least.
func readProxyV1(r io.Reader, b []byte) ([]byte, error) {
	unknown := bytes.HasPrefix(b, []byte("PROXY UNKNOWN"))
	for b[len(b)-1] != '\n' {
		left := len("\r\n")
		switch {
		case b[len(b)-1] == '\r':
			left = 1
		case !unknown: // PROXY TCP4 source destination port port
			left += 2 * max(0, 5-bytes.Count(b, []byte(" ")))
		}
		if len(b)+left > maxProxyV1 {
			return nil, errProxyHeader
		}
		n := len(b)
		b = b[:n+left]
		if err := readFull(r, b[n:]); err != nil {
			return nil, err
		}
		if i := bytes.IndexByte(b[n:], '\n'); i >= 0 && i != left-1 {
			return nil, errProxyHeader
		}
	}
	return b, nil
}

// readProxyV2 reads the rest of a header that begins with b.
func readProxyV2(r io.Reader, b []byte) ([]byte, error) {
	n := len(b)
	b = b[:headProxy2]
	if err := readFull(r, b[n:]); err != nil {
		return nil, err
	}
	size := headProxy2 + int(binary.BigEndian.Uint16(b[headProxy2-2:]))
	switch {
	case size > maxProxyV2:
		return nil, errProxyHeader
	case size > cap(b):
		b = append(make([]byte, 0, size), b...)
	}
	b = b[:size]
	return b, readFull(r, b[headProxy2:])
}

// readFull fills b. The errors are errGone and errHeadTimeout.
func readFull(r io.Reader, b []byte) error {
	switch _, err := io.ReadFull(r, b); {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errHeadTimeout
	}
	return errGone
}
