// Package journal keeps the records of sessions and nodes: an append-only log, which is read by session or by epoch.
//
// Every journal guarantees what the suite in journaltest holds it to. An append is taken whole or not at all, and never
// waits for I/O. Records come back in the order of the appends, as [session.Record.Kept] makes them: without personal
// data, and sharing nothing with what was appended. A read sees every append that returned before it began.
//
// It leaves to others which events happen and what they mean: package session folds them. A session's records have one
// writer, its actor, which numbers them. A node's own records (session number 0) have several writers, so the journal
// numbers those.
//
// [Memory] is the journal of a node alone: bounded, and gone with the process.
package journal
