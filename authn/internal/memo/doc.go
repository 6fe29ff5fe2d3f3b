// Package memo remembers answers for a while, and asks once for many who want to know the same.
//
// It guarantees that it never holds more than its bounds, that bad answers (of which strangers make as many as they like)
// never push out a good one, that an answer is not kept when what it says was dropped while it was on its way, and that
// whoever asks after a drop is not told what was so before. It leaves to others what a question is and what can be kept.
//
// The cache libraries at hand keep no index by subject that would change together with the entries, and finish what they
// do in goroutines of their own; what is needed here is a list, two maps and one lock.
package memo
