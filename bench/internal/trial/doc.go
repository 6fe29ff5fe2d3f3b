// Package trial has the measurements: each starts a fresh server and as many clients as it needs, in processes of their own,
// makes something happen, and returns figures.
//
// What is said of the server's cost is processor time of its process, all threads, user and kernel, read before and after:
// it includes the garbage collector and whatever else runs in the background, and it is nearly the same on a busy machine
// and on a quiet one. Rates by the wall clock are not; they are given for what they are worth. Nothing is forced: no
// collection, no return of memory, no pause.
package trial
