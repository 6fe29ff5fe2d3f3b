package limit

import (
	"math"
	"math/bits"
	"time"
)

// Rate is how much may happen in a time, and how much at once. The zero value is no limit. It never changes, and may be
// used by many goroutines.
type Rate struct {
	n         uint64 // so many in a period
	period    uint64 // nanoseconds
	tolerance int64  // nanoseconds in which an empty bucket fills
}

// Of returns a rate of perSecond, of which burst may come at once. burst 0 is a quarter of perSecond; it is never less than
// atLeast, nor than 1. A perSecond of 0 or less is no limit.
//
// A stretch of time t passes at most burst + t*perSecond, and all of what keeps to that.
func Of(perSecond, burst, atLeast int) Rate {
	if burst <= 0 {
		burst = perSecond / 4
	}
	return newRate(perSecond, time.Second, max(burst, atLeast, 1))
}

// PerMinute returns a rate of n in a minute, all of which may come at once. An n of 0 or less is no limit.
func PerMinute(n int) Rate {
	r := newRate(n, time.Minute, n)
	r.tolerance += int64(max(n, 0) / 2) // what the times of n single ones are rounded by
	return r
}

func newRate(n int, period time.Duration, burst int) Rate {
	if n <= 0 {
		return Rate{}
	}
	r := Rate{n: uint64(n), period: uint64(period)} //nolint:gosec // positive
	r.tolerance = r.time(burst)
	return r
}

// Limited reports whether there is a limit at all.
func (r Rate) Limited() bool { return r.n > 0 }

// time is how long it takes to be allowed n, to the nearest nanosecond.
func (r Rate) time(n int) int64 {
	hi, lo := bits.Mul64(uint64(n), r.period) //nolint:gosec // n is not negative
	lo, carry := bits.Add64(lo, r.n/2, 0)
	hi += carry
	if hi >= r.n { // centuries
		return math.MaxInt64 / 4
	}
	q, _ := bits.Div64(hi, lo, r.n)
	return int64(min(q, math.MaxInt64/4)) //nolint:gosec // bounded
}

// Take takes n, which is not negative, at now from the bucket, which is the time when it will be full again: 0 is a full
// one. It reports false, and takes nothing, when there is not enough in it. What a bucket lacks by another rate, and cannot
// by this one, it lacks no more: now, which must not go back, then finds it full.
func (r Rate) Take(full *int64, now int64, n int) bool {
	if r.n == 0 {
		return true
	}
	at := r.after(*full, now, n)
	if at-now > r.tolerance {
		return false
	}
	*full = at
	return true
}

// Has reports whether Take would.
func (r Rate) Has(full, now int64, n int) bool {
	return r.n == 0 || r.after(full, now, n)-now <= r.tolerance
}

// after is when the bucket would be full again if n were taken.
func (r Rate) after(full, now int64, n int) int64 {
	if full < now || full-now > r.tolerance {
		full = now
	}
	return full + r.time(n)
}

// Reserve takes n at now whatever is in the bucket, and returns how long to wait, in nanoseconds, until it is right to
// take it: 0 when there is enough.
func (r Rate) Reserve(full *int64, now int64, n int) int64 {
	if r.n == 0 {
		return 0
	}
	*full = max(*full, now) + r.time(n)
	return max(0, *full-now-r.tolerance)
}
