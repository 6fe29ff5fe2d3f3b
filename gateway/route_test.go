package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// open is a route that lets everyone in.
func open(path, category string, join ...string) Route {
	return Route{Path: path, Category: category, Join: join, AllowAnonymous: true}
}

func TestNewRoutesErrors(t *testing.T) {
	bearer, err := authn.NewSubprotocol("bearer.")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authn.NewChain(authn.Source{Extractor: bearer, Verifier: verifierFunc(nil)})
	if err != nil {
		t.Fatal(err)
	}
	grant, err := authn.NewSubprotocol("grant.")
	if err != nil {
		t.Fatal(err)
	}
	signedValue, err := authn.NewSigned(authn.SignedConfig{Format: authn.FormatHMAC, Secret: strings.Repeat("a secret", 4), Value: grant})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		routes []Route
	}{
		{"no routes", nil},
		{`route 1, "ws": a path begins`, []Route{open("ws", "")}},
		{`route 2, "/b": join "{group}": {group} is no parameter of the path, which has none`, []Route{open("/a", ""), open("/b", "", "{group}")}},
		{"it has {room}, {group}, {group.category}, {group.id}", []Route{open("/{room}/{group}", "", "{rooms}")}},
		{"{group.id} is no parameter", []Route{open("/{room}", "", "{group.id}")}},
		{"brace stands alone", []Route{open("/{room}", "", "chat_{room")}},
		{"brace stands alone", []Route{open("/{room}", "", "chat_room}")}},
		{"it is empty", []Route{open("/{room}", "", "")}},
		{"invalid group name", []Route{open("/{room}", "", "chat {room}")}},
		{"invalid group name", []Route{open("/", "", strings.Repeat("x", 100))}},
		{"a category is that of {group}", []Route{open("/{room}", "app")}},
		{`category "a b"`, []Route{open("/{group}", "a b")}},
		{"match the same paths", []Route{open("/a/{x}", ""), open("/a/{y}/", "")}},
		{"match the same paths", []Route{open("/{group}", "app"), open("/{group}", "app")}},
		{"neither is the narrower one", []Route{open("/a/{x}", ""), open("/{x}/b", "")}},
		{"neither is the narrower one", []Route{open("/a/{group}", "app"), open("/{group}/b", "room")}},
		{"nobody may come in", []Route{{Path: "/"}}},
		{"this route joins none", []Route{{Path: "/", AllowAnonymous: true, Authorizer: authn.NewGrants("")}}},
		{`"a b" cannot be a subprotocol`, []Route{{Path: "/", AllowAnonymous: true, Protocols: []string{"a b"}}}},
		{`"a" is there twice`, []Route{{Path: "/", AllowAnonymous: true, Protocols: []string{"a", "b", "a"}}}},
		{`behind which clients send credentials`, []Route{{Path: "/", Chain: chain, Protocols: []string{"bearer.v1"}}}},
		{`behind which clients send credentials`, []Route{{Path: "/{group}", Join: []string{"{group}"}, Chain: chain, Authorizer: signedValue, Protocols: []string{"grant.v1"}}}},
	} {
		if _, err := newRoutes(c.routes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
}

// The route is the narrowest that matches, in whatever order they are configured.
func TestRoutesFind(t *testing.T) {
	list := []Route{
		open("/ws/{group}", "", "{group}"),
		open("/ws/{group}", "app", "{group}"),
		open("/ws/{group}", "chat.room", "{group}"),
		open("/ws/lobby", "", "lobby"),
		open("/only/{group}", "app", "{group}"),
		open("/x/{rest...}", ""),
		open("/x/{a}", ""),
		open("/x/{a}/y", ""),
		open("/", "", "root"),
	}
	for shift := range list {
		table, err := newRoutes(append(list[shift:len(list):len(list)], list[:shift]...))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ path, want string }{
			{"/", "/ []"},
			{"/ws/lobby", "/ws/lobby []"},
			{"/ws/lobby/", "/ws/lobby []"},
			{"/ws/app_1", "/ws/{group} app [app_1]"},
			{"/ws/chat.room_1", "/ws/{group} chat.room [chat.room_1]"},
			{"/ws/my_app_1", "/ws/{group} [my_app_1]"},
			{"/ws/app_", "/ws/{group} [app_]"},
			{"/ws/_1", "/ws/{group} [_1]"},
			{"/ws/app", "/ws/{group} [app]"},
			{"/only/app_1", "/only/{group} app [app_1]"},
			{"/only/app_a_1", errNoRoute.Error()},
			{"/only/room_1", errNoRoute.Error()},
			{"/only/app", errNoRoute.Error()},
			{"/x", "/x/{rest...} []"},
			{"/x/1", "/x/{a} [1]"},
			{"/x/1/y", "/x/{a}/y [1]"},
			{"/x/1/z", "/x/{rest...} [1/z]"},
			{"/x//", "/x/{rest...} []"},
			{"/unknown", errNoRoute.Error()},
			{"/ws", errNoRoute.Error()},
			{"/ws/a%20b", errGroup.Error()},
			{"/only/app_%C3%A9", errGroup.Error()},
			{"/ws/" + strings.Repeat("x", 100), errGroup.Error()},
			{"/ws/a%2Fb", errPathByte.Error()},
		} {
			var m match
			var got string
			if err := table.find([]byte(c.path), &m); err != nil {
				got = err.Error()
			} else {
				got = strings.ReplaceAll(fmt.Sprint(m.route.Path, " ", m.route.Category, " ", m.values), "  ", " ")
			}
			if got != c.want {
				t.Errorf("%q: got %s, want %s", c.path, got, c.want)
			}
		}
	}
}

