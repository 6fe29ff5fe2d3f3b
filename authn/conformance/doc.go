// Package conformance compares a running node with what a real Django was seen to answer.
//
// A file of cases holds requests, byte for byte, and what Channels under daphne and uvicorn said to each. [Expecter] turns
// what was seen into what Fairlead must say: the same, or what one of the rules of [Rules] says, which look at the request
// and never at the name of a case. They are the rows of the table "Where Fairlead differs" in docs/from-channels.md.
// [Replay] sends a request and reads the answer; [Actor] plays the cases that are no single request: frames, closes,
// several clients. [Report] counts agreed, differs on purpose, and wrong.
//
// What stands here knows requests, and the users, tokens and JWTs of the fixtures, but nothing of how Fairlead decides: it
// shares no code with what it checks. It is for tests.
package conformance
