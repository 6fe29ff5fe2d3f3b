package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
)

// newTLS returns what the handshakes of TLS go by: TLS 1.2 at least, and HTTP/1.1 alone, since a WebSocket handshake over
// HTTP/2 (RFC 8441) is another one. A client that speaks of no protocol is taken at its word. It returns nil for nil.
func newTLS(c *tls.Config) (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	if len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		return nil, errors.New("gateway: TLS has no certificate: set Certificates or GetCertificate")
	}
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.NextProtos = []string{"http/1.1"}
	c.DynamicRecordSizingDisabled = true // a part of a frame is of no use to anybody
	return c, nil
}

// receive reads the head of the request, behind the header of a proxy and the handshake of TLS where there are such. The
// read deadline is set. The errors are those of head.read, readProxyHeader and count, and *[tlsError].
//
// A handshake of TLS costs ten times what all else does, so that the attempt is counted before it where that can be, and one
// too many gets no answer.
func (h *handshake) receive(at time.Time) error {
	if g := h.gateway; g.proxied && g.proxies.trusts(h.request.Remote.Addr()) {
		client, err := readProxyHeader(h.conn)
		if err != nil {
			return err
		}
		if client.IsValid() {
			h.request.Remote = client
		}
	}
	c := h.gateway.tls
	if c == nil {
		return h.head.read(h.conn)
	}
	if g := h.gateway; !g.proxies.trusts(h.request.Remote.Addr()) { // else only the head will say whose attempt it is
		if err := h.count(); err != nil {
			return err
		}
	}
	t := actor.NewTLSConn(h.conn, c)
	_ = h.conn.SetWriteDeadline(at) // it fails when writing does
	if err := t.Handshake(); err != nil {
		return newTLSError(err)
	}
	_ = h.conn.SetWriteDeadline(time.Time{})
	h.secure = t
	return h.head.read(t)
}

// adopt makes the TLS connection, if there is one, the connection.
func (h *handshake) adopt() {
	if h.secure != nil {
		h.conn = h.secure
	}
}

// answerable reports whether the client would understand an answer for r: not before the handshake of TLS is complete,
// unless it does not speak TLS.
func (h *handshake) answerable(r *refusal) bool {
	return r.status != 0 && (h.gateway.tls == nil || h.secure != nil || r.reason == reasonPlainHTTP)
}

// tlsError is a handshake of TLS that failed. Where an answer is possible, the TLS layer has sent it: an alert.
type tlsError struct{ err error }

// Error returns what the TLS layer says.
func (e *tlsError) Error() string { return "no handshake of TLS: " + e.err.Error() }

// Unwrap returns the error of the TLS layer.
func (e *tlsError) Unwrap() error { return e.err }

// newTLSError returns errGone for a client that left, errPlainHTTP for one that speaks HTTP without TLS, else a *tlsError.
func newTLSError(err error) error {
	if errors.Is(err, io.EOF) {
		return errGone
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && e.Conn != nil {
		switch string(e.RecordHeader[:]) {
		case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
			return errPlainHTTP
		}
	}
	return &tlsError{errors.New(strings.TrimPrefix(err.Error(), "tls: "))}
}
