package config

import (
	"slices"
	"strings"
	"time"
)

// Config is the whole configuration. The names of the keys are in the tags. Further tags:
//
//	secret:"K_file"   the value is never shown; the key K_file of the same table names a file that holds it
//	only:"a,b"        the key belongs to entries whose kind (or from) is a or b
//	enum:"a,b"        the values that there are
//	reload:"yes"      a node that runs takes up a new value, see Changes; of a table, every key in it
type Config struct {
	Node        Node         `toml:"node"`
	Listen      Listen       `toml:"listen"`
	NATS        NATS         `toml:"nats"`
	TLS         TLS          `toml:"tls"`
	Journal     Journal      `toml:"journal"`
	Session     Session      `toml:"session"`
	API         API          `toml:"api"`
	Limits      Limits       `toml:"limits"`
	Compression Compression  `toml:"compression"`
	Drain       Drain        `toml:"drain" reload:"yes"`
	Log         Log          `toml:"log"`
	Verifiers   []Verifier   `toml:"verifier" reload:"yes"`
	Authorizers []Authorizer `toml:"authorizer" reload:"yes"`
	Routes      []Route      `toml:"route" reload:"yes"`
}

// Node is about this process among others.
type Node struct {
	Name string `toml:"name"` // "": the host's name
}

// Listen has the addresses to listen on.
type Listen struct {
	Public   string `toml:"public"`   // WebSocket handshakes
	Internal string `toml:"internal"` // health, metrics and the API
	// DeferAccept keeps a connection in the kernel until its first bytes have come, or so long. 0: off. Linux only.
	DeferAccept time.Duration `toml:"defer_accept"`
	// TrustedProxies are networks (CIDR) whose word on the client's address is believed: X-Forwarded-For, Forwarded, and
	// with ProxyProtocol the header that begins each of their connections.
	TrustedProxies []string `toml:"trusted_proxies"`
	ProxyProtocol  bool     `toml:"proxy_protocol"`
}

// NATS says how this node reaches the others. Without a URL the node runs a NATS server of its own, for itself alone.
type NATS struct {
	URL          string `toml:"url"`     // "": embedded server; several, separated by commas, are one cluster
	Cluster      string `toml:"cluster"` // subject prefix: several deployments can share one NATS
	Creds        string `toml:"creds"`   // credentials file
	User         string `toml:"user"`
	Password     string `toml:"password" secret:"password_file"`
	PasswordFile string `toml:"password_file"`
	TLSCA        string `toml:"tls_ca"`
	TLSCert      string `toml:"tls_cert"`
	TLSKey       string `toml:"tls_key"`
	Listen       string `toml:"listen"`      // embedded server: address for outside publishers; "": within the process only
	StoreDir     string `toml:"store_dir"`   // embedded server: where JetStream keeps the journal; "": in memory
	StoreBytes   int    `toml:"store_bytes"` // embedded server: how much; 0: 1 GiB on disk, 256 MiB in memory
}

// TLS is about the public port. Without a certificate it speaks plain TCP, behind a balancer.
type TLS struct {
	Cert string `toml:"cert"` // PEM files
	Key  string `toml:"key"`
}

// Journal is about the log of sessions' events.
type Journal struct {
	Mode        string        `toml:"mode" enum:"degrade,require,off"`
	Retention   time.Duration `toml:"retention"`    // from the end of a node's epoch
	Replicas    int           `toml:"replicas"`     // 1, 3 or 5
	BufferBytes int           `toml:"buffer_bytes"` // of events that wait while the log is away
}

// Session is about what outlives a connection.
type Session struct {
	// Secret is what tickets are signed with, the same for all nodes. "": a random one, for a node that is alone.
	Secret     string `toml:"secret" secret:"secret_file"`
	SecretFile string `toml:"secret_file"`
}

// API is about the internal port.
type API struct {
	KeysFile string `toml:"keys_file" reload:"yes"` // bearer keys, "name:key" each on a line of its own
}

