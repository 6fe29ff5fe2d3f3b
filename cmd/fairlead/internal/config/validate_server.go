package config

import (
	"math"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// checkServer looks at the tables that are about the node itself.
func (l *Loaded) checkServer() {
	l.checkNotNegative("listen.defer_accept", int64(l.Listen.DeferAccept))
	l.checkProxies()
	l.checkNATS()
	if (l.TLS.Cert == "") != (l.TLS.Key == "") {
		l.add("tls.cert", "cert and key belong together; want both, or neither for plain TCP")
	}
	l.checkJournal()
	l.checkLimits()
	l.checkRanges([]intRange{
		{"compression.level", int64(l.Compression.Level), 1, 9},
		{"compression.min_bytes", int64(l.Compression.MinBytes), 0, math.MaxInt64},
		{"drain.close_rate", int64(l.Drain.CloseRate), 1, math.MaxInt64},
	})
	l.checkNotNegative("drain.window", int64(l.Drain.Window))
	l.checkNotNegative("drain.shutdown_delay", int64(l.Drain.ShutdownDelay))
}

func (l *Loaded) checkProxies() {
	for i, s := range l.Listen.TrustedProxies {
		if p, err := netip.ParsePrefix(s); err != nil {
			l.add("listen.trusted_proxies", "entry %d, %q, is no network; want CIDR, such as 10.0.0.0/8, or 192.0.2.7/32 for one address", i+1, s)
		} else if p != p.Masked() {
			l.add("listen.trusted_proxies", "entry %d, %q, has bits behind its prefix; want %s, or a longer prefix", i+1, s, p.Masked())
		}
	}
	if l.Listen.ProxyProtocol && len(l.Listen.TrustedProxies) == 0 {
		l.add("listen.proxy_protocol", "nobody's header would be believed; want the balancers' networks in listen.trusted_proxies")
	}
}

func (l *Loaded) checkJournal() {
	j := l.Journal
	if j.Replicas != 1 && j.Replicas != 3 && j.Replicas != 5 {
		l.add("journal.replicas", "is %d; want 1, 3 or 5", j.Replicas)
	}
	if j.Replicas > 1 && l.NATS.URL == "" {
		l.add("journal.replicas", "is %d, and the embedded NATS server is one; want nats.url with a cluster, or 1", j.Replicas)
	}
	if j.Retention < time.Minute {
		l.add("journal.retention", "is %v; want a minute or more, such as \"24h\"", j.Retention)
	}
	l.checkRanges([]intRange{{"journal.buffer_bytes", int64(j.BufferBytes), 64 << 10, math.MaxInt64}})
}

// intRange is what a whole number may be.
type intRange struct {
	key      string
	value    int64
	min, max int64
}

func (l *Loaded) checkRanges(ranges []intRange) {
	for _, r := range ranges {
		if r.value < r.min || r.value > r.max {
			l.add(r.key, "is %d; want %s", r.value, between(r.min, r.max))
		}
	}
}

// minStoreBytes is some batches of the journal: in less it would be away for ever.
const minStoreBytes = 1 << 20

func (l *Loaded) checkNATS() {
	n := l.NATS
	if n.StoreBytes != 0 && n.StoreBytes < minStoreBytes {
		l.add("nats.store_bytes", "is %d; want 0 for the default, or at least %d", n.StoreBytes, minStoreBytes)
	}
	if n.URL == "" {
		for key, value := range map[string]string{
			"nats.creds": n.Creds, "nats.user": n.User, "nats.password": n.Password, "nats.tls_ca": n.TLSCA,
			"nats.tls_cert": n.TLSCert, "nats.tls_key": n.TLSKey,
		} {
			if value != "" {
				l.add(key, "nats.url is empty, so there is no server to use it with; want nats.url as well")
			}
		}
		if n.Listen != "" {
			l.checkAddress("nats.listen", n.Listen)
		}
		return
	}
	if n.Listen != "" {
		l.add("nats.listen", "is for the embedded server, and nats.url names another one; want one of them")
	}
	if n.StoreDir != "" {
		l.add("nats.store_dir", "is for the embedded server, and nats.url names another one, which keeps the journal itself; want one of them")
	}
	for part := range strings.SplitSeq(n.URL, ",") {
		l.checkNATSURL(strings.TrimSpace(part))
	}
	if (n.User == "") != (n.Password == "") {
		l.add("nats.user", "user and password belong together; want both, or neither")
	}
	if n.User != "" && n.Creds != "" {
		l.add("nats.creds", "user is set as well; want one of them")
	}
	if (n.TLSCert == "") != (n.TLSKey == "") {
		l.add("nats.tls_cert", "tls_cert and tls_key belong together; want both, or neither")
	}
}

// checkNATSURL never quotes the URL: it may have a password.
func (l *Loaded) checkNATSURL(s string) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !contains("nats,tls", u.Scheme) {
		l.add("nats.url", "want URLs like nats://HOST:4222 or tls://HOST:4222, with commas between")
	}
}

// leastTimeout is the shortest time that the node's limits can be.
const leastTimeout = time.Millisecond

func (l *Loaded) checkLimits() {
	c := l.Limits
	for key, value := range map[string]int{
		"connections": c.Connections, "connections_per_address": c.ConnectionsPerAddress,
		"connections_per_user": c.ConnectionsPerUser, "accept_rate": c.AcceptRate,
		"handshakes_per_address": c.HandshakesPerAddress, "rejections_per_address": c.RejectionsPerAddress, "messages_per_second": c.MessagesPerSecond,
		"message_burst": c.MessageBurst, "bytes_per_second": c.BytesPerSecond, "byte_burst": c.ByteBurst,
		"max_age": int(c.MaxAge),
	} {
		l.checkNotNegative("limits."+key, int64(value))
	}
	if year := 365 * 24 * time.Hour; c.MaxAge > year {
		l.add("limits.max_age", "is %v; want at most %v, a year, or 0 for connections that never grow old", c.MaxAge, year)
	}
	if c.MessageBurst > 0 && c.MessagesPerSecond == 0 {
		l.add("limits.message_burst", "counts only with limits.messages_per_second, which is 0; want both, or neither")
	}
	switch {
	case c.ByteBurst > 0 && c.BytesPerSecond == 0:
		l.add("limits.byte_burst", "counts only with limits.bytes_per_second, which is 0; want both, or neither")
	case c.ByteBurst > 0 && c.ByteBurst < c.MessageBytes:
		l.add("limits.byte_burst", "is %d, so that a message of limits.message_bytes could never come; want at least %d", c.ByteBurst, c.MessageBytes)
	}
	l.checkRanges([]intRange{
		{"limits.handshakes", int64(c.Handshakes), 1, 1 << 20},
		{"limits.head_bytes", int64(c.HeadBytes), 1 << 10, 1 << 20},
		{"limits.groups_per_connection", int64(c.GroupsPerConnection), 1, 1 << 16},
		{"limits.message_bytes", int64(c.MessageBytes), 1, 64 << 20},
		{"limits.outbox_bytes", int64(c.OutboxBytes), 1, math.MaxInt64},
	})
	for key, value := range map[string]time.Duration{
		"limits.handshake_timeout": c.HandshakeTimeout,
		"limits.write_timeout":     c.WriteTimeout,
		"limits.ping_interval":     c.PingInterval,
		"limits.pong_timeout":      c.PongTimeout,
	} {
		if value < leastTimeout {
			l.add(key, "is %v; want a duration above zero, such as %v", value, 10*time.Second)
		}
	}
}
