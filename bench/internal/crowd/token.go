package crowd

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// tokenLife is longer than any run.
const tokenLife = 6 * time.Hour

// Token signs a token for user number n, with the claims that an application's library would put in.
func Token(secret string, n int, now time.Time) (string, error) {
	claims := jwt.MapClaims{
		"token_type": "access",
		"user_id":    fmt.Sprint(n),
		"iat":        now.Unix(),
		"exp":        now.Add(tokenLife).Unix(),
		"jti":        fmt.Sprintf("%032x", n),
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
}
