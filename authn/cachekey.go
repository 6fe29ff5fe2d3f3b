package authn

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/fairlead-ws/fairlead/authn/internal/memo"
	"github.com/fairlead-ws/fairlead/session"
)

// CredentialDigest returns by what changes of a token or a session are told: SHA-256 of the credential.
func CredentialDigest(value []byte) [sha256.Size]byte { return sha256.Sum256(value) }

// credentialKey returns the key of an answer: the digest of the credential, where the answer depends on nothing else.
func credentialKey(c Credential, kept *Request) memo.Key {
	if kept == nil {
		return memo.Key(CredentialDigest(c.Value))
	}
	var room [512]byte
	k := keyParts(room[:0]).text(c.From).bytes(c.Value).request(kept)
	return sha256.Sum256(k)
}

// keyParts are what a key is the digest of. Each has its length in front, so that no two lists of parts are the same bytes.
type keyParts []byte

func (k keyParts) number(n int) keyParts { return binary.BigEndian.AppendUint32(k, uint32(n)) }

func (k keyParts) bytes(b []byte) keyParts { return append(k.number(len(b)), b...) }

func (k keyParts) text(s string) keyParts { return append(k.number(len(s)), s...) }

func (k keyParts) bool(b bool) keyParts {
	if b {
		return append(k, 1)
	}
	return append(k, 0)
}

// request adds all of what was retained. Of the client's address the port is left out: no two connections share it.
func (k keyParts) request(r *Request) keyParts {
	if r == nil {
		return k.bool(false)
	}
	k = k.bool(true).bool(r.HasOrigin).bool(r.HasAuthorization).bool(r.TLS)
	k = k.text(r.Route).bytes(r.Path).bytes(r.RawQuery).bytes(r.Host).bytes(r.Origin).bytes(r.Authorization).bytes(r.Cookie)
	k = k.number(len(r.Protocols))
	for _, p := range r.Protocols {
		k = k.bytes(p)
	}
	k = k.number(len(r.Header))
	for _, f := range r.Header {
		k = k.bytes(f.Name).bytes(f.Value)
	}
	address, _ := r.Remote.Addr().MarshalBinary() // never fails: see netip.Addr
	return k.bytes(address)
}

// identitySize is about what an Identity takes without its texts.
const identitySize = 208

// sizeOf returns about how many bytes an identity takes.
func sizeOf(id *session.Identity) int {
	n := identitySize + len(id.Subject) + len(id.Name) + len(id.Source) + len(id.TokenID)
	for _, g := range id.Grants {
		n += 16 + len(g)
	}
	return n + sizeOfValue(id.Claims, 0)
}

// sizeOfValue returns about how many bytes a value takes as JSON is decoded into. What is nested too deeply counts as much.
func sizeOfValue(v any, depth int) int {
	const deep = 64
	if depth > deep {
		return 1 << 20
	}
	n := 16
	switch v := v.(type) {
	case string:
		n += len(v)
	case []any:
		for _, e := range v {
			n += sizeOfValue(e, depth+1)
		}
	case map[string]any:
		for k, e := range v {
			n += 32 + len(k) + sizeOfValue(e, depth+1)
		}
	}
	return n
}
