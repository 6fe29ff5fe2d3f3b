//go:build linux && (amd64 || arm64)

package actor

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

// An idle connection keeps none of the large buffers that its TLS layer has grown, whatever its peer has sent. If this fails
// with a new Go, crypto/tls has changed, and each connection costs up to 33 KiB more: see tlsBuffers.
func TestTLSBuffersAreGivenBack(t *testing.T) {
	if len(tlsBuffers) != 2 {
		t.Fatalf("crypto/tls has %d of the 2 buffers", len(tlsBuffers))
	}
	n := overTLS.newNode(t, Config{})
	c := n.connect(Birth{Handler: Echo})
	kept := func() (sum int) {
		done := make(chan int, 1)
		if !c.actor.Do(func(a *Actor) {
			sum := 0
			for _, offset := range tlsBuffers {
				sum += (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(a.conn.(*secure).conn.Conn), offset)).Cap()
			}
			done <- sum
		}) {
			t.Fatal("the actor has ended")
		}
		return <-done
	}
	if got := kept(); got > 2*keptTLS {
		t.Errorf("%d bytes are kept after the handshake", got)
	}
	for _, size := range []int{10, 1000, 30_000} {
		payload := strings.Repeat("x", size)
		for range 3 {
			c.send(text, payload)
			c.want(text, payload)
		}
		eventually(t, fmt.Sprintf("at most %d bytes are kept after messages of %d", 2*keptTLS, size), func() bool { return kept() <= 2*keptTLS })
	}
}
