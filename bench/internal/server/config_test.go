package server

import (
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// TestTOML reads the file back with a TOML library.
func TestTOML(t *testing.T) {
	c := Config{
		Public: "127.0.0.1:1", Internal: "127.0.0.1:2", Secret: `with "quotes" and \`, NATS: "nats://127.0.0.1:4222",
		Settings: map[string]string{"limits.write_timeout": `"2s"`, "limits.outbox_bytes": "65536", "listen.defer_accept": `"1s"`},
	}
	type credential struct{ From, Name, Scheme, Prefix, Verifier string }
	var got struct {
		Listen struct {
			Public, Internal string
			DeferAccept      string `toml:"defer_accept"`
		}
		NATS     struct{ URL string }
		Limits   map[string]any
		Verifier []struct {
			Name, Kind, Secret string
			Algorithms         []string
		}
		Route []struct {
			Path       string
			Join       []string
			OnMessage  string `toml:"on_message"`
			Credential []credential
		}
	}
	meta, err := toml.Decode(c.TOML(), &got)
	if err != nil {
		t.Fatalf("%v in\n%s", err, c.TOML())
	}
	if rest := meta.Undecoded(); len(rest) > 0 {
		t.Errorf("keys that this test does not know: %v", rest)
	}
	if got.Listen.Public != c.Public || got.Listen.Internal != c.Internal || got.NATS.URL != c.NATS || got.Listen.DeferAccept != "1s" {
		t.Errorf("addresses %+v, NATS %+v", got.Listen, got.NATS)
	}
	if got.Limits["write_timeout"] != "2s" || got.Limits["outbox_bytes"] != int64(65536) || len(got.Limits) != 2 {
		t.Errorf("limits %v", got.Limits)
	}
	if v := got.Verifier; len(v) != 1 || v[0].Secret != c.Secret || v[0].Kind != "jwt" || v[0].Algorithms[0] != "HS256" {
		t.Errorf("verifier %+v", v)
	}
	if len(got.Route) != 1 || got.Route[0].Path != Path || got.Route[0].OnMessage != "broadcast" {
		t.Fatalf("route %+v", got.Route)
	}
	want := []credential{
		{"header", "Authorization", wire.Scheme, "", "jwt"},
		{"query", wire.QueryName, "", "", "jwt"},
		{"cookie", wire.CookieName, "", "", "jwt"},
		{"subprotocol", "", "", wire.ProtocolPrefix, "jwt"},
	}
	for i, w := range want {
		if len(got.Route[0].Credential) != len(want) || got.Route[0].Credential[i] != w {
			t.Fatalf("credentials %+v, want %+v", got.Route[0].Credential, want)
		}
	}
	c.Tables = "[[route]]\npath = \"/more\"\n"
	got.Route, got.Verifier = nil, nil
	if _, err := toml.Decode(c.TOML(), &got); err != nil || len(got.Route) != 2 || got.Route[1].Path != "/more" {
		t.Errorf("with a table more: %v, routes %+v", err, got.Route)
	}
	if c.Settings = nil; c.TOML() == "" {
		t.Error("no file without settings")
	}
}
