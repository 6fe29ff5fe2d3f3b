package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// What serve --dev listens on: loopback only. The port of its NATS is not 4222, where a real one may be.
const (
	devPublic   = "127.0.0.1:8000"
	devInternal = "127.0.0.1:9000"
	devNATS     = "127.0.0.1:14222"
)

const devTokens = 24 * time.Hour // how long the printed tokens are good

// devConfig returns the defaults of serve --dev: an embedded NATS that fairlead publish reaches, and one route, for which
// a secret is made that nobody ever sees.
func devConfig() *config.Config {
	c := config.Default()
	c.Listen.Public, c.Listen.Internal = devPublic, devInternal
	c.NATS.Listen = devNATS
	c.Drain.Window = time.Second
	c.Verifiers = []config.Verifier{{
		Name: "dev", Kind: config.KindJWT, Algorithms: []string{"HS256"}, Secret: rand.Text() + rand.Text(),
		SubjectClaim: "user_id", NameClaim: "username", GroupsClaim: "groups", RequireExpiry: true,
	}}
	c.Routes = []config.Route{{
		Path: "/ws/{group}", Join: []string{"{group}"}, Greet: true, OnMessage: "broadcast",
		NoOrigin: "allow", Anonymous: "refuse", Invalid: "refuse", Subprotocols: []string{"fairlead"},
		Credentials: []config.Credential{
			{From: "header", Name: "Authorization", Scheme: "Bearer", Verifier: "dev"},
			{From: "query", Name: "token", Verifier: "dev"},
			{From: "cookie", Name: "JWT", Verifier: "dev"},
			{From: "subprotocol", Prefix: "bearer.", Verifier: "dev"},
		},
	}}
	return c
}

// guide prints what the developer pastes next.
func guide(c *console, n *node) error {
	text, err := devGuide(n.config.Config, c.program, loopback(n.public.Addr()), loopback(n.internal.Addr()), n.natsURL())
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.stdout, text)
	return err
}

// devGuide returns what the developer pastes next. It is the one text with tokens in it that Fairlead ever writes; it goes
// to standard output, never to the log.
func devGuide(c *config.Config, program, public, internal, natsURL string) (string, error) {
	jc, err := jwtConfig(&c.Verifiers[0])
	if err != nil {
		return "", err
	}
	issuer, err := authn.NewIssuer(authn.IssuerConfig{JWT: jc})
	if err != nil {
		return "", err
	}
	tokens := make([]string, 2)
	for i, name := range []string{"alice", "bob"} {
		p := authn.IssueParams{Subject: fmt.Sprint(i + 1), Name: name, TTL: devTokens}
		if tokens[i], err = issuer.Issue(p); err != nil {
			return "", err
		}
	}
	publish := "--dev"
	if natsURL != "nats://"+devNATS {
		publish = "--nats-url " + shellQuote(withoutUser(natsURL)) // a password is not for the screen
	}
	api := ""
	if internal != devInternal {
		api = " --api http://" + internal
	}
	command, ws := startedAs(program), "ws://"+public+"/ws/demo"
	lines := []string{
		"", "Fairlead is ready. Paste this into a second terminal, then type:", "",
		fmt.Sprintf("    %s connect --token %s %s", command, tokens[0], ws), "",
		"and this into a third. What one sends, both see:", "",
		fmt.Sprintf("    %s connect --token %s %s", command, tokens[1], ws), "",
		"Also worth a try:", "",
		fmt.Sprintf("    %s publish %s demo 'hello from outside'", command, publish),
		fmt.Sprintf("    wscat -c '%s?token=%s'", ws, tokens[0]),
		fmt.Sprintf("    curl -s http://%s/metrics | grep ^fairlead", internal),
		fmt.Sprintf(`    curl --json '{"group": "demo", "data": "hello from curl"}' http://%s/api/v1/publish`, internal),
		fmt.Sprintf("    %s conn ls%s", command, api), "",
		"The tokens are for alice and bob, for a day and for this run only. Ctrl-C stops.", "", "",
	}
	return strings.Join(lines, "\n"), nil
}

// startedAs returns what to type to start this program again: go run keeps its binary in a folder of its own.
func startedAs(program string) string {
	dir := filepath.ToSlash(filepath.Dir(program))
	if strings.Contains(dir, "/go-build") && strings.HasSuffix(dir, "/exe") {
		if _, err := os.Stat("cmd/fairlead/main.go"); err == nil {
			return "go run ./cmd/fairlead"
		}
	}
	if strings.ContainsAny(program, " '\"$\\") {
		return shellQuote(program)
	}
	return program
}

// loopback returns an address that a client on this machine can use for a listener.
func loopback(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}
