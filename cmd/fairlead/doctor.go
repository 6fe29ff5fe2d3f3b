package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

type doctorCmd struct {
	configFile
	Dev     bool          `help:"Look at what serve --dev needs."`
	Output  string        `short:"o" enum:"text,json" default:"text" help:"text for people, json for programs."`
	Timeout time.Duration `default:"10s" help:"For each thing that is asked over the network."`
}

// Help implements [kong.HelpProvider].
func (doctorCmd) Help() string {
	return `Run it where the node runs, as the user that it runs as, before the first start and when something is odd. It looks at
the configuration, the limits of the process and of the kernel, NATS and JetStream, the databases, keys and certificates, the
clock, and the node's own answer if one runs. It changes nothing. Exit code 1 when something is wrong; a warning alone is 0.

Examples:

    fairlead doctor --config fairlead.toml
    fairlead doctor --config fairlead.toml -o json`
}

// verdict is how bad a finding is.
type verdict string

const (
	fine  verdict = "ok"
	warns verdict = "warn"
	fails verdict = "fail"
)

// finding is one thing that was looked at.
type finding struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Found   string  `json:"found"`
	Advice  string  `json:"advice,omitempty"` // what to change
}

// diagnosis is what doctor prints for programs.
type diagnosis struct {
	OK       bool      `json:"ok"` // nothing is wrong; there may be warnings
	Findings []finding `json:"findings"`
}

// doctor looks at one node's surroundings.
type doctor struct {
	config  *config.Loaded
	parts   *assembly // nil: the configuration has mistakes
	timeout time.Duration
	system  string // the folder of the kernel's settings
	now     func() time.Time

	diagnosis diagnosis
}

func (d *doctor) note(check string, v verdict, found, advice string) {
	d.diagnosis.Findings = append(d.diagnosis.Findings, finding{check, v, inLine(strings.ReplaceAll(found, "\n", "; ")), advice})
}

// Run looks at everything and prints what it found.
func (cmd doctorCmd) Run(ctx context.Context, c *console) error {
	d := &doctor{timeout: cmd.Timeout, system: "/proc/sys", now: time.Now, diagnosis: diagnosis{Findings: []finding{}}}
	cmd.examine(ctx, c, d)
	d.diagnosis.OK = true
	for _, f := range d.diagnosis.Findings {
		d.diagnosis.OK = d.diagnosis.OK && f.Verdict != fails
	}
	var err error
	if cmd.Output == "json" {
		err = printJSON(c.stdout, d.diagnosis)
	} else {
		err = d.diagnosis.print(c.stdout)
	}
	if err == nil && !d.diagnosis.OK {
		err = &exitError{code: exitFailed}
	}
	return err
}

func (cmd doctorCmd) examine(ctx context.Context, c *console, d *doctor) {
	l, err := serveCmd{configFile: cmd.configFile, Dev: cmd.Dev}.load(c)
	if err == nil {
		d.config = l
		d.parts, err = assemble(ctx, l, nil, quiet(), nil)
	}
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			d.note("configuration", fails, line, "mend it; `fairlead config check` says the same")
		}
	} else {
		d.note("configuration", fine, fmt.Sprintf("%d routes, %d verifiers, %d authorizers", len(l.Routes), len(l.Verifiers), len(l.Authorizers)), "")
		defer d.parts.Close()
	}
	if d.config == nil { // the machine can be looked at nevertheless
		d.config = &config.Loaded{Config: config.Default()}
	}
	d.machine()
	d.clock()
	if d.parts == nil {
		return // what is not configured well cannot be asked
	}
	d.files()
	d.databases(ctx)
	d.nats(ctx)
	d.node(ctx)
}

