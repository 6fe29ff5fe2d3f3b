package config

import (
	"slices"
	"testing"
	"time"
)

func TestChanges(t *testing.T) {
	for name, tt := range map[string]struct {
		change          func(c *Config)
		reload, restart []string
	}{
		"nothing":       {change: func(*Config) {}},
		"a limit":       {change: func(c *Config) { c.Limits.MaxAge = time.Hour }, reload: []string{"limits.max_age"}},
		"other limits":  {change: func(c *Config) { c.Limits.HeadBytes++ }, restart: []string{"limits.head_bytes"}},
		"all of drain":  {change: func(c *Config) { c.Drain = Drain{1, 2, 3} }, reload: []string{"drain.shutdown_delay", "drain.window", "drain.close_rate"}},
		"half of log":   {change: func(c *Config) { c.Log = Log{"debug", "json"} }, reload: []string{"log.level"}, restart: []string{"log.format"}},
		"a new route":   {change: func(c *Config) { c.Routes = append(c.Routes, Route{Path: "/a"}) }, reload: []string{"route"}},
		"inside of one": {change: func(c *Config) { c.Routes[0].Origins = []string{"*"} }, reload: []string{"route"}},
		"a secret":      {change: func(c *Config) { c.Verifiers[0].Secret = "other" }, reload: []string{"verifier"}},
		"an address":    {change: func(c *Config) { c.Listen.Public = "" }, restart: []string{"listen.public"}},
		"a list":        {change: func(c *Config) { c.Listen.TrustedProxies = []string{"::/0"} }, restart: []string{"listen.trusted_proxies"}},
	} {
		fresh := func() *Config {
			c := Default()
			c.Verifiers = []Verifier{{Name: "v", Secret: "one", Require: map[string]any{"a": "b"}}}
			c.Routes = []Route{{Path: "/"}}
			return c
		}
		from, to := fresh(), fresh()
		tt.change(to)
		reload, restart := Changes(from, to)
		if !slices.Equal(reload, tt.reload) || !slices.Equal(restart, tt.restart) {
			t.Errorf("%s: %v and %v, want %v and %v", name, reload, restart, tt.reload, tt.restart)
		}
	}
}

func TestReloadable(t *testing.T) {
	keys := Reloadable()
	for _, want := range []string{"api.keys_file", "limits.accept_rate", "drain.window", "log.level", "verifier", "authorizer", "route"} {
		if !slices.Contains(keys, want) {
			t.Errorf("%s is missing in %v", want, keys)
		}
	}
	for _, not := range []string{"listen.public", "nats.url", "limits.message_bytes", "log.format", "journal.mode"} {
		if slices.Contains(keys, not) {
			t.Errorf("%s is in %v", not, keys)
		}
	}
}
