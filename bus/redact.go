package bus

import "strings"

// snippets are the words after which nats-server (parser.go, client.go) and nats.go (parser.go) write bytes as they came,
// which can be part of a payload, when the other side breaks the protocol.
var snippets = []string{"proto=", "snip:", "Parse Error", "Bad or Missing", "Header Size larger"}

// redact cuts text behind the first such word.
func redact(text string) string {
	for _, s := range snippets {
		if i := strings.Index(text, s); i >= 0 {
			text = text[:i+len(s)] + " [cut: it may be a payload]"
		}
	}
	return text
}