// print prints the findings for people.
func (g *diagnosis) print(w io.Writer) error {
	var b strings.Builder
	count := map[verdict]int{}
	for _, f := range g.Findings {
		count[f.Verdict]++
		fmt.Fprintf(&b, "%-4s  %s: %s\n", f.Verdict, f.Check, f.Found)
		if f.Advice != "" {
			fmt.Fprintf(&b, "      %s\n", f.Advice)
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d to look at, %d wrong\n", count[fine], count[warns], count[fails])
	_, err := io.WriteString(w, b.String())
	return err
}

// files looks at the files that hold secrets, and at the certificate.
func (d *doctor) files() {
	l := d.config
	secrets := map[string]string{"nats.password_file": l.NATS.PasswordFile, "nats.creds": l.NATS.Creds, "nats.tls_key": l.NATS.TLSKey, "tls.key": l.TLS.Key, "api.keys_file": l.API.KeysFile, "session.secret_file": l.Session.SecretFile}
	for i, v := range l.Verifiers {
		secrets[fmt.Sprintf("verifier[%d].secret_file", i)] = v.SecretFile
		secrets[fmt.Sprintf("verifier[%d].secret_fallbacks_file", i)] = v.SecretFallbacksFile
		secrets[fmt.Sprintf("verifier[%d].users_file", i)] = v.UsersFile
		secrets[fmt.Sprintf("verifier[%d].dsn_file", i)] = v.DSNFile
	}
	for i, a := range l.Authorizers {
		secrets[fmt.Sprintf("authorizer[%d].secret_file", i)] = a.SecretFile
		secrets[fmt.Sprintf("authorizer[%d].secret_fallbacks_file", i)] = a.SecretFallbacksFile
		secrets[fmt.Sprintf("authorizer[%d].dsn_file", i)] = a.DSNFile
	}
	for _, key := range sortedNames(secrets) {
		if file := secrets[key]; file != "" {
			d.secretFile(key, file)
		}
	}
	d.certificate()
	switch keys := len(d.parts.apiKeys); {
	case keys > 0:
		d.note("API keys", fine, fmt.Sprintf("%d in %s", keys, l.API.KeysFile), "")
	case !onLoopback(l.Listen.Internal):
		d.note("API keys", warns, "there are none, and other machines can reach listen.internal: the API answers nobody",
			"set api.keys_file, or listen.internal to 127.0.0.1:PORT")
	default:
		d.note("API keys", fine, "none: only this machine may ask", "")
	}
}

func (d *doctor) secretFile(key, file string) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		d.note(key, fails, err.Error(), "let the node's user read it")
	case info.Mode().Perm()&0o007 != 0:
		d.note(key, warns, fmt.Sprintf("%s can be read by everybody on this machine (mode %04o)", file, info.Mode().Perm()), "chmod 640 "+shellQuote(file))
	default:
		d.note(key, fine, fmt.Sprintf("%s has mode %04o", file, info.Mode().Perm()), "")
	}
}

// certificateSoon is how long before its end a certificate is worth a warning.
const certificateSoon = 14 * 24 * time.Hour

func (d *doctor) certificate() {
	if d.parts.certificate == nil {
		d.note("TLS", fine, "off: plain TCP, for a balancer in front", "")
		return
	}
	_, end := d.parts.certificate.Validity()
	err := d.parts.checkValidity(d.config, d.now())
	switch left := end.Sub(d.now()); {
	case err != nil:
		d.note("TLS", fails, err.Error(), "")
	case left < certificateSoon:
		d.note("TLS", warns, fmt.Sprintf("the certificate ends in %s", ago(end, d.now())), "put a new one in its place; it is taken up without a restart")
	default:
		d.note("TLS", fine, "the certificate is good until "+end.UTC().Format(time.DateOnly), "")
	}
}

// databases asks each database and each application what a handshake would, and each issuer for its keys.
func (d *doctor) databases(ctx context.Context) {
	type checker interface{ Check(context.Context) error }
	ask := func(kind, name string, part any) {
		what := kind + " " + name
		c, ok := part.(checker)
		if !ok { // it asks nobody
			return
		}
		if v, ok := part.(*authn.JWT); ok {
			if !v.Asks() {
				return
			}
			if v.PlainKeys() {
				d.note(what, warns, "its keys come over http: whoever can change them on the way can be anybody", "take the https URL of the issuer")
			}
		}
		ctx, cancel := context.WithTimeout(ctx, d.timeout)
		defer cancel()
		start := time.Now()
		if err := c.Check(ctx); err != nil {
			verdict, advice := fails, "until it answers, handshakes that need it are refused with 503"
			switch {
			case errors.Is(err, authn.ErrKnowsEverybody):
				advice = "mend the application's view before a route asks it: nobody would be refused"
			case errors.Is(err, authn.ErrAllowsEverybody):
				verdict, advice = warns, "mend the query, unless it is a list of those who may not join"
			}
			d.note(what, verdict, strings.TrimPrefix(err.Error(), name+": "), advice)
			return
		}
		d.note(what, fine, "what it asks answers in "+time.Since(start).Round(100*time.Microsecond).String(), "")
	}
	for _, name := range sortedNames(d.parts.verifiers) {
		ask("verifier", name, d.parts.verifiers[name])
	}
	for _, name := range sortedNames(d.parts.authorizers) {
		ask("authorizer", name, d.parts.authorizers[name])
	}
	for _, l := range d.parts.listeners {
		ctx, cancel := context.WithTimeout(ctx, d.timeout)
		if err := l.Check(ctx); err != nil {
			d.note("listen", fails, err.Error(), "until it tells of changes, what is kept is no older than "+unheardAge.String())
		} else {
			d.note("listen", fine, "PostgreSQL tells of changes", "")
		}
		cancel()
	}
}

// quiet logs nothing: doctor says what it finds.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

var errNoAnswer = errors.New("it does not answer")