func TestMatchGroups(t *testing.T) {
	for _, c := range []struct {
		pattern string
		join    []string
		path    string
		want    string
	}{
		{"/ws/{group}", []string{"{group}"}, "/ws/app_1234", "[app_1234]"},
		{"/ws/{group}", nil, "/ws/app_1234", "[]"},
		{"/ws/{group}", []string{"{group}", "all.{group.category}", "{group.id}-{group.id}"}, "/ws/my_app_7", "[my_app_7 all.my_app 7-7]"},
		{"/chat/{room}", []string{"chat_{room}", "lobby"}, "/chat/7", "[chat_7 lobby]"},
		{"/{a}/{b}", []string{"{a}", "{b}"}, "/x/x", "[x]"},
		{"/{a}/{b}", []string{"{b}_{a}"}, "/x/y", "[y_x]"},
		{"/f/{rest...}", []string{"f.{rest}"}, "/f/a", "[f.a]"},
		{"/f/{rest...}", []string{"f.{rest}"}, "/f", "[f.]"},
		{"/f/{rest...}", []string{"f.{rest}"}, "/f/a/b", errGroup.Error()},
		{"/f/{rest...}", []string{"{rest}"}, "/f", errGroup.Error()},
		{"/chat/{room}", []string{"chat_{room}"}, "/chat/%2a", errGroup.Error()},
		{"/chat/{room}", []string{"chat_{room}"}, "/chat/" + strings.Repeat("x", 95), errGroup.Error()},
		{"/ws/{group}", []string{"{group.category}"}, "/ws/app", errNoCategory.Error()},
	} {
		table, err := newRoutes([]Route{open(c.pattern, "", c.join...)})
		if err != nil {
			t.Fatal(err)
		}
		var m match
		if err := table.find([]byte(c.path), &m); err != nil {
			t.Fatal(err)
		}
		groups, err := m.groups()
		got := fmt.Sprint(groups)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q joining %q on %q: got %s, want %s", c.pattern, c.join, c.path, got, c.want)
		}
	}
}

// The group that the authorizer reads from the parameters is the one that it is asked about, whatever the path says.
func TestMatchParamsFor(t *testing.T) {
	table, err := newRoutes([]Route{open("/{tenant}/{group}/{room}", "", "{group}", "room_{room}", "lobby")})
	if err != nil {
		t.Fatal(err)
	}
	var m match
	if err := table.find([]byte("/acme/app_1/9"), &m); err != nil {
		t.Fatal(err)
	}
	groups, err := m.groups()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range groups {
		got = append(got, fmt.Sprint(m.paramsFor(g)))
	}
	want := []string{
		"[{tenant acme} {room 9} {group app_1} {group.category app} {group.id 1}]",
		"[{tenant acme} {room 9} {group room_9} {group.category room} {group.id 9}]",
		"[{tenant acme} {room 9} {group lobby}]",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMatchIsForgotten(t *testing.T) {
	table, err := newRoutes([]Route{open("/{tenant}/{group}", "", "{group}"), open("/", "", "root")})
	if err != nil {
		t.Fatal(err)
	}
	var m match
	if err := table.find([]byte("/acme/app_1"), &m); err != nil {
		t.Fatal(err)
	}
	m.reset()
	if m.route != nil || m.group != (session.Group{}) || len(m.values)+len(m.segments)+len(m.params) > 0 {
		t.Errorf("reset left %+v", m)
	}
	if s := m.segments[:1]; s[0] != nil {
		t.Errorf("a segment of the last path is still held: %q", s)
	}
	if err := table.find([]byte("/"), &m); err != nil || m.group != (session.Group{}) || len(m.values) > 0 {
		t.Errorf("the root has %v and %q of the path before, err %v", m.group, m.values, err)
	}
}

func TestSelectProtocol(t *testing.T) {
	for _, c := range []struct {
		spoken, offered, want string
	}{
		{"chat.v1 chat.v2", "chat.v2 chat.v1", "chat.v2"},
		{"chat.v1", "bearer.TOKEN chat.v1", "chat.v1"},
		{"chat.v1", "bearer.TOKEN", ""},
		{"chat.v1", "CHAT.V1", ""},
		{"chat.v1", "", ""},
		{"", "chat.v1", ""},
	} {
		r := route{Route: Route{Protocols: strings.Fields(c.spoken)}}
		var offered [][]byte
		for _, o := range strings.Fields(c.offered) {
			offered = append(offered, []byte(o))
		}
		if got := r.selectProtocol(offered); got != c.want {
			t.Errorf("of %q offered to a route with %q, %q is selected, want %q", c.offered, c.spoken, got, c.want)
		}
	}
}

// FuzzPath holds that a path never panics the router and never makes a group that is none.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/ws/app_1", "/ws/app%5f1/", "/f/a//b", "/a%2fb", "/%00", "//", "/ws/%ff"} {
		f.Add(s)
	}
	table, err := newRoutes([]Route{
		open("/ws/{group}", "app", "{group}", "{group.id}"), open("/ws/{group}", "", "{group}"),
		open("/f/{rest...}", "", "f.{rest}"), open("/g/{a}/{b}", "", "{a}_{b}"), open("/", "", "root"),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || !isEscaped([]byte(path)) {
			return // the parser lets no such path through
		}
		var m match
		if err := table.find([]byte(path), &m); err != nil {
			return
		}
		groups, err := m.groups()
		if err != nil {
			return
		}
		for _, g := range groups {
			if _, err := session.ParseGroup(g.String()); err != nil {
				t.Fatalf("%q joins %v", path, err)
			}
			if v, _ := m.paramsFor(g).Get("group"); v != g.String() {
				t.Fatalf("asked about %v, the parameters say %q", g, v)
			}
		}
	})
}
