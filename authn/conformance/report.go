package conformance

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Result is what became of one case.
type Result struct {
	Case    *Case
	Got     string
	Want    []Expectation
	Verdict Verdict
	Rule    string // which decided it; "": none
	Err     error  // why there is no answer; the verdict is Wrong
}

// Run replays the case at the node, or acts it out, and judges the answer.
func Run(e *Expecter, a *Actor, c *Case) Result {
	r := Result{Case: c, Want: e.Expect(c)}
	if c.Request != nil {
		r.Got, r.Err = Replay(a.Node, c)
	} else {
		var known bool
		if r.Got, known, r.Err = a.Act(c); !known {
			r.Verdict = Unknown
			return r
		}
	}
	if r.Err != nil {
		r.Verdict = Wrong
		return r
	}
	r.Verdict, r.Rule = Judge(r.Got, r.Want)
	return r
}

// String says what was wanted and what came.
func (r Result) String() string {
	var want []string
	for _, x := range r.Want {
		s := x.Answer
		if x.Rule != "" {
			s += " (" + x.Rule + ")"
		}
		want = append(want, s)
	}
	name := r.Case.Group + ": " + r.Case.Name
	if r.Case.Variation != "" {
		name = r.Case.Variation + ": " + name
	}
	got := r.Got
	if r.Err != nil {
		got = r.Err.Error()
	}
	return fmt.Sprintf("%s: got %q, want %s", name, got, strings.Join(want, " or "))
}

// Report counts verdicts.
type Report struct {
	groups map[string]*[4]int
	rules  map[string]int
	bad    []Result
}

// Add counts a result.
func (r *Report) Add(x Result) {
	if r.groups == nil {
		r.groups, r.rules = map[string]*[4]int{}, map[string]int{}
	}
	group := cmp.Or(x.Case.Variation, "as it was") + "\t" + x.Case.Group
	if r.groups[group] == nil {
		r.groups[group] = &[4]int{}
	}
	r.groups[group][x.Verdict]++
	if x.Verdict == Differs {
		r.rules[x.Rule]++
	}
	if x.Verdict == Wrong || x.Verdict == Unknown {
		r.bad = append(r.bad, x)
	}
}

// Count returns how many results had the verdict.
func (r *Report) Count(v Verdict) (n int) {
	for _, g := range r.groups {
		n += g[v]
	}
	return n
}

// Differences returns how many cases each rule decided that way.
func (r *Report) Differences() map[string]int { return r.rules }

// Write prints the table, what each rule decided, and what is wrong.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "servers\tgroup\tagreed\tdiffers on purpose\twrong\tnot acted out")
	groups := make([]string, 0, len(r.groups))
	for g := range r.groups {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	for _, g := range append(groups, "\tall") {
		n := r.groups[g]
		if n == nil {
			n = &[4]int{r.Count(Agreed), r.Count(Differs), r.Count(Wrong), r.Count(Unknown)}
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\n", g, n[Agreed], n[Differs], n[Wrong], n[Unknown])
	}
	fmt.Fprintln(t, "\nrule\tcases\twhat it says")
	for _, rule := range Words() {
		if n := r.rules[rule[0]]; n > 0 {
			fmt.Fprintf(t, "%s\t%d\t%s\n", rule[0], n, rule[1])
		}
	}
	for _, x := range r.bad {
		fmt.Fprintf(t, "\n%s  %s", x.Verdict, x)
	}
	fmt.Fprintln(t)
	return t.Flush()
}
