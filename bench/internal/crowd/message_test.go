package crowd

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

func TestMessage(t *testing.T) {
	give := stamp{sender: 4097, number: 1 << 31, at: 1234567890123}
	for _, size := range []int{MinimumSize, MinimumSize + 1, 128, 8192} {
		b := appendMessage([]byte("x"), give, size)[1:]
		if len(b) != size || !utf8.Valid(b) {
			t.Fatalf("size %d: %d bytes: %q", size, len(b), b)
		}
		if got, ok := parseMessage(b); !ok || got != give {
			t.Errorf("size %d: read back as %+v, %v", size, got, ok)
		}
	}
	short := appendMessage(nil, give, 0)
	for _, b := range [][]byte{nil, []byte("hello"), short[:len(short)-1], append([]byte("bench:zz"), short...)} {
		if got, ok := parseMessage(b); ok {
			t.Errorf("%q is read as %+v", b, got)
		}
	}
}

func TestToken(t *testing.T) {
	now := time.Now()
	signed, err := Token("secret", 42, now)
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	key := func(secret string) jwt.Keyfunc { return func(*jwt.Token) (any, error) { return []byte(secret), nil } }
	if _, err := jwt.ParseWithClaims(signed, claims, key("secret"), jwt.WithExpirationRequired()); err != nil {
		t.Fatal(err)
	}
	if claims["user_id"] != "42" || claims["token_type"] != "access" {
		t.Errorf("claims %v", claims)
	}
	if _, err := jwt.Parse(signed, key("another")); err == nil {
		t.Error("another key accepts the token")
	}
}
