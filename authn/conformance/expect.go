package conformance

import (
	"slices"
	"strings"
)

// Expecter knows what Fairlead must answer. It is fixed after NewExpecter.
type Expecter struct{ facts *Facts }

// NewExpecter returns one that knows the facts.
func NewExpecter(f *Facts) *Expecter { return &Expecter{f} }

// Expectation is one answer that is right.
type Expectation struct {
	Answer string
	Rule   string // which decided it; "": Django's own answer
}

// Expect returns the answers that are right for the case. There is more than one only where Django's servers disagreed, and
// then those that are like Django's come first.
func (e *Expecter) Expect(c *Case) []Expectation {
	var want []Expectation
	for _, seen := range c.seen() {
		x := Expectation{Answer: seen}
		switch answer, rule := e.rule(c, seen); {
		case rule == "": // Django's own
		case answer != seen:
			x = Expectation{answer, rule}
		}
		if !slices.Contains(want, x) {
			want = append(want, x)
		}
	}
	slices.SortStableFunc(want, func(a, b Expectation) int {
		switch {
		case a.Rule == "" && b.Rule != "":
			return -1
		case a.Rule != "" && b.Rule == "":
			return 1
		}
		return 0
	})
	return want
}

// Head reports whether the head of the request decides, before anybody looks at Origin or credential.
func (e *Expecter) Head(c *Case) bool {
	r := parse(c.Request)
	for _, rule := range Rules {
		if _, ok := rule.answer(e, r, ""); ok && rule.Head {
			return true
		}
	}
	return false
}

func (e *Expecter) rule(c *Case, seen string) (answer, rule string) {
	if c.Request == nil {
		for _, b := range behaviours {
			m := b.match.FindStringSubmatch(c.Name)
			if m == nil || b.group != "" && b.group != c.Group {
				continue
			}
			if answer := b.answer(m, seen); answer != "" {
				return answer, b.rule
			}
		}
		return "", ""
	}
	r := parse(c.Request)
	r.patterns = r.origins(c.Variation)
	for _, rule := range Rules {
		if answer, ok := rule.answer(e, r, seen); ok {
			return answer, rule.Name
		}
	}
	return "", ""
}

// Verdict is what an answer is worth.
type Verdict int

// The verdicts.
const (
	Agreed  Verdict = iota // as Django
	Differs                // on purpose
	Wrong
	Unknown // a behaviour that nobody here can act out
)

func (v Verdict) String() string {
	return [...]string{"agreed", "differs on purpose", "WRONG", "not acted out"}[v]
}

// Judge returns the verdict on an answer, and the rule where one decided. Where no more was written down than that the
// client was let in, whoever was let in is right.
func Judge(got string, want []Expectation) (Verdict, string) {
	for _, x := range want {
		switch {
		case x.Answer != got && (x.Answer != "101" || !strings.HasPrefix(got, "101 ")):
		case x.Rule == "":
			return Agreed, ""
		default:
			return Differs, x.Rule
		}
	}
	return Wrong, ""
}
