package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/fairlead-ws/fairlead/bench/internal/peer"
)

// withDjango gives the rig people. each is how many handshakes the peer, which looks nothing up, has done by then for each query
// that it is said to have made.
func withDjango(r *rig, people int, each int64) *Django {
	d := &Django{DSN: "postgres://127.0.0.1:1/django", Secret: "key"}
	for i := range people {
		d.Tokens, d.Cookies = append(d.Tokens, fmt.Sprintf("token%d", i)), append(d.Cookies, fmt.Sprintf("cookie%d", i))
	}
	d.Queries = func(context.Context, string) (n int64, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, p := range r.peers {
			n += p.Opened()
		}
		return n / each, nil
	}
	d.Revoke = func(_ context.Context, tokens []string) error { r.peer.Revoke(tokens); return nil }
	r.Django = func(context.Context) (*Django, error) { return d, nil }
	return d
}

func TestAuth(t *testing.T) {
	r := newRig(t, peer.Config{Any: true})
	withDjango(r, 100, 1)
	r.Channels = func(ctx context.Context, server string) (*Target, error) { return r.Server(ctx, Setup{}) }
	cold := "drf_token, cold"
	o := Auth{
		Connections: 20, Rounds: 2, Window: 8, Gentle: 10, Peers: []string{"daphne"},
		Cases: []string{"HS256", "RS256", "ES256", "RS256, JWKS", cold, cold + ", one by one", "django_session, cold", "ticket"},
	}
	all, err := o.Run(t.Context(), r.Bench)
	if err != nil {
		t.Fatal(err)
	}
	trials := map[string]bool{}
	for _, f := range all {
		trials[f.Trial] = true
		switch {
		case f.Name == "server CPU per handshake" && (f.Value <= 0 || len(f.Samples) != o.Rounds || (f.Met != nil) != (f.Trial == "auth, HS256")):
			t.Errorf("figure %+v", f)
		case f.Name == "look-ups per handshake" && f.Value != 1:
			t.Errorf("figure %+v", f)
		case f.Name == "times what it costs here, cold" && f.Value <= 0:
			t.Errorf("figure %+v", f)
		}
	}
	for _, c := range o.Cases {
		if !trials["auth, "+c] {
			t.Errorf("no figure of %s", c)
		}
	}
	for _, word := range []string{"drf_token", "django_session"} {
		if name := "auth, " + word + ", Channels on daphne"; !trials[name] || !slices.ContainsFunc(all, byTrial(name, "times what it costs here, cold")) {
			t.Errorf("%s is not compared", name)
		}
	}
	if want := len(o.Cases) + 1; r.stops != want {
		t.Errorf("%d servers were stopped, of %d", r.stops, want)
	}
}

// TestAuthGoesOn has servers that are not what the cases are about: what can be measured is measured all the same.
func TestAuthGoesOn(t *testing.T) {
	r := newRig(t, peer.Config{Any: true})
	withDjango(r, 60, 1)
	o := Auth{Connections: 10, Rounds: 2, Window: 4, Gentle: 10, Peers: []string{"daphne"}, Cases: []string{"HS256", "drf_token, cached", "callback, cold"}}
	r.Channels = func(context.Context, string) (*Target, error) { return nil, errors.New("no Channels today") }
	all, err := o.Run(t.Context(), r.Bench)
	if err == nil || len(all) == 0 {
		t.Fatalf("%v with %d figures", err, len(all))
	}
	for _, want := range []string{
		"drf_token, cached: 20 look-ups for 20 handshakes with the same credentials", "callback, cold: nothing was looked up",
		"channels on daphne: no Channels today",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	for _, f := range all {
		if f.Trial != "auth, HS256" {
			t.Errorf("figure %+v of what was not measured", f)
		}
	}
	withDjango(r, 5, 1)
	o.Cases = []string{"drf_token, cold"}
	if _, err := o.Run(t.Context(), r.Bench); err == nil || !strings.Contains(err.Error(), "5 users, too few for 30") {
		t.Errorf("too few people: %v", err)
	}
}

// TestAuthTables reads the tables of each case as a TOML library does.
func TestAuthTables(t *testing.T) {
	r := newRig(t, peer.Config{})
	withDjango(r, 60, 1)
	var tables []string
	r.Server = func(_ context.Context, setup Setup) (*Target, error) {
		tables = append(tables, setup.Tables)
		return nil, errors.New("no server today")
	}
	names := AuthCases()
	_, err := (Auth{Connections: 4, Rounds: 1, Window: 2}).Run(t.Context(), r.Bench)
	if err == nil || len(tables) != len(names) {
		t.Fatalf("%v with %d servers for %d cases", err, len(tables), len(names))
	}
	for i, name := range names {
		var got struct {
			Verifier []map[string]any
			Route    []struct{ Path string }
		}
		if _, err := toml.Decode(tables[i], &got); err != nil || len(got.Verifier) != 1 || len(got.Route) != 1 {
			t.Errorf("%s: %v in %q", name, err, tables[i])
			continue
		}
		if v := got.Verifier[0]; v["name"] != "measured" || v["kind"] == "" || got.Route[0].Path != "/auth/{group}" {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func TestStorm(t *testing.T) {
	r := newRig(t, peer.Config{Any: true})
	withDjango(r, 60, 10)
	all, err := (Storm{Connections: 60, Window: 64, Queries: 5}).Run(t.Context(), r.Bench)
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(all, byTrial("storm, cold", "queries of tokens")); i < 0 || all[i].Value != 6 || !all[i].Missed() {
		t.Errorf("6 queries, want at most 5: %+v", all)
	}
	if i := slices.IndexFunc(all, byTrial("storm, again", "queries of tokens")); i < 0 || all[i].Value != 6 || !all[i].Missed() {
		t.Errorf("figures %+v", all)
	}
	withDjango(r, 60, 1<<40)
	if _, err := (Storm{Connections: 60, Window: 64}).Run(t.Context(), r.Bench); err == nil || !strings.Contains(err.Error(), "without a query") {
		t.Errorf("nothing is looked up: %v", err)
	}
}

func TestRecheck(t *testing.T) {
	r := newRig(t, peer.Config{Any: true})
	withDjango(r, 50, 1)
	all, err := (Recheck{Connections: 30, Every: 300 * time.Millisecond, Rest: 10 * time.Millisecond, Revoked: 5, Share: 2}).Run(t.Context(), r.Bench)
	if err != nil || r.stops != 2 {
		t.Fatalf("%v; %d servers were stopped, of 2", err, r.stops)
	}
	got := byName(all)
	want(t, got, "connections of deleted tokens ended in time", 5, 5)
	want(t, got, "other connections lost", 0, 0)
	want(t, got, "rechecks", 1, 5/0.3)
	if !strings.Contains(r.tables, `recheck = "300ms"`) || r.settings["limits.ping_interval"] != noPings {
		t.Errorf("settings %v, tables %s", r.settings, r.tables)
	}
	d := withDjango(r, 50, 1)
	d.Revoke = func(context.Context, []string) error { return nil }
	o := Recheck{Connections: 3, Every: time.Millisecond, Revoked: 1}
	if _, err := o.Run(t.Context(), r.Bench); err == nil || !strings.Contains(err.Error(), "no recheck") {
		t.Errorf("a server that does not look again: %v", err)
	}
}
