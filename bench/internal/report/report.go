package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/fairlead-ws/fairlead/bench/internal/proc"
)

// Bound is the kind of a target.
type Bound string

// The kinds of targets.
const (
	None    Bound = ""
	AtMost  Bound = "at most"
	AtLeast Bound = "at least"
)

// Figure is one measured number: the median of its samples.
type Figure struct {
	Trial   string    `json:"trial"`
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Value   float64   `json:"value"`
	Samples []float64 `json:"samples,omitempty"` // in the order in which they were taken, where there are several
	Bound   Bound     `json:"bound,omitempty"`
	Target  float64   `json:"target,omitempty"`
	Met     *bool     `json:"met,omitempty"` // nil: no target
}

// One returns a figure of a single value.
func One(name, unit string, v float64) Figure { return Figure{Name: name, Unit: unit, Value: v} }

// Median returns the median of samples as a figure. There must be one at least.
func Median(name, unit string, samples []float64) Figure {
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	return Figure{Name: name, Unit: unit, Value: (sorted[(n-1)/2] + sorted[n/2]) / 2, Samples: samples}
}

// Want returns the figure with a target. A value that is no number meets none.
func (f Figure) Want(b Bound, target float64) Figure {
	met := b == AtMost && f.Value <= target || b == AtLeast && f.Value >= target
	f.Bound, f.Target, f.Met = b, target, &met
	return f
}

// Missed tells whether the figure has a target and does not meet it.
func (f Figure) Missed() bool { return f.Met != nil && !*f.Met }

// Report is the outcome of one command.
type Report struct {
	Command string       `json:"command"`
	Time    string       `json:"time"`
	Server  string       `json:"server"`
	Machine proc.Machine `json:"machine"`
	Figures []Figure     `json:"figures"`
	Notes   []string     `json:"notes,omitempty"`
}

// Missed returns the number of targets that were not met.
func (r *Report) Missed() (n int) {
	for _, f := range r.Figures {
		if f.Missed() {
			n++
		}
	}
	return n
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report as a table.
func (r *Report) WriteText(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s\n%s; %s; %d × %s; %.1f GiB\n\n", r.Command, r.Server, m.Kernel, m.CPUs, m.Model, float64(m.Memory)/(1<<30))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "trial\tfigure\tvalue\tunit\tspread\ttarget\t")
	for _, f := range r.Figures {
		spread, target := "", ""
		if n := len(f.Samples); n > 1 {
			spread = fmt.Sprintf("%s to %s, n %d", number(slices.Min(f.Samples)), number(slices.Max(f.Samples)), n)
		}
		if f.Met != nil {
			target = fmt.Sprintf("%s %s: %s", f.Bound, number(f.Target), map[bool]string{true: "pass", false: "MISS"}[*f.Met])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", f.Trial, f.Name, number(f.Value), f.Unit, spread, target)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "\nnote: %s", n)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// number writes v with three or four digits that matter, and commas between thousands.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "none"
	case v == math.Trunc(v) || a >= 1000:
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

func thousands(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}
