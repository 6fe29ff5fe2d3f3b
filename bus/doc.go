// Package bus is Fairlead's channel layer: it hands a message that is published to a group to every member of the group,
// on this node at once and on the other nodes through NATS.
//
// [Local] works in memory, for one node and for tests; [NATS] adds the other nodes; [Embedded] is a NATS server inside
// this process. Local and NATS keep the same contract, which package bustest checks.
//
// # What it guarantees
//
//   - Each member gets each message at most once; without losses, which are counted by reason, exactly once. A publisher
//     that is a member gets its own messages.
//   - Messages of one publisher to one group reach each member in the order of publishing, on every node. Nothing is
//     said about the order across groups or across publishers.
//   - Joins and leaves are barriers for their group: a member sees nothing that was published on its node before it
//     joined, and everything that anyone publishes after its join is done.
//   - Nobody blocks: a publisher that is too fast is told [ErrBusy] and called back, a member that is too slow is told
//     by its own Deliver. All queues are bounded in bytes; only NATS' own queue of messages that came in is bounded in
//     messages.
//   - Members of this node go on hearing each other while NATS is away. What they publish then does not reach the other
//     nodes, and is counted. When NATS is back, so are the subscriptions.
//
// # How it works
//
// A member belongs to one of a few shards. A shard is a goroutine with an inbox of messages, joins and leaves, and owns
// its members of each group as a dense slice. It takes up to 64 entries at a time, gathers the messages of one group to
// one [Batch], which is encoded once, and calls Deliver once for each member: under load a member gets many messages in
// one write, and a single message is delivered at once.
//
// Publishing puts the message into the inboxes of those shards that have members (local first) and into the queue of one
// goroutine that alone publishes to NATS, because nats.go can block for a second there. One subscription to NATS for each
// group and node feeds one shared channel; it is confirmed by a round trip that all waiting joins share, and ends some
// seconds after the last member left.
//
// # For other publishers
//
// Any NATS client can publish to a group. The subject is
//
//	fl.<cluster>.g.<group>
//
// where the cluster is the configured name, "fairlead" by default, and each dot in the group's name is written as a
// tilde, so that a group is always one token: group "app.1" of cluster "fairlead" is fl.fairlead.g.app~1. The names are
// case-sensitive. A message to any other subject reaches nobody; a wildcard cannot be published to.
//
// The payload is the message, as it goes to the clients. It is a text message if it is valid UTF-8, else a binary one.
// The header "Fairlead-Type: binary" makes it a binary message in any case; "Fairlead-Type: text" insists on text, and
// the message is dropped and counted as malformed if the payload is not valid UTF-8. Other values of this header are
// dropped and counted too. A reply subject is ignored: nobody answers.
//
// Fairlead itself publishes in the same form, so a NATS client can also listen.
//
// # What it leaves to others
//
// Who may join or publish is decided before (package authn). How a message becomes bytes on the wire is the [Encoding]
// of the caller, how a slow member is treated is its [Member]'s. There is no history: a message is for those who are
// members now.
package bus
