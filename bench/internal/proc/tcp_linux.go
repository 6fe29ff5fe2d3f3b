package proc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
)

// Socket is one end of a TCP connection, as /proc/net/tcp shows it.
type Socket struct {
	Local, Remote netip.AddrPort
	Established   bool
	Send          int // bytes written, but not acknowledged by the peer
	Receive       int // bytes received, but not read
	Inode         uint64
}

// Open tells whether some process still holds the socket: one that its owner has closed has no inode.
func (s *Socket) Open() bool { return s.Inode != 0 }

// ReadSockets returns the IPv4 TCP sockets whose local end has the given port, listeners left out.
func ReadSockets(port uint16) ([]Socket, error) {
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil, err
	}
	return parseSockets(b, port)
}

const (
	stateEstablished = "01"
	stateListen      = "0A"
)

func parseSockets(b []byte, port uint16) ([]Socket, error) {
	var found []Socket
	suffix := []byte(fmt.Sprintf(":%04X ", port))
	_, rows, _ := bytes.Cut(b, []byte("\n")) // without the heading
	for line := range bytes.Lines(rows) {
		head := line[:min(len(line), 21)] // "   0: 0100007F:1F90 "
		if !bytes.Contains(head, suffix) {
			continue // most lines: cheap
		}
		f := bytes.Fields(line)
		if len(f) < 10 {
			return nil, fmt.Errorf("%w: net/tcp has %q", ErrFormat, line)
		}
		if string(f[3]) == stateListen {
			continue
		}
		s := Socket{Established: string(f[3]) == stateEstablished}
		var ok [3]bool
		s.Local, ok[0] = parseEnd(f[1])
		s.Remote, ok[1] = parseEnd(f[2])
		s.Send, s.Receive, ok[2] = parseQueues(f[4])
		inode, err := strconv.ParseUint(string(f[9]), 10, 64)
		if ok != [3]bool{true, true, true} || err != nil {
			return nil, fmt.Errorf("%w: net/tcp has %q", ErrFormat, line)
		}
		s.Inode = inode
		if s.Local.Port() == port {
			found = append(found, s)
		}
	}
	return found, nil
}

// parseEnd reads "0100007F:1F90": the address in the machine's byte order, the port as a number.
func parseEnd(f []byte) (netip.AddrPort, bool) {
	addr, port, ok := bytes.Cut(f, []byte(":"))
	p, err := strconv.ParseUint(string(port), 16, 16)
	if !ok || err != nil || len(addr) != 8 {
		return netip.AddrPort{}, false
	}
	var raw [4]byte
	if _, err := hex.Decode(raw[:], addr); err != nil {
		return netip.AddrPort{}, false
	}
	var ip [4]byte
	binary.NativeEndian.PutUint32(ip[:], binary.BigEndian.Uint32(raw[:]))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(p)), true
}

// parseQueues reads "00000000:0000001A".
func parseQueues(f []byte) (send, receive int, ok bool) {
	s, r, ok := bytes.Cut(f, []byte(":"))
	sn, err1 := strconv.ParseUint(string(s), 16, 32)
	rn, err2 := strconv.ParseUint(string(r), 16, 32)
	return int(sn), int(rn), ok && err1 == nil && err2 == nil
}
