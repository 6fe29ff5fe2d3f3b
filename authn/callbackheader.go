package authn

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The header fields of a question.
const (
	fieldPath       = "Fairlead-Path"
	fieldRoute      = "Fairlead-Route"
	fieldCredential = "Fairlead-Credential"
	fieldSubject    = "Fairlead-Subject"
	fieldGroup      = "Fairlead-Group"
	fieldTimestamp  = "Fairlead-Timestamp"
	fieldSigned     = "Fairlead-Signed"
	fieldSignature  = "Fairlead-Signature"
	fieldClient     = "X-Forwarded-For"

	minCallbackSecret = 32
)

// notForwarded are fields that mean the connection to Fairlead and not the client, or would change how the application
// answers. Those that begin with Fairlead-, Proxy- or If- are not forwarded either.
var notForwarded = []string{
	"Accept-Encoding", "Connection", "Content-Length", "Expect", "Forwarded", "Host", "Keep-Alive", "Range", "Sec-Websocket-Extensions",
	"Sec-Websocket-Key", "Sec-Websocket-Version", "Te", "Trailer", "Transfer-Encoding", "Upgrade", fieldClient,
}

// setFields checks which fields are forwarded, and what signs them.
func (a *asker) setFields(forward []string, secret []byte) error {
	for _, name := range forward {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !isToken(name):
			return fmt.Errorf("%q cannot be a header's name", name)
		case slices.Contains(notForwarded, canonical), strings.HasPrefix(canonical, "Fairlead-"), strings.HasPrefix(canonical, "Proxy-"),
			strings.HasPrefix(canonical, "If-"):
			return fmt.Errorf("the header %s cannot be forwarded: it is about the connection, or set by Fairlead", canonical)
		case slices.Contains(a.forward, canonical):
			return fmt.Errorf("the header %s is there twice", canonical)
		}
		a.forward = append(a.forward, canonical)
	}
	if len(secret) == 0 {
		return nil
	}
	if len(secret) < minCallbackSecret {
		return fmt.Errorf("the secret has %d bytes; want at least %d, such as `openssl rand -hex 32` makes", len(secret), minCallbackSecret)
	}
	a.secret = bytes.Clone(secret)
	a.signedList = append([]string{fieldPath, fieldRoute, fieldClient}, a.forward...)
	if a.kind == "verifier" {
		a.signedList = append(a.signedList, fieldCredential)
	} else {
		a.signedList = append(a.signedList, fieldSubject, fieldGroup)
	}
	slices.Sort(a.signedList)
	a.signed = strings.ToLower(strings.Join(a.signedList, ";"))
	return nil
}

// header returns the fields of a question about r, but for the signature. The error is an [*Error] of kind
// [ErrRejected]: r has a field that no HTTP has.
func (a *asker) header(r *Request) (http.Header, error) {
	h := make(http.Header, len(a.forward)+8)
	h["User-Agent"], h["Accept"] = []string{"fairlead"}, []string{"application/json"}
	if r == nil {
		return h, nil
	}
	for _, name := range a.forward {
		value, there, ok := joined(r.Header, name)
		if !ok {
			return nil, reject(ReasonMalformed, "header "+strconv.Quote(name)+" has a control character")
		}
		if there {
			h[name] = []string{value}
		}
	}
	h[fieldPath] = []string{visible(r.Path)}
	if r.Route != "" {
		h[fieldRoute] = []string{visible(r.Route)}
	}
	if r.Remote.Addr().IsValid() {
		h[fieldClient] = []string{r.Remote.Addr().WithZone("").String()}
	}
	return h, nil
}

// joined returns the values of all fields of that name in one (RFC 9110 section 5.3), as one that comes twice may mean
// something else to whoever reads the first or the last. ok is false where one has a control character.
func joined(fields []HeaderField, name string) (value string, there, ok bool) {
	for i := range fields {
		if !equalFold(fields[i].Name, name) {
			continue
		}
		v := trim(fields[i].Value)
		if bytes.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return "", true, false
		}
		if there {
			value += ", "
		}
		value, there = value+string(v), true
	}
	return value, there, true
}

// visible returns s with what is no visible ASCII percent-encoded. A path has its own escapes already.
func visible[T string | []byte](s T) string {
	const digits = "0123456789ABCDEF"
	var out []byte
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			out = append(out, '%', digits[c>>4], digits[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

// setCredential adds the credential, which is visible ASCII as every token is.
func setCredential(h http.Header, value []byte) error {
	for _, c := range value {
		if c <= ' ' || c >= 0x7f {
			return reject(ReasonMalformed, "it has other characters than visible ones of ASCII")
		}
	}
	h[fieldCredential] = []string{string(value)}
	return nil
}

// setQuestion adds who asks for which group.
func setQuestion(h http.Header, q *Question) {
	if !q.Identity.Anonymous {
		h[fieldSubject] = []string{url.PathEscape(q.Identity.Subject)}
	}
	h[fieldGroup] = []string{q.Group.String()}
}

// sign adds the signature, if questions are signed.
func (a *asker) sign(h http.Header) {
	if a.secret == nil {
		return
	}
	timestamp := strconv.FormatInt(a.now().Unix(), 10)
	text := make([]byte, 0, 512)
	text = append(text, "fairlead-v1\n"...)
	text = append(text, timestamp...)
	text = append(text, "\nGET\n"...)
	text = append(text, a.target.RequestURI()...)
	for _, name := range a.signedList {
		text = append(text, '\n')
		text = append(text, strings.ToLower(name)...)
		text = append(text, ':')
		if values := h[name]; len(values) > 0 {
			text = append(text, values[0]...)
		}
	}
	mac := hmac.New(sha256.New, a.secret)
	mac.Write(text)
	h[fieldTimestamp], h[fieldSigned] = []string{timestamp}, []string{a.signed}
	h[fieldSignature] = []string{"v1=" + hex.EncodeToString(mac.Sum(nil))}
}

// retain returns an owned copy of what a question needs of r.
func (a *asker) retain(r *Request) *Request {
	if r == nil {
		return nil
	}
	kept := &Request{Path: bytes.Clone(r.Path), Route: r.Route, Remote: netip.AddrPortFrom(r.Remote.Addr(), 0)}
	for i := range r.Header {
		f := &r.Header[i]
		if slices.ContainsFunc(a.forward, func(name string) bool { return equalFold(f.Name, name) }) {
			kept.Header = append(kept.Header, HeaderField{Name: bytes.Clone(f.Name), Value: bytes.Clone(f.Value)})
		}
	}
	return kept
}
