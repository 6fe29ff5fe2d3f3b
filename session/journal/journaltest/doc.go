// Package journaltest holds every journal to one contract: [Run] is the suite that each implementation passes. What only
// one of them does (a bound, a lease) is in that one's own tests.
package journaltest
