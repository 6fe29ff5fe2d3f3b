package actor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// wiring is what the connections of a test go over.
type wiring uint8

const (
	overTCP wiring = iota
	overTLS
	compressed    // over TCP, and both sides compress every message
	compressedTLS // over TLS
)

var wirings = map[wiring]string{overTCP: "TCP", overTLS: "TLS", compressed: "compressed", compressedTLS: "compressed over TLS"}

// deflates reports whether messages are compressed.
func (w wiring) deflates() bool { return w == compressed || w == compressedTLS }

// onWirings runs f over TCP and over TLS.
func onWirings(t *testing.T, f func(t *testing.T, w wiring)) { on(t, f, overTCP, overTLS) }

// onAllWirings runs f on each wiring.
func onAllWirings(t *testing.T, f func(t *testing.T, w wiring)) {
	on(t, f, overTCP, overTLS, compressed, compressedTLS)
}

func on(t *testing.T, f func(t *testing.T, w wiring), all ...wiring) {
	for _, w := range all {
		t.Run(wirings[w], func(t *testing.T) { f(t, w) })
	}
}

// newNode is newNode, whose connections go over w.
func (w wiring) newNode(t testing.TB, c Config) *node {
	t.Helper()
	if w.deflates() {
		c.CompressionMinBytes = 1
	}
	n := newNode(t, c)
	n.wiring = w
	return n
}

// races is how often each race is run: less often where a connection is dear.
func (w wiring) races() int {
	if w != overTCP {
		return max(races()/10, 20)
	}
	return races()
}

// certificate is one that nobody trusts.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func serverTLS() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{certificate()}} }

// clientTLS trusts everyone: who is at the other end is not what the tests are about.
func clientTLS() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// shakeHands makes a TLS connection of the two ends of a TCP connection.
func shakeHands(t testing.TB, ours, theirs net.Conn) (*TLSConn, *tls.Conn) {
	t.Helper()
	server, client := NewTLSConn(ours, serverTLS()), tls.Client(theirs, clientTLS())
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return server, client
}

// ends returns the two ends of a connection that nobody has taken over yet.
func (n *node) ends() (ours, theirs net.Conn) {
	n.t.Helper()
	tcp, client := n.pair()
	return n.wire(tcp, client)
}

// wire makes what n.wiring says of the two ends of a TCP connection, and leaves others as they are.
func (n *node) wire(ours, theirs net.Conn) (net.Conn, net.Conn) {
	n.t.Helper()
	if _, ok := ours.(*net.TCPConn); !ok || n.wiring == overTCP || n.wiring == compressed {
		return ours, theirs
	}
	return shakeHands(n.t, ours, theirs)
}

// tcp returns the TCP connection under the client.
func (c *client) tcp() *net.TCPConn { return netConn(c.Conn).(*net.TCPConn) }
