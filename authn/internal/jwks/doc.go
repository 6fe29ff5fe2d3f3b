// Package jwks keeps the public keys of an issuer of JSON Web Tokens (RFC 7517): it fetches them, at first and again when
// they change, and hands out the one that a token names.
//
// It guarantees that what strangers send makes at most one request per [Config.Interval], however many of them come, that
// keys which were fetched stay in force while the issuer does not answer, for [Config.MaxStale], and that nobody who cannot be judged is
// rejected: a key that may be new is unavailable until somebody could look. It reads at most a megabyte, follows no
// redirect to plain HTTP, and takes no key that is private, too short, of a curve that it does not know or meant for
// something else.
//
// It is written for this, and is no library's cache, because it has to answer absent and unavailable apart, to share one
// fetch among all who wait, and to bound how many may: keyfunc and jwkset have an endpoint that is down look like a key
// that is not there. Signatures are checked elsewhere.
package jwks
