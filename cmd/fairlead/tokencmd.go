package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
	"github.com/fairlead-ws/fairlead/session"
)

type tokenCmd struct {
	Issue tokenIssueCmd `cmd:"" help:"Print a new token."`
	Check tokenCheckCmd `cmd:"" help:"Say whether a token is good, whose it is, and why not. Exit code 1 if it is not."`
}

// Help implements [kong.HelpProvider].
func (tokenCmd) Help() string {
	return `Both use a [[verifier]] of kind jwt in the configuration. A token opens doors: give it to check on standard input, since
other users of the machine can see command lines.

Examples:

    fairlead token issue --config fairlead.toml --subject 1 --group 'app_*' --ttl 15m
    fairlead token issue --config fairlead.toml --subject 1 | fairlead token check --config fairlead.toml`
}

// jwtFlags choose a verifier.
type jwtFlags struct {
	configFile
	Verifier string `placeholder:"NAME" help:"The verifier whose key is used. Needed where there are several of kind jwt."`
}

// load returns the configuration and the index of the chosen verifier.
func (f jwtFlags) load(c *console) (*config.Loaded, int, error) {
	l, err := f.configFile.load(c)
	if err != nil {
		return nil, 0, err
	}
	all := l.JWTVerifiers()
	switch {
	case len(all) == 0:
		return nil, 0, errors.New("the configuration has no verifier of kind jwt, so there is no key; give one with --config FILE")
	case f.Verifier == "" && len(all) > 1:
		return nil, 0, fmt.Errorf("there are several verifiers of kind jwt; choose one with --verifier: %s", strings.Join(all, ", "))
	case f.Verifier == "":
		return l, l.VerifierIndex(all[0]), nil
	}
	i := l.VerifierIndex(f.Verifier)
	if i < 0 || l.Verifiers[i].Kind != config.KindJWT {
		return nil, 0, fmt.Errorf("no verifier of kind jwt is called %q; there is %s", f.Verifier, strings.Join(all, ", "))
	}
	return l, i, nil
}

type tokenIssueCmd struct {
	jwtFlags
	Subject string            `required:"" help:"Who it is for: the user's primary key."`
	Name    string            `help:"The user's name."`
	Group   []string          `placeholder:"GROUP" help:"A group that the token allows, or with * at the end all that begin so. May be given several times."`
	TTL     time.Duration     `default:"1h" placeholder:"1h" help:"How long it is good. 0: for ever, where the configuration allows that."`
	Claim   map[string]string `placeholder:"NAME=TEXT" mapsep:"none" help:"A further claim. May be given several times."`
	KeyFile string            `placeholder:"FILE" help:"Private key (PEM) to sign with, where the configuration has only the public one."`
	KeyID   string            `name:"kid" placeholder:"ID" help:"Which key of the issuer that is, where the configuration has them fetched."`
}

// Run prints the token, and nothing else, on standard output.
func (cmd tokenIssueCmd) Run(c *console) error {
	l, i, err := cmd.load(c)
	if err != nil {
		return err
	}
	ic := authn.IssuerConfig{KeyID: cmd.KeyID}
	if ic.JWT, err = jwtConfig(&l.Verifiers[i]); err != nil {
		return l.At(fmt.Sprintf("verifier[%d].public_key_file", i), err)
	}
	if cmd.KeyFile != "" {
		if ic.PrivateKey, err = os.ReadFile(cmd.KeyFile); err != nil {
			return err
		}
	} else if len(ic.JWT.Secret) == 0 {
		if ic.JWT.JWKSURL != "" || ic.JWT.Discover {
			return errors.New("the configuration only fetches public keys; give the private one with --key-file FILE, and its id with --kid ID")
		}
		return errors.New("the configuration has only the public key; give the private one with --key-file FILE")
	}
	issuer, err := authn.NewIssuer(ic)
	if err != nil {
		return l.At(fmt.Sprintf("verifier[%d]", i), err)
	}
	if cmd.TTL == 0 && l.Verifiers[i].RequireExpiry {
		return &exitError{exitUsage, fmt.Errorf("--ttl 0 makes a token that never expires, which %s refuses (require_expiry)", l.Verifiers[i].Name)}
	}
	claims := map[string]any{}
	for name, value := range cmd.Claim {
		claims[name] = value
	}
	token, err := issuer.Issue(authn.IssueParams{Subject: cmd.Subject, Name: cmd.Name, Groups: cmd.Group, TTL: cmd.TTL, Claims: claims})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, token)
	return err
}

type tokenCheckCmd struct {
	jwtFlags
	Token string `arg:"" optional:"" help:"The token. Else it is read from standard input."`
}

// Run prints the token's header and claims, and the verifier's decision. It never prints the token.
func (cmd tokenCheckCmd) Run(ctx context.Context, c *console) error {
	l, i, err := cmd.load(c)
	if err != nil {
		return err
	}
	jc, err := jwtConfig(&l.Verifiers[i])
	if err != nil {
		return l.At(fmt.Sprintf("verifier[%d].public_key_file", i), err)
	}
	if v := &l.Verifiers[i]; v.Users != "" {
		users, err := jwtUsers(ctx, v, nil, nil)
		if err != nil {
			return l.At(fmt.Sprintf("verifier[%d].users", i), err)
		}
		defer users.Close()
		jc.Users = users
	}
	verifier, err := authn.NewJWT(jc)
	if err != nil {
		return l.At(fmt.Sprintf("verifier[%d]", i), err)
	}
	defer verifier.Close()
	token := cmd.Token
	if token == "" || token == "-" {
		if token, err = readToken(c.stdin); err != nil {
			return err
		}
	}
	showToken(c.stdout, token)
	id, err := verifier.Verify(ctx, authn.Credential{Value: []byte(token)})
	if err == nil {
		showIdentity(c.stdout, id)
		return nil
	}
	reason := authn.Reason("unknown")
	if e, ok := errors.AsType[*authn.Error](err); ok {
		reason = e.Reason
	}
	fmt.Fprintf(c.stdout, "decision  refused by %s: %s\n", l.Verifiers[i].Name, reason)
	return err
}

// readToken reads what a pipe or a paste brings: one line, perhaps with spaces around.
func readToken(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, authn.MaxJWT+256))
	if err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", errors.New("there is no token: give it on standard input or as an argument")
	}
	return token, nil
}

// showToken prints what the token says of itself, which nobody has verified yet, and leaves out the signature.
func showToken(w io.Writer, token string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return
	}
	for i, name := range []string{"header   ", "claims   "} {
		var text bytes.Buffer
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Compact(&text, b) != nil {
			fmt.Fprintf(w, "%s is no JSON\n", name)
			continue
		}
		fmt.Fprintf(w, "%s %s\n", name, inLine(text.String()))
	}
}

func showIdentity(w io.Writer, id *session.Identity) {
	fmt.Fprintf(w, "decision  accepted by %s\nsubject   %q\n", id.Source, id.Subject)
	if id.Name != "" {
		fmt.Fprintf(w, "name      %q\n", id.Name)
	}
	if id.Grants != nil {
		fmt.Fprintf(w, "groups    %q\n", id.Grants)
	}
	if id.Expires.IsZero() {
		fmt.Fprintln(w, "expires   never")
	} else {
		fmt.Fprintf(w, "expires   %s, in %v\n", id.Expires.UTC().Format(time.RFC3339), time.Until(id.Expires).Round(time.Second))
	}
}
