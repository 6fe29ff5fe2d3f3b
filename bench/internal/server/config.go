package server

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Config is what a measurement chooses. All else is the server's default.
type Config struct {
	Public   string            // address for WebSocket handshakes
	Internal string            // address for health and metrics
	Secret   string            // HS256 key
	NATS     string            // URL; "": the server's embedded one
	Settings map[string]string // other keys (limits.write_timeout) with their values as in the file: `"2s"`, `65536`
	Tables   string            // further verifiers and routes, as in the file
}

// Path is the path of the one route; a client fills in the group.
const Path = "/ws/{group}"

// TOML returns the configuration file: one route on which any user with a token of the secret may join any group and
// everyone hears what anyone says. The token may come in each of the four places. Tables come behind.
func (c *Config) TOML() string {
	var b strings.Builder
	settings := map[string]string{
		"listen.public": strconv.Quote(c.Public), "listen.internal": strconv.Quote(c.Internal), "nats.url": strconv.Quote(c.NATS),
	}
	maps.Copy(settings, c.Settings)
	for _, k := range slices.Sorted(maps.Keys(settings)) { // dotted keys need no order and no tables
		fmt.Fprintf(&b, "%s = %s\n", k, settings[k])
	}
	fmt.Fprintln(&b)
	fmt.Fprintf(&b, "[[verifier]]\nname = \"jwt\"\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = %q\n\n", c.Secret)
	fmt.Fprintf(&b, "[[route]]\npath = %q\njoin = [\"{group}\"]\non_message = \"broadcast\"\ncredential = [\n", Path)
	fmt.Fprintf(&b, "  { from = \"header\", name = \"Authorization\", scheme = %q, verifier = \"jwt\" },\n", wire.Scheme)
	fmt.Fprintf(&b, "  { from = \"query\", name = %q, verifier = \"jwt\" },\n", wire.QueryName)
	fmt.Fprintf(&b, "  { from = \"cookie\", name = %q, verifier = \"jwt\" },\n", wire.CookieName)
	fmt.Fprintf(&b, "  { from = \"subprotocol\", prefix = %q, verifier = \"jwt\" },\n]\n", wire.ProtocolPrefix)
	if c.Tables != "" {
		fmt.Fprintf(&b, "\n%s", c.Tables)
	}
	return b.String()
}
