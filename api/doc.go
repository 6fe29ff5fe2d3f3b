// Package api is the internal HTTP port: metrics, the two questions that an orchestrator asks, and what backends and
// operators do with a cluster.
//
//	GET /healthz       whether the process runs: always 200 "ok". A restart would cure nothing else.
//	GET /readyz        whether it should get new connections: 200, or 503 with what is missing. ?verbose answers in JSON.
//	GET /metrics       Prometheus text, or OpenMetrics
//	/api/v1/...        publish; groups, sessions and their events; disconnect; nodes. openapi.json describes all of it.
//	/debug/pprof/...   profiles
//
// It guarantees that
//
//   - a check with Grace or Recover changes the answer of /readyz only when its own answer has lasted so long;
//   - each answer that is an error is JSON with a code for programs and a message that says what would be right;
//   - what one request costs is bounded: its body, its time, how many are at work at once, and how much it lists;
//   - with keys, nobody without one gets past /healthz, /readyz and /metrics; without keys nobody who is not on this
//     machine does, and no page in a browser on it;
//   - an answer about the cluster names the nodes that did not take part, and a disconnect has happened when it answers;
//   - [API.Serve] leaves no goroutine behind.
//
// Keys are compared in constant time and kept as hashes. Neither keys nor payloads are in the log, a metric or an error.
//
// It leaves to others what is checked and acted on: [Backend] holds it, and [Cluster] reaches the other nodes, which answer
// with this package's own [API.Answerers]. What is remembered of idempotency keys is one node's.
package api
