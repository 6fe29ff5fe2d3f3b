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
// [Memory] is the journal of a node alone: bounded, and gone with the process. [JetStream] is a log that the nodes of a
// cluster share, in NATS.
//
// # The log
//
// A stream of JetStream, FL_<cluster>_journal, has a subject for each epoch, fl.<cluster>.j.<epoch>, with one writer, so that
// its order is total. A message is a batch: records in their JSON form, each on a line, the whole compressed where it is of
// some size (S2, said by a header). The records of all who append within some milliseconds share one (group commit), so that
// a record costs a few microseconds and a connection nothing.
//
// One message is on its way at a time, with the sequence that the subject's last message must have. If the answer does
// not come, the last message says by its header whether it was written. So no record is there twice or out of order,
// whatever happens to servers, connections and acknowledgements.
//
// While the log is away, records wait in a bounded buffer ([Degrade]), and nobody new is let in ([Require]). What was
// lost is marked by a record of its own, [session.Gap], behind which the open sessions are announced again, so that the
// log is right from there on: records that the buffer had no room for, or those of a store that is gone. That is found
// out by the stream's incarnation, an id in its metadata, and by the subject's last sequence, with each connection and
// every few seconds.
//
// An epoch is purged some time after its seal, or after its last sign of life.
package journal
