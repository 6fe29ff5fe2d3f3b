package database

import (
	"math/big"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

func TestIsTrue(t *testing.T) {
	for _, c := range []struct {
		value any
		want  bool
	}{
		{nil, false},
		{false, false},
		{true, true},
		{int64(0), false},
		{int64(-1), true},
		{int16(0), false},
		{uint64(0), false},
		{float32(0), false},
		{0.5, true},
		{"0", false},
		{"0.00", false},
		{"-0e9", false},
		{"0x", true},
		{"", true},
		{"false", false}, // as JSON has them
		{"null", false},
		{"False", true},
		{[]byte("false"), false},
		{[]byte(nil), false},
		{[]byte("0.0"), false},
		{[]byte("a"), true},
		{time.Time{}, true},
		{pgtype.Numeric{}, false},
		{pgtype.Numeric{Int: big.NewInt(0), Exp: -2, Valid: true}, false},
		{pgtype.Numeric{Int: big.NewInt(1), Exp: -2, Valid: true}, true},
		{[16]byte{}, true}, // a UUID
		{map[string]any{}, true},
	} {
		if got := isTrue(c.value); got != c.want {
			t.Errorf("%T %v is %v, want %v", c.value, c.value, got, c.want)
		}
	}
}
