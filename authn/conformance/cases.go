package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Case is one request, or one behaviour, and what the servers answered.
type Case struct {
	Variation string // how the servers' settings differed: "" as they were, or such as "sess-file"
	Group     string `json:"group"`
	Name      string `json:"case"`
	Request   []byte `json:"request_b64"` // nil: behaviour, to be acted out
	Observed  map[string]string
}

// Load reads a file of cases: those of the servers as they were first, then the variations by name.
func Load(file string) ([]Case, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var f struct {
		Cases      []Case
		Variations map[string][]Case
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, variation := range slices.Sorted(maps.Keys(f.Variations)) {
		for _, c := range f.Variations[variation] {
			c.Variation = variation
			f.Cases = append(f.Cases, c)
		}
	}
	if len(f.Cases) == 0 {
		return nil, fmt.Errorf("%s: no cases", file)
	}
	return f.Cases, nil
}

// seen returns what the servers answered in the words of this package, each answer once:
//
//	101                      upgraded
//	101 user=NAME            and the first frame names the user
//	101 user=NAME (inactive)
//	101 anonymous
//	101 joined               and the group hears what is sent
//	101 close=CODE           and closed at once; CODE is "none" for a frame without one
//	101 selected=NAME        and the subprotocol, empty for none
//	403                      refused with the status
//	EOF                      the connection ended without an answer or a close frame
//	text:one, pong:p         frames, in their order
//	nothing                  no frame came
//	text of N bytes
func (c *Case) seen() []string {
	var answers []string
	for _, server := range slices.Sorted(maps.Keys(c.Observed)) {
		if a := canonical(c.Observed[server]); !slices.Contains(answers, a) {
			answers = append(answers, a)
		}
	}
	return answers
}

// Spoken returns the subprotocols that the servers' endpoint for them speaks, as far as the cases show.
func Spoken(cases []Case) (names []string) {
	for i := range cases {
		if cases[i].Request == nil {
			continue
		}
		for _, seen := range cases[i].seen() {
			if name, ok := strings.CutPrefix(seen, "101 selected="); ok && name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

var (
	seenStatus   = regexp.MustCompile(`^(\d{3})( [^|]*\||  \|| \[|$)`)
	seenClose    = regexp.MustCompile(`(?:^|^101 |then )close=(\w+)`)
	seenSelected = regexp.MustCompile(`^101 selected=\[(?:'([^']*)')?\]`)
	seenFrame    = regexp.MustCompile(`\((\d+), b'([^']*)'\)`)
	seenLength   = regexp.MustCompile(`^op=(\d+) len=(\d+)`)
	seenHeaders  = regexp.MustCompile(`^(?:server=\w+, )?upgrade=(\w+), connection=(\w+)`)
	seenOffers   = regexp.MustCompile(`^\[.*\]$`)
	opcodes      = map[string]string{"1": "text", "2": "binary", "8": "close", "9": "ping", "10": "pong"}
)

// headers is what the answer to a good handshake says of the connection. Neither word has a case.
func headers(upgrade, connection string) string {
	return "101 Upgrade: " + strings.ToLower(upgrade) + ", Connection: " + strings.ToLower(connection)
}

var pythonByte = regexp.MustCompile(`\\x[0-9a-f]{2}`)

// unescape undoes what Python writes for a byte that is no ASCII.
func unescape(s string) string {
	return pythonByte.ReplaceAllStringFunc(s, func(e string) string { return string([]byte{byte(number("0" + e[1:]))}) })
}

// canonical puts what was written down of one answer into the words of seen.
func canonical(s string) string {
	s = strings.TrimSpace(s)
	if before, _, ok := strings.Cut(s, " after "); ok { // how long it took
		s = before
	}
	switch {
	case strings.HasPrefix(s, "101 user="), s == "101 anonymous":
		return s
	case s == "101 joined", strings.HasPrefix(s, "101, echo"):
		return "101 joined"
	case strings.HasPrefix(s, "abrupt EOF"), s == "EOF", s == "ConnectionResetError":
		return "EOF"
	case strings.HasPrefix(s, "('timeout'"):
		return "nothing"
	case s == "True":
		return "in order"
	case seenOffers.MatchString(s):
		return s
	}
	if m := seenHeaders.FindStringSubmatch(s); m != nil {
		return headers(m[1], m[2])
	}
	if m := seenSelected.FindStringSubmatch(s); m != nil {
		return "101 selected=" + m[1]
	}
	if m := seenClose.FindStringSubmatch(s); m != nil {
		if strings.HasPrefix(s, "101 ") {
			return "101 close=" + m[1]
		}
		return "close=" + m[1]
	}
	if m := seenLength.FindStringSubmatch(s); m != nil {
		return opcodes[m[1]] + " of " + m[2] + " bytes"
	}
	if frames := seenFrame.FindAllStringSubmatch(s, -1); frames != nil {
		var all []string
		for _, m := range frames {
			all = append(all, opcodes[m[1]]+":"+unescape(m[2]))
		}
		return strings.Join(all, ", ")
	}
	if m := seenStatus.FindStringSubmatch(s + " |"); m != nil {
		return m[1]
	}
	return s
}
