package limit

import "github.com/prometheus/client_golang/prometheus"

// Scope says which limit was met. The set is closed: it is a label.
type Scope string

// The scopes.
const (
	Node       Scope = "node"       // connections of the node
	Address    Scope = "address"    // connections of an address
	User       Scope = "user"       // connections of a user
	Accept     Scope = "accept"     // connections that the node takes in a second
	Attempts   Scope = "attempts"   // handshakes of an address in a second
	Rejections Scope = "rejections" // rejected credentials of an address in a minute
	Messages   Scope = "messages"   // messages of a connection in a second
	Bytes      Scope = "bytes"      // bytes of a connection in a second
	Groups     Scope = "groups"     // groups of a connection
)

// NewCounter returns the counter of one scope. Each package has those of the limits that it holds; registered together they
// are one metric.
func NewCounter(s Scope) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fairlead_limited_total",
		Help: "Times that a limit was met, by its scope: node, address, user, attempts and rejections refused a handshake, accept let the " +
			"kernel hold a connection for a while, messages and bytes closed a connection, groups refused a join.",
		ConstLabels: prometheus.Labels{"scope": string(s)},
	})
}
