// Package django reads what Django signs: values of django.core.signing, sessions of django.contrib.sessions, and the hash
// that ties a session to a user's password. It is pure: no input, no output, no clock.
//
// It guarantees that nothing is decoded before its signature was checked, that signatures are compared in constant time,
// that a value inflates to [MaxInflated] bytes at most, whatever it was made to be, and that no error holds a part of a
// value. It reads what Django 3.1 and later write; what Django before 4.0 reads as well, it reads when it is asked to
// (Legacy). It was compared with a Django 3.2 that ran; SECRET_KEY_FALLBACKS and dates as text in sessions, which came with
// 4.1, follow what Django says of them.
//
// It leaves to others: where sessions are kept, who the user is, and what time it is. Sessions in another serializer than
// Django's JSON, such as pickle, cannot be read.
package django
