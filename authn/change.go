package authn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ChangeKind says what a [Change] is about.
type ChangeKind uint8

// The kinds of changes.
const (
	ChangeAll     ChangeKind = iota // nobody knows what has changed
	ChangeUser                      // a user, or what the user may do
	ChangeToken                     // a token is gone or another's
	ChangeSession                   // a session is gone or another's
)

// Change is news from the database in which credentials are: what was kept about it may be untrue, and connections that
// came in by it are to be looked at again.
type Change struct {
	Kind   ChangeKind
	User   string            // the primary key as text, as in Identity.Subject; for ChangeUser
	Digest [sha256.Size]byte // of the credential, see CredentialDigest; for ChangeToken and ChangeSession
}

// maxChange is the longest text of a change, in bytes.
const maxChange = 300

// ParseChange reads what the triggers of `fairlead authn trigger-sql` send: "v1 user PK", "v1 token SHA256" and
// "v1 session SHA256" with 64 hexadecimal digits in lower case, and "v1 all". The error quotes nothing of it.
func ParseChange(payload string) (Change, error) {
	if len(payload) > maxChange {
		return Change{}, fmt.Errorf("the change has %d bytes; want at most %d", len(payload), maxChange)
	}
	rest, ok := strings.CutPrefix(payload, "v1 ")
	if !ok {
		return Change{}, fmt.Errorf("the change does not begin with v1: print and run the SQL of the triggers anew")
	}
	kind, value, _ := strings.Cut(rest, " ")
	switch {
	case rest == "all":
		return Change{Kind: ChangeAll}, nil
	case kind == "user" && value != "" && utf8.ValidString(value):
		return Change{Kind: ChangeUser, User: value}, nil
	case kind == "token":
		return digestChange(ChangeToken, value)
	case kind == "session":
		return digestChange(ChangeSession, value)
	}
	return Change{}, fmt.Errorf("the change is about no user, token or session")
}

func digestChange(kind ChangeKind, value string) (Change, error) {
	c := Change{Kind: kind}
	if n, err := hex.Decode(c.Digest[:], []byte(value[:min(len(value), 2*sha256.Size)])); err != nil || n != sha256.Size ||
		len(value) != 2*sha256.Size || bytes.ContainsAny([]byte(value), "ABCDEF") {
		return Change{}, fmt.Errorf("the digest of the change is not 64 hexadecimal digits in lower case")
	}
	return c, nil
}
