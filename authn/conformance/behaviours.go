package conformance

import "regexp"

// behaviour is a rule about cases that are no single request, of which only the name says what was done.
type behaviour struct {
	group string // "": any
	match *regexp.Regexp
	rule  string
	// answer returns what must come where Django was seen to answer seen; "": the same.
	answer func(match []string, seen string) string
}

func always(s string) func([]string, string) string {
	return func([]string, string) string { return s }
}

// unless101 returns s where Django did not let the client in: what it refuses is refused, with another status.
func unless101(s string) func([]string, string) string {
	return func(_ []string, seen string) string {
		if seen == "101" {
			return ""
		}
		return s
	}
}

var behaviours = []behaviour{
	{"", re(`unknown route`), "no-route", always("404")},
	{"", re(`(?i)^Upgrade: ([^,]+, *)*websocket *(,|$)`), "upgrade-list", always("101")},
	{"", re(`Sec-WebSocket-Version\b|^Upgrade: |^Connection: |^(Upgrade|Connection) (missing|absent)|^no (Upgrade|Connection)\b`), "not-websocket", unless101("426")},
	{"", re(`^(key|Sec-WebSocket-Key) |^(no|without) (key|Sec-WebSocket-Key)`), "key", always("400")},
	{"", re(`^(?:method )?(POST|PUT|DELETE|OPTIONS|HEAD)\b`), "request-line", always("405")},
	{"", re(`^HTTP/1\.0`), "request-line", always("505")},
	{"", re(`^two Host `), "twice", always("400")},
	{"", re(`^(\d+) headers$`), "head", func(m []string, _ string) string {
		if number(m[1])+5 > headLines {
			return "431"
		}
		return "101"
	}},
	{"", re(`^(\d+)-byte header`), "head", func(m []string, _ string) string {
		if len(handshake("/echo", "X-Long: "))+number(m[1]) > headBytes {
			return "431"
		}
		return "101"
	}},
	{"proto", re(`^client closes with (\d+): server`), "close-echo", func(m []string, _ string) string {
		switch code := number(m[1]); {
		case 1000 <= code && code <= 1003, 1007 <= code && code <= 1014, 3000 <= code && code <= 4999:
			return "close=" + m[1]
		}
		return "close=1002"
	}},
	{"proto", re(`^client closes without code`), "close-echo", always("close=none")},
	{"proto", re(`^consumer close\((\d+)\)`), "close-code", func(m []string, _ string) string {
		switch code := number(m[1]); {
		case 1000 <= code && code <= 1003, 1007 <= code && code <= 1014, 3000 <= code && code <= 4999:
			return "close=" + m[1]
		}
		return "close=none"
	}},
	{"", re(`consumer accepts one`), "subprotocol", always("101 selected=")},
	{"C-group", re(`(?i)^(a )?binary`), "binary", always("binary:bin")},
}

// behaviourWords say what the rules about behaviour are.
var behaviourWords = [][2]string{
	{"close-echo", "a client's close code is echoed (RFC 6455 section 5.5.1); one that may not be on the wire is 1002"},
	{"close-code", "a code that may not be on the wire is not sent: the close frame has none"},
	{"subprotocol", "what the client did not offer is never selected"},
	{"binary", "binary messages are relayed as binary"},
}

// Words returns the name of each rule and what it says.
func Words() [][2]string {
	var all [][2]string
	for _, r := range Rules {
		all = append(all, [2]string{r.Name, r.Why})
	}
	return append(all, behaviourWords...)
}
