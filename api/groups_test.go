package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
)

func TestGroups(t *testing.T) {
	_, first, second := newPair(t)
	first.connect("1", "/ws", actor.Ignore, "app_1", "app_2")
	first.connect("2", "/ws", actor.Ignore, "app_1")
	second.connect("3", "/ws", actor.Ignore, "app_1", "app_3", "news")
	for _, tt := range []struct{ query, want, next string }{
		{"", "app_1:3 app_2:1 app_3:1 news:1", ""},
		{"?prefix=app_", "app_1:3 app_2:1 app_3:1", ""},
		{"?limit=2", "app_1:3 app_2:1", "app_2"},
		{"?limit=2&after=app_2", "app_3:1 news:1", ""},
		{"?limit=1&after=app_1&prefix=app", "app_2:1", "app_2"},
		{"?prefix=x", "", ""},
	} {
		for _, n := range []*testNode{first, second} {
			var got groupList
			n.ask("GET", "/api/v1/groups"+tt.query, "").as(200, &got)
			var texts []string
			for _, g := range got.Groups {
				texts = append(texts, fmt.Sprintf("%s:%d", g.Group, g.Members))
			}
			if text := strings.Join(texts, " "); text != tt.want || got.Next != tt.next || len(got.Missing) != 0 {
				t.Errorf("%s asked %s: %s, next %q; want %s, next %q", n.name, tt.query, text, got.Next, tt.want, tt.next)
			}
		}
	}
	var got groupDetail
	second.ask("GET", "/api/v1/groups/app_1", "").as(200, &got)
	want := []groupAnswer{{"node-1", first.epoch, 2}, {"node-2", second.epoch, 1}}
	if got.Members != 3 || !slices.Equal(got.Nodes, want) {
		t.Errorf("%+v", got)
	}
	second.ask("GET", "/api/v1/groups/nobody", "").as(200, &got)
	if got.Members != 0 || len(got.Nodes) != 0 {
		t.Errorf("%+v", got)
	}
	first.ask("GET", "/api/v1/groups/a*", "").refused(400, "group", "has '*'")
	first.ask("GET", "/api/v1/groups/a?x=1", "").refused(400, "parameter", "want none")
	for _, query := range []string{"?prefix=*", "?after=%20"} {
		first.ask("GET", "/api/v1/groups"+query, "").refused(400, "group", "want only")
	}
	first.ask("GET", "/api/v1/groups?limit=0", "").refused(400, "parameter", "limit")
	first.ask("GET", "/api/v1/groups?user=1", "").refused(400, "parameter", "want prefix, limit, after")
}

// Pages of nodes that have more to say are cut where one of them stops.
func TestMergeGroups(t *testing.T) {
	view := func(more bool, names ...string) (a groupsAnswer) {
		for _, name := range names {
			a.Groups = append(a.Groups, groupView{group(t, name), 1})
		}
		a.More = more
		return a
	}
	got := mergeGroups([]groupsAnswer{view(true, "a", "b", "c"), view(false, "b", "z"), view(true, "a", "d", "e")}, nil, 3)
	if len(got.Groups) != 3 || got.Next != "c" || got.Groups[0].Members != 2 || got.Groups[1].Members != 2 || got.Groups[2].Members != 1 {
		t.Errorf("%+v", got)
	}
	got = mergeGroups([]groupsAnswer{view(false, "a"), view(false)}, nil, 3)
	if len(got.Groups) != 1 || got.Next != "" {
		t.Errorf("%+v", got)
	}
}

func TestNodes(t *testing.T) {
	_, first, second := newPair(t)
	second.connect("1", "/ws", actor.Ignore)
	var got nodeList
	second.ask("GET", "/api/v1/nodes", "").as(200, &got)
	if len(got.Nodes) != 2 {
		t.Fatalf("%+v", got)
	}
	one, two := got.Nodes[0], got.Nodes[1]
	if one.Name != "node-1" || one.Epoch != first.epoch || one.Self || one.Seen.IsZero() || one.Connections != 0 || one.Version != "v1" {
		t.Errorf("%+v", one)
	}
	if two.Name != "node-2" || !two.Self || !two.Seen.IsZero() || two.Connections != 1 || !two.Started.Equal(second.epoch.Start()) {
		t.Errorf("%+v", two)
	}
	second.ask("GET", "/api/v1/nodes?x=1", "").refused(400, "parameter", "want none")
	if _, err := (alone{}).AskNode(t.Context(), first.epoch, "x", nil); err != bus.ErrNoPeer { //nolint:errorlint // it is that one
		t.Error(err)
	}
}
