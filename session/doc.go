// Package session holds the words of Fairlead: who a client is ([Identity]), what it may be a member of ([Group]), how
// its stay is named ([ID]), and the facts of that stay ([Event]) together with their pure fold ([State]).
//
// It guarantees that a [Group] always has a well-formed name, that every [Record] has one JSON form which later versions
// go on reading, and that [State.Apply] is a pure function: no clock, no I/O, no error.
//
// It leaves everything that acts to others: package actor decides which events happen, package journal keeps them.
// It imports the standard library only, so that every other package can import it.
package session
