package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/session"
)

func TestEvents(t *testing.T) {
	_, first, second := newPair(t)
	m := second.connect("1", "/ws", actor.Echo, "app_1")
	path := "/api/v1/sessions/" + m.id.String() + "/events"
	kinds := func(n *testNode, query string) (kinds []string, list eventList) {
		t.Helper()
		n.ask("GET", path+query, "").as(200, &list)
		for _, raw := range list.Events {
			var r session.Record
			if err := json.Unmarshal(raw, &r); err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, fmt.Sprintf("%d:%s", r.Seq, r.Event.Kind()))
		}
		return kinds, list
	}
	first.ask("POST", "/api/v1/sessions/"+m.id.String()+"/disconnect", "")
	m.wantClose(4403, disconnectReason)
	m.Close()
	eventually(t, "the session is closed", func() bool { return second.actors.Len() == 0 })
	for _, n := range []*testNode{first, second} {
		if got, list := kinds(n, ""); !slices.Equal(got, []string{"1:opened", "2:closed"}) || list.Next != "" || list.Truncated || list.Session != m.id {
			t.Errorf("%s: %v, %+v", n.name, got, list)
		}
		if got, list := kinds(n, "?limit=1"); !slices.Equal(got, []string{"1:opened"}) || list.Next != "1" {
			t.Errorf("%s, first page: %v, next %q", n.name, got, list.Next)
		}
		if got, list := kinds(n, "?limit=1&after=1"); !slices.Equal(got, []string{"2:closed"}) || list.Next != "" {
			t.Errorf("%s, last page: %v, next %q", n.name, got, list.Next)
		}
		if got, _ := kinds(n, "?after=2"); len(got) != 0 {
			t.Errorf("%s, behind all: %v", n.name, got)
		}
	}
	first.ask("GET", path+"?after=-1", "").refused(400, "parameter", "after")

	// The events of a node itself, and a session whose beginning is gone.
	node := session.ID{Epoch: first.epoch}
	late := session.ID{Epoch: first.epoch, Number: 77}
	for _, r := range []session.Record{
		{Time: time.Now(), Session: node, Event: session.NodeStarted{Node: "node-1"}},
		{Time: time.Now(), Session: late, Seq: 5, Event: session.Left{Group: group(t, "g")}},
	} {
		if err := first.journal.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	path = "/api/v1/sessions/" + node.String() + "/events"
	if got, _ := kinds(second, ""); !slices.Equal(got, []string{"1:node_started"}) {
		t.Errorf("of a node: %v", got)
	}
	path = "/api/v1/sessions/" + late.String() + "/events"
	if got, list := kinds(second, ""); !slices.Equal(got, []string{"5:left"}) || !list.Truncated {
		t.Errorf("without a beginning: %v, %+v", got, list)
	}
}
