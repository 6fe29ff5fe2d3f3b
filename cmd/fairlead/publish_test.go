package main

import (
	"context"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// natsServer is a NATS that asks for a user and a password, and a subscription to all that comes.
func natsServer(t *testing.T) (url string, sub *nats.Subscription) {
	t.Helper()
	e, err := bus.StartEmbedded(bus.EmbeddedConfig{
		Listen: "127.0.0.1:0", User: "u", Password: "hidden", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	nc, err := nats.Connect(e.URL(), nats.UserInfo("u", "hidden"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if sub, err = nc.SubscribeSync(">"); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return e.URL(), sub
}

func TestPublish(t *testing.T) {
	url, sub := natsServer(t)
	user := []string{"FAIRLEAD_NATS_USER=u", "FAIRLEAD_NATS_PASSWORD=hidden"}
	file := writeFile(t, "fairlead.toml", "[nats]\nurl = \""+url+"\"\ncluster = \"other\"\n")
	for name, tt := range map[string]struct {
		stdin, subject, data, kind string
		args                       []string
	}{
		"url":     {args: []string{"--nats-url", url, "app.1", "grüße"}, subject: "fl.fairlead.g.app~1", data: "grüße"},
		"config":  {args: []string{"--config", file, "a", "x"}, subject: "fl.other.g.a", data: "x"},
		"cluster": {args: []string{"--config", file, "--cluster", "third", "a", "x"}, subject: "fl.third.g.a", data: "x"},
		"stdin":   {args: []string{"--nats-url", url, "a", "-"}, stdin: "two\nlines\n", subject: "fl.fairlead.g.a", data: "two\nlines\n"},
		"binary":  {args: []string{"--nats-url", url, "--binary", "a", ""}, subject: "fl.fairlead.g.a", kind: "binary"},
		"dev":     {args: []string{"--dev", "--nats-url", url, "a", "x"}, subject: "fl.fairlead.g.a", data: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			got := fairlead(t, tt.stdin, user, append([]string{"publish"}, tt.args...)...)
			if got.code != 0 || !strings.HasSuffix(got.stderr, " bytes to "+tt.subject+"\n") || got.stdout != "" {
				t.Errorf("exit code %d, %q, %q", got.code, got.stderr, got.stdout)
			}
			m, err := sub.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if m.Subject != tt.subject || string(m.Data) != tt.data || m.Header.Get("Fairlead-Type") != tt.kind {
				t.Errorf("got %q on %s, type %q", m.Data, m.Subject, m.Header.Get("Fairlead-Type"))
			}
		})
	}
}

func TestPublishFails(t *testing.T) {
	url, _ := natsServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"embedded":  {[]string{"a", "x"}, exitFailed, "there is no NATS to publish to: the configuration has no nats.url"},
		"group":     {[]string{"--dev", "a*", "x"}, exitUsage, `invalid group name: "a*" has '*'`},
		"cluster":   {[]string{"--dev", "--cluster", "a.b", "a", "x"}, exitFailed, "flag --cluster: nats.cluster: invalid cluster name"},
		"url":       {[]string{"--nats-url", "http://u:hidden@h", "a", "x"}, exitFailed, "flag --nats-url: nats.url: want URLs like nats://HOST:4222"},
		"nobody":    {[]string{"--nats-url", "nats://u:hidden@" + nobody, "a", "x"}, exitFailed, "cannot reach NATS at nats://" + nobody + ": "},
		"user":      {[]string{"--nats-url", url, "a", "x"}, exitFailed, "Authorization Violation"},
		"too large": {[]string{"--nats-url", strings.Replace(url, "//", "//u:hidden@", 1), "a", strings.Repeat("x", 1<<20+1)}, exitFailed, "NATS does not take the message"},
	} {
		t.Run(name, func(t *testing.T) {
			got := fairlead(t, "", nil, append([]string{"publish"}, tt.args...)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.want) || strings.Contains(got.stderr, "hidden") {
				t.Errorf("exit code %d, %q; want %d, %q", got.code, got.stderr, tt.code, tt.want)
			}
		})
	}
}

func TestNATSAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"": "", "127.0.0.1:1": "nats://127.0.0.1:1", ":2": "nats://127.0.0.1:2", "0.0.0.0:3": "nats://127.0.0.1:3",
		"[::]:4": "nats://127.0.0.1:4", "host:5": "nats://host:5",
	} {
		c := config.Default()
		c.NATS.Listen = listen
		if got := natsAddress(c); got != want {
			t.Errorf("natsAddress with listen %q is %q, want %q", listen, got, want)
		}
	}
}

// publishOutside publishes a text to a group, as any program that has github.com/nats-io/nats.go can.
func publishOutside(url, group, text string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.Publish("fl.fairlead.g."+strings.ReplaceAll(group, ".", "~"), []byte(text)); err != nil {
		return err
	}
	return nc.Flush() // Publish only queues it: without this, a program that ends at once says nothing
}

// TestPublishOutside: the function that docs/publish.md shows has published when it returns.
func TestPublishOutside(t *testing.T) {
	s := startServe(t, nil, "--dev", "--nats-listen", "127.0.0.1:0")
	eventually(t, has(s.stdout, "Ctrl-C stops."))
	url := regexp.MustCompile(`publish --nats-url '?([^' ]+)'? `).FindStringSubmatch(s.stdout.String())
	token := regexp.MustCompile(`\?token=([^']+)`).FindStringSubmatch(s.stdout.String())
	if url == nil || token == nil {
		t.Fatalf("the guide is %s", s.stdout)
	}
	member := greeted(t, "ws://"+s.public+"/ws/room.7?token="+token[1])
	if err := publishOutside(url[1], "room.7", "hello"); err != nil {
		t.Fatal(err)
	}
	member.want("hello")
}
