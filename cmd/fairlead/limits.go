package main

import (
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
	"github.com/fairlead-ws/fairlead/gateway"
)

// maxConnections is the most that limits.connections = 0 can come to, where the system has no limit or an absurd one.
const maxConnections = 1 << 20

// Descriptors that are no connections: listeners, NATS, journal, files, and room for the internal port's clients.
const reservedFiles = 128

// connectionLimit returns how many connections the node takes: the configured number, or the open-file limit less what
// handshakes, databases and the node itself need.
func connectionLimit(c *config.Config, files uint64, logger *slog.Logger) (int, error) {
	reserve := reservedFiles + c.Limits.Handshakes + heads(c.Limits, files) + authnFiles(c)
	room := int(min(files, math.MaxInt32)) - reserve
	if n := c.Limits.Connections; n > 0 {
		if n > room {
			logger.Warn("limits.connections is more than the open-file limit leaves; raise it (ulimit -n, LimitNOFILE)",
				"connections", n, "room", max(room, 0), "open_files", files)
		}
		return n, nil
	}
	if room < 1 {
		return 0, fmt.Errorf("the open-file limit of %d leaves no room for connections: %d are reserved; raise it (ulimit -n, LimitNOFILE)", files, reserve)
	}
	return min(room, maxConnections), nil
}

// heads is how many connections may be waiting for their requests: many, since whoever connects and says nothing takes one
// of them, but no more than a sixteenth of the files, or than the handshakes where those are more.
func heads(c config.Limits, files uint64) int {
	return max(c.Handshakes, min(4*c.Handshakes, int(min(files, math.MaxInt32))/16))
}

// actorLimits returns what actors are told of the limits, connections being how many the node takes.
func actorLimits(c config.Limits, connections int) actor.Limits {
	return actor.Limits{
		Connections: connections, PerAddress: c.ConnectionsPerAddress, PerUser: c.ConnectionsPerUser,
		MessagesPerSecond: c.MessagesPerSecond, MessageBurst: c.MessageBurst,
		BytesPerSecond: c.BytesPerSecond, ByteBurst: c.ByteBurst,
		GroupsPerConnection: c.GroupsPerConnection, MaxAge: c.MaxAge,
	}
}

// gatewayLimits returns what the gateway is told of the limits.
func gatewayLimits(c config.Limits) gateway.Limits {
	return gateway.Limits{AcceptRate: c.AcceptRate, HandshakesPerAddress: c.HandshakesPerAddress, RejectionsPerAddress: c.RejectionsPerAddress}
}

// authnFiles is how many descriptors verifiers and authorizers take at most: connections to databases, and for SQLite a
// second file each; and connections to applications.
func authnFiles(c *config.Config) int {
	const each = 16
	n := 0
	for _, v := range c.Verifiers {
		if v.Database() != "" {
			n += each
		}
		if v.Listen {
			n++
		}
		if v.Kind == config.KindCallback {
			n += authn.MaxCallbackConns
		}
	}
	for _, a := range c.Authorizers {
		if a.DSN != "" {
			n += each
		}
		if a.Kind == config.KindCallback {
			n += authn.MaxCallbackConns
		}
	}
	return n
}

// gcPercent is how much the heap grows between two collections, in percent of what lives. Half of Go's default: an idle
// connection is 100 to 150 bytes smaller for it. What it costs a handshake, bench could not tell from noise.
const gcPercent = 50

// tuneGC sets the collector's pace for serving, unless the environment has an opinion (GOGC, GOMEMLIMIT).
func tuneGC(getenv func(string) string) {
	if getenv("GOGC") == "" && getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
