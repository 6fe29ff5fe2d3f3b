package django

import (
	"math"
	"strings"
)

// base62 are the digits of django.utils.baseconv.base62, and of django.core.signing since Django 4.0.
const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// decodeBase62 reads a whole number, which may be negative. ok is false where it is none, or none of 64 bits.
func decodeBase62(b []byte) (n int64, ok bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	for _, c := range b {
		digit := strings.IndexByte(base62, c)
		if digit < 0 || n > (math.MaxInt64-int64(digit))/62 {
			return 0, false
		}
		n = 62*n + int64(digit)
	}
	if negative {
		n = -n
	}
	return n, len(b) > 0
}

// appendBase62 writes a whole number.
func appendBase62(dst []byte, n int64) []byte {
	if n < 0 { // the least of all has no opposite, and is no time
		return appendBase62(append(dst, '-'), -max(n, -math.MaxInt64))
	}
	if n >= 62 {
		dst = appendBase62(dst, n/62)
	}
	return append(dst, base62[n%62])
}
