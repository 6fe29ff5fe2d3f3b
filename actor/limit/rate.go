package limit

import (
	"math"
	"math/bits"
	"time"
)

// Rate is how much may happen in a second, and how much at once. The zero value is no limit. It never changes, and may be
// used by many goroutines.
type Rate struct {
	perSecond uint64
	tolerance int64 // nanoseconds in which an empty bucket fills
}

// Of returns a rate of perSecond, of which burst may come at once. burst 0 is a quarter of perSecond; it is never less than
// atLeast, nor than 1. A perSecond of 0 or less is no limit.
//
// A stretch of time t passes at most burst + t*perSecond, and all of what keeps to that.
func Of(perSecond, burst, atLeast int) Rate {
	if perSecond <= 0 {
		return Rate{}
	}
	if burst <= 0 {
		burst = perSecond / 4
	}
	r := Rate{perSecond: uint64(perSecond)}
	r.tolerance = r.time(max(burst, atLeast, 1))
	return r
}

// Limited reports whether there is a limit at all.
func (r Rate) Limited() bool { return r.perSecond > 0 }

// time is how long it takes to be allowed n, to the nearest nanosecond.
func (r Rate) time(n int) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(time.Second)) //nolint:gosec // n is not negative
	lo, carry := bits.Add64(lo, r.perSecond/2, 0)
	hi += carry
	if hi >= r.perSecond { // centuries
		return math.MaxInt64 / 4
	}
	q, _ := bits.Div64(hi, lo, r.perSecond)
	return int64(min(q, math.MaxInt64/4)) //nolint:gosec // bounded
}

// Take takes n, which is not negative, at now from the bucket, which is the time when it will be full again: 0 is a full
// one. It reports false, and takes nothing, when there is not enough in it. What a bucket lacks by another rate, and cannot
// by this one, it lacks no more: now, which must not go back, then finds it full.
func (r Rate) Take(full *int64, now int64, n int) bool {
	if r.perSecond == 0 {
		return true
	}
	from := *full
	if from < now || from-now > r.tolerance {
		from = now
	}
	at := from + r.time(n)
	if at-now > r.tolerance {
		return false
	}
	*full = at
	return true
}

// Reserve takes n at now whatever is in the bucket, and returns how long to wait, in nanoseconds, until it is right to
// take it: 0 when there is enough.
func (r Rate) Reserve(full *int64, now int64, n int) int64 {
	if r.perSecond == 0 {
		return 0
	}
	*full = max(*full, now) + r.time(n)
	return max(0, *full-now-r.tolerance)
}
