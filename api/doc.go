// Package api is the internal HTTP port: metrics, and the two questions that an orchestrator asks.
//
//	GET /healthz   whether the process runs: always 200 "ok". A restart would cure nothing else.
//	GET /readyz    whether it should get new connections: 200, or 503 with what is missing. ?verbose answers in JSON.
//	GET /metrics   Prometheus text, or OpenMetrics
//
// It guarantees that a check with Grace or Recover changes the answer of /readyz only when its own answer has lasted so
// long, that each other answer is JSON which says what exists, and that [API.Serve] leaves no goroutine behind.
//
// It leaves to others what is checked, and who may reach the port: it has no authentication, so it listens on loopback
// or inside a private network.
package api
