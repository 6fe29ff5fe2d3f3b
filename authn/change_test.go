package authn

import (
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf8"
)

var changeDigest = strings.Repeat("0123456789abcdef", 4)

func TestParseChange(t *testing.T) {
	var digest [32]byte
	if _, err := hex.Decode(digest[:], []byte(changeDigest)); err != nil {
		t.Fatal(err)
	}
	for payload, want := range map[string]Change{
		"v1 all":                     {Kind: ChangeAll},
		"v1 user 1":                  {Kind: ChangeUser, User: "1"},
		"v1 user a b":                {Kind: ChangeUser, User: "a b"},
		"v1 user zoë":                {Kind: ChangeUser, User: "zoë"},
		"v1 token " + changeDigest:   {Kind: ChangeToken, Digest: digest},
		"v1 session " + changeDigest: {Kind: ChangeSession, Digest: digest},
	} {
		if got, err := ParseChange(payload); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", payload, got, err)
		}
	}
	for _, payload := range []string{
		"", "v1", "v1 ", "v2 all", "v1 All", "v1 all ", "v1 all x", "all", " v1 all", "v1  all", "v1 user", "v1 user ", "v1 user \xff",
		"v1 token", "v1 token ", "v1 token 1", "v1 token " + changeDigest[1:], "v1 token " + changeDigest + "0", "v1 token  " + changeDigest[1:],
		"v1 token " + strings.ToUpper(changeDigest), "v1 session g" + changeDigest[1:], "v1 group 1", "v1 user " + strings.Repeat("1", maxChange),
	} {
		got, err := ParseChange(payload)
		if err == nil || got != (Change{}) {
			t.Errorf("%q: got %+v, %v", payload, got, err)
		} else if len(payload) > 20 && strings.Contains(err.Error(), payload[10:]) {
			t.Errorf("%q is quoted: %v", payload, err)
		}
	}
	if CredentialDigest([]byte("abc")) != must(ParseChange("v1 token ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")).Digest {
		t.Error("the digest of a credential is not its SHA-256")
	}
}

// FuzzParseChange: whoever may connect to the database may send anything.
func FuzzParseChange(f *testing.F) {
	for _, s := range []string{"v1 all", "v1 user 1", "v1 token " + changeDigest, "v1 session " + changeDigest, "v1 user 76eedf10-fdc5-4888-9a2a-5ca6d6f84f71", "v2 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		c, err := ParseChange(payload)
		if err != nil {
			return
		}
		again := "v1 all"
		switch c.Kind {
		case ChangeUser:
			again = "v1 user " + c.User
		case ChangeToken:
			again = "v1 token " + hex.EncodeToString(c.Digest[:])
		case ChangeSession:
			again = "v1 session " + hex.EncodeToString(c.Digest[:])
		}
		if again != payload || !utf8.ValidString(c.User) {
			t.Errorf("%q was read as %+v", payload, c)
		}
	})
}
