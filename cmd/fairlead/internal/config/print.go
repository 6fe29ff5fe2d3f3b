package config

import (
	"fmt"
	"io"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// hidden stands for a secret that is set.
const hidden = "(set)"

// Print writes the effective configuration as TOML, with the origin of every value behind it. Secrets are shown as
// "(set)", so the text can be shown to others, and is no configuration to start with.
func (l *Loaded) Print(w io.Writer) error {
	p := &printer{l: l}
	p.table("", "", fields(reflect.ValueOf(l.Config).Elem()))
	_, err := io.WriteString(w, strings.TrimLeft(p.String(), "\n"))
	return err
}

type printer struct {
	strings.Builder
	l *Loaded
}

// table prints the keys of one table, then the tables in it.
func (p *printer) table(path, header string, table []field) {
	if header != "" {
		fmt.Fprintf(p, "\n%s\n", header)
	}
	kind := entryKind(table)
	for _, f := range table {
		if f.isTable() || f.isTables() || !f.fits(kind) {
			continue
		}
		key := join(path, f.name)
		fmt.Fprintf(p, "%s = %s # %s\n", f.name, p.l.shown(f), p.l.Origin(key))
	}
	for _, f := range table {
		key := join(path, f.name)
		switch {
		case f.isTable():
			p.table(key, "["+key+"]", fields(f.value))
		case f.isTables():
			for i := range f.value.Len() {
				p.table(key+index(i), "[["+withoutIndices(key)+"]]", fields(f.value.Index(i)))
			}
		}
	}
}

func withoutIndices(key string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(key, "]") {
		name, _, _ := strings.Cut(part, "[")
		b.WriteString(name)
	}
	return b.String()
}

// shown returns the value as TOML, or "(set)" in place of a secret.
func (l *Loaded) shown(f field) string {
	switch v := f.value.Interface().(type) {
	case string:
		switch {
		case v != "" && f.file != "":
			v = hidden
		case f.name == "url", f.name == "jwks_url", f.name == "issuer" && strings.Contains(v, "://"):
			v = withoutPasswords(v)
		}
		return quote(v)
	case time.Duration:
		return quote(v.String())
	case []string:
		parts := make([]string, len(v))
		for i, s := range v {
			parts[i] = quote(s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, name := range sortedKeys(v) {
			parts = append(parts, quoteKey(name)+" = "+quoteAny(v[name]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return fmt.Sprint(v)
	}
}

// withoutPasswords hides what stands between // and @, and behind ?, in each URL of a list: keys stand there, too.
func withoutPasswords(list string) string {
	parts := strings.Split(list, ",")
	for i, part := range parts {
		u, err := url.Parse(strings.TrimSpace(part))
		switch {
		case err != nil:
			parts[i] = hidden
		case u.User != nil || u.RawQuery != "" || u.Fragment != "":
			user, rest := "", ""
			if u.User != nil {
				user = hidden + "@"
			}
			if u.RawQuery != "" || u.Fragment != "" {
				rest = "?" + hidden
			}
			parts[i] = u.Scheme + "://" + user + u.Host + u.EscapedPath() + rest
		}
	}
	return strings.Join(parts, ",")
}

func quoteAny(v any) string {
	if s, ok := v.(string); ok {
		return quote(s)
	}
	return fmt.Sprint(v)
}

func quoteKey(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == "" {
		return s
	}
	return quote(s)
}

// quote returns s as a TOML string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Summary says in some lines what a node with this configuration does.
func (l *Loaded) Summary() string {
	var b strings.Builder
	over := ""
	if l.TLS.Cert != "" {
		over = " over TLS"
	}
	fmt.Fprintf(&b, "listens    %s for WebSocket%s, %s for health, metrics and the API\n", l.Listen.Public, over, l.Listen.Internal)
	switch {
	case l.NATS.URL != "":
		fmt.Fprintf(&b, "bus        NATS at %s, cluster %s\n", withoutPasswords(l.NATS.URL), l.NATS.Cluster)
	case l.NATS.Listen != "":
		fmt.Fprintf(&b, "bus        embedded NATS on %s, cluster %s: this node alone\n", l.NATS.Listen, l.NATS.Cluster)
	default:
		b.WriteString("bus        embedded NATS inside the process: this node alone\n")
	}
	for _, v := range l.Verifiers {
		fmt.Fprintf(&b, "verifier   %s (%s)\n", v.Name, kindOf(v.Kind, v.Of))
	}
	for _, a := range l.Authorizers {
		fmt.Fprintf(&b, "authorizer %s (%s)\n", a.Name, kindOf(a.Kind, a.Of))
	}
	for _, r := range l.Routes {
		fmt.Fprintf(&b, "route      %s\n", r.summary())
	}
	if len(l.Routes) == 0 {
		b.WriteString("route      none: nobody can connect\n")
	}
	return b.String()
}

func kindOf(kind string, of []string) string {
	if len(of) == 0 {
		return kind
	}
	return kind + " of " + strings.Join(of, ", ")
}

func (r *Route) summary() string {
	parts := []string{r.Path}
	if r.Category != "" {
		parts[0] += " of category " + r.Category
	}
	var from []string
	for _, c := range r.Credentials {
		from = append(from, strings.TrimSpace(c.From+" "+c.Name+c.Prefix)+" by "+c.Verifier)
	}
	if r.Anonymous == "allow" {
		from = append(from, "anonymous")
	}
	parts = append(parts, "lets in "+strings.Join(from, ", "))
	if r.Authorize != "" {
		parts = append(parts, "asks "+r.Authorize)
	}
	if r.Recheck > 0 {
		parts = append(parts, "looks again within "+r.Recheck.String())
	}
	if r.Reject == "close" {
		parts = append(parts, "refuses by a close frame")
	}
	if len(r.Join) > 0 {
		parts = append(parts, "joins "+strings.Join(r.Join, ", "))
	}
	return strings.Join(append(parts, "a message is for "+strconv.Quote(r.OnMessage)), "; ")
}
