// Package limit counts what clients may do in a time or at once: rates without timers, and what is kept of addresses.
//
// A [Rate] is the generic cell rate algorithm, a token bucket that refills without pause: what it needs to remember of a
// client is one int64, the time at which its bucket will be full again, and nobody has to fill it. So a rate of N per second
// is N per second over any stretch of time, after the burst. A [Table] is a Rate for each of many addresses in bounded
// memory, and [Lines] is what a stranger can make a log say.
//
// It reads no clock and starts no goroutine: times are given to it, as a [time.Time] or in nanoseconds of any clock that does
// not go back.
package limit
