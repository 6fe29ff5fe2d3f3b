package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/bench/internal/proc"
)

func TestMedian(t *testing.T) {
	tests := []struct {
		give []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 2, 3}, 2.5},
	}
	for _, tt := range tests {
		first := tt.give[0]
		if f := Median("n", "u", tt.give); f.Value != tt.want || f.Samples[0] != first || f.Missed() {
			t.Errorf("Median(%v) = %+v, want %v and the samples in their order", tt.give, f, tt.want)
		}
	}
}

func TestWant(t *testing.T) {
	tests := []struct {
		value  float64
		bound  Bound
		target float64
		missed bool
	}{
		{1, AtMost, 1, false},
		{1.01, AtMost, 1, true},
		{1, AtLeast, 1, false},
		{0.99, AtLeast, 1, true},
		{math.NaN(), AtLeast, 0, true},
		{math.NaN(), AtMost, 0, true},
	}
	r := Report{Figures: []Figure{One("without", "", 1)}}
	for _, tt := range tests {
		f := One("f", "u", tt.value).Want(tt.bound, tt.target)
		if f.Missed() != tt.missed {
			t.Errorf("%v, %s %v: missed is %v", tt.value, tt.bound, tt.target, f.Missed())
		}
		r.Figures = append(r.Figures, f)
	}
	if n := r.Missed(); n != 4 {
		t.Errorf("%d missed, want 4", n)
	}
}

func sample() *Report {
	return &Report{
		Command: "bench flood", Time: "2026-01-02T03:04:05Z", Server: "fairlead v1",
		Machine: proc.Machine{Kernel: "Linux 6", Model: "Some CPU", CPUs: 2, Memory: 3 << 29},
		Figures: []Figure{
			Median("CPU per delivery", "us", []float64{0.5, 0.75, 0.25}).Want(AtMost, 1),
			One("deliveries", "1/s", 987654.3).Want(AtLeast, 1e6),
			One("lost", "", 0),
		},
		Notes: []string{"the machine was busy"},
	}
}

func TestWriteText(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"fairlead v1; Linux 6; 2 × Some CPU; 1.5 GiB", "0.500 us 0.250 to 0.750, n 3 at most 1: pass",
		"987,654", "at least 1,000,000: MISS", "note: the machine was busy\n",
	} {
		if got := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(got, strings.TrimSpace(want)) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if err := sample().WriteText(full{}); !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Missed() != 1 || len(got.Figures) != 3 || got.Figures[0].Samples[1] != 0.75 || got.Figures[2].Met != nil {
		t.Errorf("read back as %+v", got)
	}
}

func TestNumber(t *testing.T) {
	tests := map[float64]string{
		0: "0", 1: "1", 0.1234: "0.123", 12.345: "12.35", 123.45: "123.5", 1234.5: "1,234", 1e6: "1,000,000", 999: "999",
		-1234567: "-1,234,567", -0.5: "-0.500", math.NaN(): "none", math.Inf(1): "none",
	}
	for give, want := range tests {
		if got := number(give); got != want {
			t.Errorf("number(%v) = %q, want %q", give, got, want)
		}
	}
}