// Limits bounds what clients can cost. Sizes are bytes.
type Limits struct {
	Connections      int           `toml:"connections" reload:"yes"` // 0: from the open-file limit, less a reserve
	Handshakes       int           `toml:"handshakes"`               // at once
	HandshakeTimeout time.Duration `toml:"handshake_timeout"`
	HeadBytes        int           `toml:"head_bytes"`
	MessageBytes     int           `toml:"message_bytes"`
	OutboxBytes      int           `toml:"outbox_bytes"`
	WriteTimeout     time.Duration `toml:"write_timeout"`
	PingInterval     time.Duration `toml:"ping_interval"`
	PongTimeout      time.Duration `toml:"pong_timeout"`

	// 0 means no limit. Addresses of IPv6 count by their /64.
	ConnectionsPerAddress int           `toml:"connections_per_address" reload:"yes"`
	ConnectionsPerUser    int           `toml:"connections_per_user" reload:"yes"`   // on this node; anonymous clients have none
	AcceptRate            int           `toml:"accept_rate" reload:"yes"`            // connections per second
	HandshakesPerAddress  int           `toml:"handshakes_per_address" reload:"yes"` // per second
	MessagesPerSecond     int           `toml:"messages_per_second" reload:"yes"`    // of one connection
	MessageBurst          int           `toml:"message_burst" reload:"yes"`          // 0: a quarter of MessagesPerSecond
	BytesPerSecond        int           `toml:"bytes_per_second" reload:"yes"`       // of one connection's messages
	ByteBurst             int           `toml:"byte_burst" reload:"yes"`             // 0: a quarter of BytesPerSecond, or MessageBytes
	RejectionsPerAddress  int           `toml:"rejections_per_address" reload:"yes"` // rejected credentials per minute
	GroupsPerConnection   int           `toml:"groups_per_connection" reload:"yes"`
	MaxAge                time.Duration `toml:"max_age" reload:"yes"` // of a connection
}

// Compression is about permessage-deflate (RFC 7692).
type Compression struct {
	Enabled  bool `toml:"enabled"`
	Level    int  `toml:"level"`
	MinBytes int  `toml:"min_bytes"` // smaller messages are sent as they are
}

// Drain is about stopping.
type Drain struct {
	ShutdownDelay time.Duration `toml:"shutdown_delay"` // not ready, and still accepting
	Window        time.Duration `toml:"window"`         // the closes of a stop are spread over it
	CloseRate     int           `toml:"close_rate"`     // closes per second for each node that goes on, at most
}

// Log is about the log, which goes to standard error.
type Log struct {
	Level  string `toml:"level" enum:"debug,info,warn,error" reload:"yes"`
	Format string `toml:"format" enum:"text,json"`
}

// Default returns a new configuration with every default and no verifier, authorizer or route.
func Default() *Config {
	return &Config{
		Listen:  Listen{Public: "0.0.0.0:8000", Internal: "127.0.0.1:9000", TrustedProxies: []string{}},
		NATS:    NATS{Cluster: "fairlead"},
		Journal: Journal{Mode: "degrade", Retention: 24 * time.Hour, Replicas: 1, BufferBytes: 16 << 20},
		Limits: Limits{
			Handshakes:       256,
			HandshakeTimeout: 5 * time.Second,
			HeadBytes:        16 << 10,
			MessageBytes:     64 << 10,
			OutboxBytes:      1 << 20,
			WriteTimeout:     10 * time.Second,
			PingInterval:     25 * time.Second,
			PongTimeout:      20 * time.Second,

			GroupsPerConnection: 100,
		},
		Compression: Compression{Level: 1, MinBytes: 256},
		Drain:       Drain{Window: 30 * time.Second, CloseRate: 1000},
		Log:         Log{Level: "info", Format: "text"},
	}
}

// VerifierIndex returns the index of the verifier with that name, or -1.
func (c *Config) VerifierIndex(name string) int {
	return slices.IndexFunc(c.Verifiers, func(v Verifier) bool { return v.Name == name })
}

// AuthorizerIndex returns the index of the authorizer with that name, or -1.
func (c *Config) AuthorizerIndex(name string) int {
	return slices.IndexFunc(c.Authorizers, func(a Authorizer) bool { return a.Name == name })
}

// JWTVerifiers returns the names of the verifiers of kind jwt, in order.
func (c *Config) JWTVerifiers() []string {
	var names []string
	for _, v := range c.Verifiers {
		if v.Kind == KindJWT {
			names = append(names, v.Name)
		}
	}
	return names
}

// splitList cuts a text at its commas, without the white space around the parts and without empty parts.
func splitList(s string) []string {
	var parts []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
