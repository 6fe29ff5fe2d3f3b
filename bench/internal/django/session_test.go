package django

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What Django 3.2 made for user 1, alice, under this SECRET_KEY.
const (
	djangosSecret   = "throwaway-fixture-secret-key-0123456789abcdefghijklmnop"
	djangosPassword = "pbkdf2_sha256$260000$Cnm2vS7u73eqdcKczLCnlU$6b4/4ShXPkbn7xNyLmRyxpeUBQoWajZO4lpDU1g2agE="
	djangosHash     = "489b4333c3a9e78cebed01d24c5deb3fc0ac54144dcc543d8768986009c87b72"
	djangosData     = ".eJxVjMsOwiAURP-FtSFQbgu4dO83EO5DqRqalHZl_HfbpAtdTTLnzLxVyutS0tpkTiOrs7Lq9NthpqfUHfAj1_ukaarLPKLeFX3Qpq8Ty-tyuH8HJbeyrSFEBOccuRzFBxIUNpY7oJ4F3Y1Mph4sANOWjoMfQgyDMZGCR9-pzxfxBjfc:1xVTgS:MY11Kxp7PjI_TuZ3IfzEADRcfvMdcoZsiSxF8oOPmTo"
)

func TestAsDjangoSigns(t *testing.T) {
	if got := hex.EncodeToString(saltedHMAC(saltHash, djangosPassword, djangosSecret)); got != djangosHash {
		t.Errorf("hash %s, Django has %s", got, djangosHash)
	}
	value, signature := cutLast(djangosData)
	if got := base64.RawURLEncoding.EncodeToString(saltedHMAC(saltSession+"signer", value, djangosSecret)); got != signature {
		t.Errorf("signature %s, Django has %s", got, signature)
	}
}

func TestSessionData(t *testing.T) {
	now := time.Unix(1795440616, 0)
	value, signature := cutLast(sessionData("1", djangosPassword, djangosSecret, now))
	if want := base64.RawURLEncoding.EncodeToString(saltedHMAC(saltSession+"signer", value, djangosSecret)); signature != want {
		t.Errorf("signature %s, want %s", signature, want)
	}
	data, stamp := cutLast(value)
	if want := base62(now.Unix()); stamp != want {
		t.Errorf("time %s, want %s", stamp, want)
	}
	if ours, djangos := inflate(t, data), inflate(t, djangosData[:strings.IndexByte(djangosData, ':')]); len(ours) != len(djangos) ||
		!strings.Contains(ours, `"_auth_user_hash":"`+djangosHash+`"`) {
		t.Errorf("dictionary %s, Django has %s", ours, djangos)
	}
}

func TestBase62(t *testing.T) {
	for n, want := range map[int64]string{1: "1", 10: "A", 61: "z", 62: "10", 62*62 + 35: "10Z"} {
		if got := base62(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func cutLast(s string) (before, after string) {
	i := strings.LastIndexByte(s, ':')
	return s[:i], s[i+1:]
}

func inflate(t *testing.T, data string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(data, "."))
	if err != nil {
		t.Fatal(err)
	}
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return string(b)
}
