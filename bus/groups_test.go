package bus

import (
	"fmt"
	"slices"
	"testing"

	"github.com/fairlead-ws/fairlead/session"
)

// deaf is a member that takes whatever comes.
type deaf struct{}

func (deaf) Deliver(*Batch) bool { return true }

func TestGroups(t *testing.T) {
	b, err := NewLocal(LocalConfig{Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(t.Context()) })
	var gone []*Membership
	for i := range 500 {
		g, err := session.ParseGroup(fmt.Sprintf("app_%03d", i))
		if err != nil {
			t.Fatal(err)
		}
		for shard := range uint32(1 + i%3) {
			ms := b.Join(g, deaf{}, shard, nil)
			if i >= 400 {
				gone = append(gone, ms)
			}
		}
	}
	for _, ms := range gone {
		b.Leave(ms)
	}
	name := func(i int) string { return fmt.Sprintf("app_%03d", i) }
	for _, tt := range []struct {
		prefix, after string
		limit         int
		first, n      int // of the names that come
	}{
		{"", "", 1000, 0, 400},
		{"", "", 400, 0, 400},
		{"", "", 7, 0, 7},
		{"", name(6), 7, 7, 7},
		{"app_", name(395), 1000, 396, 4},
		{"app_12", "", 1000, 120, 10},
		{"app_12", name(124), 3, 125, 3},
		{"", name(399), 10, 0, 0},
		{"news", "", 10, 0, 0},
		{"", "", 0, 0, 0},
		{"", "", -1, 0, 0},
	} {
		var want []string
		for i := range tt.n {
			want = append(want, name(tt.first+i))
		}
		var got []string
		for _, g := range b.Groups(tt.prefix, tt.after, tt.limit) {
			got = append(got, g.Group.String())
			var i int
			if _, err := fmt.Sscanf(g.Group.String(), "app_%d", &i); err != nil || g.Members != 1+i%3 || b.Members(g.Group) != g.Members {
				t.Errorf("%s has %d members, want %d (%v)", g.Group, g.Members, 1+i%3, err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("Groups(%q, %q, %d) = %d names, %.60q; want %d, %.60q", tt.prefix, tt.after, tt.limit, len(got), got, len(want), want)
		}
	}
	if n := b.Members(session.Group{}); n != 0 {
		t.Errorf("the zero Group has %d members", n)
	}
}
