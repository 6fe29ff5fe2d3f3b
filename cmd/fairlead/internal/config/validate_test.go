package config

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// problemsOf loads a text and returns its problems, with "FILE" for the file's path.
func problemsOf(t *testing.T, text string, src Source) []string {
	t.Helper()
	src.File = writeFile(t, "fairlead.toml", text)
	_, err := Load(src)
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[Errors](err); !ok {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	return strings.Split(strings.ReplaceAll(err.Error(), src.File, "FILE"), "\n")
}

// route wraps keys of a route into a configuration that is valid but for them.
func route(keys string) string {
	return "[[route]]\nanonymous = \"allow\"\npath = \"/a\"\n" + keys
}

func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"empty": {"", nil},
		"valid": {jwtConfig, nil},
		"unknown key": {
			"[limits]\n\nping_intervall = \"1s\"",
			[]string{`FILE:3: limits.ping_intervall: there is no such key; did you mean "ping_interval"?`},
		},
		"unknown table":       {"[listn]\npublic = \":1\"", []string{`FILE:1: listn: there is no such key; did you mean "listen"?`}},
		"key of another":      {"[listen]\nwrite_timeout = \"1s\"", []string{`FILE:2: listen.write_timeout: there is no such key here; did you mean limits.write_timeout?`}},
		"part of a name":      {"[limits]\nping = \"1s\"", []string{`FILE:2: limits.ping: there is no such key; did you mean "ping_interval"?`}},
		"nothing near":        {"[log]\nxyzzy = 1", []string{`FILE:2: log.xyzzy: there is no such key; there are level, format`}},
		"later version's key": {"[[group]]\nmatch = \"x\"", []string{`FILE:1: group: there is no such key; there are node, listen, nats, tls, journal, session, api, limits, compression, drain, log, verifier, authorizer, route`}},
		"several": {
			"[log]\nlevel = \"debg\"\nformat = 1\n[limits]\nhandshakes = \"many\"\nconnections = -1\nwrite_timeout = \"0s\"\npong_timeout = 5",
			[]string{
				`FILE:2: log.level: is "debg"; want "debug", "info", "warn" or "error"; did you mean "debug"?`,
				`FILE:3: log.format: is the number 1; want a text in quotes "text" or "json"`,
				`FILE:5: limits.handshakes: is a text; want a whole number`,
				`FILE:6: limits.connections: is negative; want 0 or more`,
				`FILE:7: limits.write_timeout: is 0s; want a duration above zero, such as 10s`,
				`FILE:8: limits.pong_timeout: is the number 5; want a duration in quotes, such as "5s" or "1m30s"`,
			},
		},
		"duration without unit": {"[drain]\nwindow = \"30\"", []string{`FILE:2: drain.window: is "30"; want a duration such as 500ms, 5s or 1m30s`}},
		"bounds": {
			"[limits]\nhead_bytes = 1\nmessage_bytes = 0\noutbox_bytes = 0\n[drain]\nwindow = \"-1s\"",
			[]string{
				"FILE:2: limits.head_bytes: is 1; want 1024 to 1048576",
				"FILE:3: limits.message_bytes: is 0; want 1 to 67108864",
				"FILE:4: limits.outbox_bytes: is 0; want at least 1",
				"FILE:6: drain.window: is negative; want 0 or more",
			},
		},
		"limits": {
			"[limits]\naccept_rate = -1\nmessage_burst = 1\nbytes_per_second = 1000\nbyte_burst = 1000\nmax_age = \"-1h\"",
			[]string{
				"FILE:2: limits.accept_rate: is negative; want 0 or more",
				"FILE:3: limits.message_burst: counts only with limits.messages_per_second, which is 0; want both, or neither",
				"FILE:5: limits.byte_burst: is 1000, so that a message of limits.message_bytes could never come; want at least 65536",
				"FILE:6: limits.max_age: is negative; want 0 or more",
			},
		},
		"groups": {
			"[limits]\ngroups_per_connection = 1\n[[route]]\npath = \"/\"\nanonymous = \"allow\"\njoin = [\"a\", \"b\"]",
			[]string{"FILE:6: route[0].join: has 2 groups; want at most limits.groups_per_connection, which is 1"},
		},
		"no groups": {
			"[limits]\ngroups_per_connection = 0",
			[]string{"FILE:2: limits.groups_per_connection: is 0; want 1 to 65536"},
		},
		"no age": {
			"[limits]\nmax_age = \"2562047h\"",
			[]string{"FILE:2: limits.max_age: is 2562047h0m0s; want at most 8760h0m0s, a year, or 0 for connections that never grow old"},
		},
		"burst without rate": {
			"[limits]\nbyte_burst = 100000",
			[]string{"FILE:2: limits.byte_burst: counts only with limits.bytes_per_second, which is 0; want both, or neither"},
		},
		"proxies": {
			"[listen]\ntrusted_proxies = [\"10.0.0.1/8\"]\n",
			[]string{`FILE:2: listen.trusted_proxies: entry 1, "10.0.0.1/8", has bits behind its prefix; want 10.0.0.0/8, or a longer prefix`},
		},
		"no proxies": {
			"[listen]\nproxy_protocol = true\n",
			[]string{"FILE:2: listen.proxy_protocol: nobody's header would be believed; want the balancers' networks in listen.trusted_proxies"},
		},
		"no network": {
			"[listen]\ntrusted_proxies = [\"::/0\", \"proxy\"]\n",
			[]string{`FILE:2: listen.trusted_proxies: entry 2, "proxy", is no network; want CIDR, such as 10.0.0.0/8, or 192.0.2.7/32 for one address`},
		},
		"tls": {"[tls]\nkey = \"x\"", []string{"FILE:1: tls.cert: cert and key belong together; want both, or neither for plain TCP"}},
		"journal": {
			"[nats]\nurl = \"nats://h:1\"\nstore_dir = \"x\"\n[journal]\nmode = \"of\"\nretention = \"1s\"\nreplicas = 2\nbuffer_bytes = 1",
			[]string{
				"FILE:3: nats.store_dir: is for the embedded server, and nats.url names another one, which keeps the journal itself; want one of them",
				`FILE:5: journal.mode: is "of"; want "degrade", "require" or "off"; did you mean "off"?`,
				`FILE:6: journal.retention: is 1s; want a minute or more, such as "24h"`,
				"FILE:7: journal.replicas: is 2; want 1, 3 or 5",
				"FILE:8: journal.buffer_bytes: is 1; want at least 65536",
			},
		},
		"no room": {
			"[nats]\nstore_bytes = 1048575",
			[]string{"FILE:2: nats.store_bytes: is 1048575; want 0 for the default, or at least 1048576"},
		},
		"journal alone": {
			"[journal]\nreplicas = 3",
			[]string{"FILE:2: journal.replicas: is 3, and the embedded NATS server is one; want nats.url with a cluster, or 1"},
		},
		"compression and drain": {
			"[compression]\nlevel = 0\nmin_bytes = -1\n[drain]\nclose_rate = 0\nshutdown_delay = \"-1s\"",
			[]string{
				"FILE:2: compression.level: is 0; want 1 to 9",
				"FILE:3: compression.min_bytes: is -1; want at least 0",
				"FILE:5: drain.close_rate: is 0; want at least 1",
				"FILE:6: drain.shutdown_delay: is negative; want 0 or more",
			},
		},
		"wrong shapes": {
			"listen = 1\nroute = 2\n[verifier]\nname = \"x\"",
			[]string{
				"FILE:1: listen: is the number 1; want a table: write [listen] on a line of its own",
				"FILE:2: route: is the number 2; want a list of tables: write [[route]] for each, with two brackets",
				"FILE:3: verifier: is a table; want a list of tables: write [[verifier]] for each, with two brackets",
			},
		},
		"wrong values": {
			route("greet = \"yes\"\njoin = \"{group}\"\norigins = [1]\ncredential = [1]\n"),
			[]string{
				`FILE:4: route[0].greet: is a text; want true or false`,
				`FILE:5: route[0].join: is a text; want a list of texts, such as ["a", "b"]`,
				`FILE:6: route[0].origins: has the number 1 as entry 1; want only texts in quotes`,
				`FILE:7: route[0].credential[0]: is the number 1; want a table`,
				`FILE:7: route[0].credential[0].from: is missing; want "header", "cookie", "query", "subprotocol" or "request"`,
				`FILE:7: route[0].credential[0].verifier: is missing; want the name of a verifier; there is none`,
			},
		},
		"addresses": {
			"[listen]\npublic = \"8000\"\ninternal = \"127.0.0.1:http\"",
			[]string{
				`FILE:2: listen.public: "8000" is no address; want HOST:PORT, such as 127.0.0.1:8000, or :8000 for all interfaces`,
				`FILE:3: listen.internal: "127.0.0.1:http" is no address; want HOST:PORT, such as 127.0.0.1:8000, or :8000 for all interfaces`,
			},
		},
		"one address": {
			"[listen]\npublic = \":1\"\ninternal = \":1\"",
			[]string{"FILE:3: listen.internal: is the public address as well; want another port, which the public cannot reach"},
		},
		"nats without url": {
			"[nats]\nuser = \"u\"\npassword = \"p\"",
			[]string{
				"FILE:2: nats.user: nats.url is empty, so there is no server to use it with; want nats.url as well",
				"FILE:3: nats.password: nats.url is empty, so there is no server to use it with; want nats.url as well",
			},
		},
		"nats": {
			"[nats]\nurl = \"http://u:hidden@h:1\"\nlisten = \":1\"\nuser = \"u\"\ncreds = \"c\"\ntls_cert = \"c\"",
			[]string{
				"FILE:2: nats.url: want URLs like nats://HOST:4222 or tls://HOST:4222, with commas between",
				"FILE:3: nats.listen: is for the embedded server, and nats.url names another one; want one of them",
				"FILE:4: nats.user: user and password belong together; want both, or neither",
				"FILE:5: nats.creds: user is set as well; want one of them",
				"FILE:6: nats.tls_cert: tls_cert and tls_key belong together; want both, or neither",
			},
		},
		"nats listen": {"[nats]\nlisten = \"x\"", []string{`FILE:2: nats.listen: "x" is no address; want HOST:PORT, such as 127.0.0.1:8000, or :8000 for all interfaces`}},
		"verifiers": {
			"[[verifier]]\n[[verifier]]\nname = \"1\"\nkind = \"jwt\"\ndsn = \"sqlite:x\"\n[[verifier]]\nname = \"a-b\"\nkind = \"drf_token\"\ndsn = \"oracle://u:hidden@h\"\n" +
				"[[verifier]]\nname = \"A_B\"\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = \"x\"\npublic_key_file = \"x\"\nrequire = {a = 1.5}",
			[]string{
				`FILE:1: verifier[0].kind: is missing; want "drf_token", "django_session", "jwt", "issuers", "callback" or "ticket"`,
				`FILE:1: verifier[0].name: "" is no name; want a letter, then letters, digits, _ or -`,
				`FILE:2: verifier[1]: has no key; want secret, secret_file, public_key_file, jwks_url or discover, or the environment variable FAIRLEAD_VERIFIER_1_SECRET`,
				`FILE:2: verifier[1].algorithms: is empty; want the ones that tokens are signed with, such as ["HS256"]: a token never chooses`,
				`FILE:3: verifier[1].name: "1" is no name; want a letter, then letters, digits, _ or -`,
				`FILE:5: verifier[1].dsn: belongs to "drf_token" or "django_session", and this is "jwt"`,
				`FILE:9: verifier[2].dsn: begins with none of sqlite:, postgres:// and mysql://; want sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE or mysql://USER:PASSWORD@HOST/DATABASE`,
				`FILE:11: verifier[3].name: "A_B" is there twice; want a name of its own for each, so that routes and variables can mean one`,
				`FILE:15: verifier[3].public_key_file: secret is set as well; want one: a secret for HS256 and its like, a public key or a JWKS for the others`,
				`FILE:16: verifier[3].require.a: is the number 1.5; want a text, a whole number, true or false`,
			},
		},
		"max stale": {
			"[[verifier]]\nname = \"a\"\nkind = \"jwt\"\nalgorithms = [\"RS256\"]\njwks_url = \"https://i.test/k\"\njwks_max_stale = \"30s\"\n" +
				"[[verifier]]\nname = \"b\"\nkind = \"jwt\"\nalgorithms = [\"RS256\"]\njwks_url = \"https://i.test/k\"\njwks_max_stale = \"-1m\"\n" +
				"[[verifier]]\nname = \"c\"\nkind = \"jwt\"\nalgorithms = [\"RS256\"]\njwks_url = \"https://i.test/k\"\njwks_max_stale = \"0s\"",
			[]string{
				`FILE:6: verifier[0].jwks_max_stale: is 30s; want "1m" or more, or "0s" for no bound`,
				`FILE:12: verifier[1].jwks_max_stale: is -1m0s; want "1m" or more, or "0s" for no bound`,
			},
		},
		"listen": {
			"[[verifier]]\nname = \"a\"\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = \"s\"\nlisten = true\n" +
				"[[verifier]]\nname = \"b\"\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = \"s\"\nusers = \"sqlite:x\"\nlisten = true\n" +
				"[[verifier]]\nname = \"c\"\nkind = \"drf_token\"\ndsn = \"mysql://h/d\"\nlisten = true\n" +
				"[[verifier]]\nname = \"d\"\nkind = \"jwt\"\nalgorithms = [\"HS256\"]\nsecret = \"s\"\nusers = \"postgres://h/d\"\nlisten = true\n" +
				"[[verifier]]\nname = \"e\"\nkind = \"ticket\"\nlisten = true",
			[]string{
				"FILE:6: verifier[0].listen: there is no database to hear from: nobody is looked up; want users as well, or false",
				"FILE:13: verifier[1].listen: only PostgreSQL tells of changes (LISTEN); want a dsn that begins with postgres://, or false and a short cache_ttl",
				"FILE:18: verifier[2].listen: only PostgreSQL tells of changes (LISTEN); want a dsn that begins with postgres://, or false and a short cache_ttl",
				`FILE:29: verifier[4].listen: belongs to "drf_token", "django_session" or "jwt", and this is "ticket"`,
			},
		},
		"authorizers": {
			"[[authorizer]]\nname = \"m\"\nkind = \"sql\"\nparams = {user = 1}\n[[authorizer]]\nname = \"g\"\nkind = \"grants\"\nquery = \"x\"",
			[]string{
				"FILE:1: authorizer[0].dsn: is missing; want sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE or mysql://USER:PASSWORD@HOST/DATABASE",
				`FILE:1: authorizer[0].query: is missing; want an SQL query that gives a row to members, such as "SELECT 1 FROM grants WHERE user_id = :user AND app_id = :id"`,
				`FILE:4: authorizer[0].params.user: is the number 1; want the name of a type, such as "int"`,
				`FILE:8: authorizer[1].query: belongs to "sql", and this is "grants"`,
			},
		},
		"of": {
			"[[verifier]]\nname = \"t\"\nkind = \"ticket\"\n[[verifier]]\nname = \"i\"\nkind = \"issuers\"\n" +
				"[[authorizer]]\nname = \"g\"\nkind = \"grants\"\n[[authorizer]]\nname = \"e\"\nkind = \"any\"\nof = [\"e\", \"gg\", \"g\", \"g\"]",
			[]string{
				`FILE:4: verifier[1].of: is empty; want the names of the verifiers to choose from; there is none`,
				`FILE:13: authorizer[1].of: names itself; want other authorizers`,
				`FILE:13: authorizer[1].of: no authorizer is called "gg"; there is "g"; did you mean "g"?`,
				`FILE:13: authorizer[1].of: has "g" twice`,
			},
		},
		"callback timeouts": {
			"[limits]\nhandshake_timeout = \"1s\"\n" +
				"[[verifier]]\nname = \"a\"\nkind = \"callback\"\nurl = \"https://a.test/\"\ntimeout = \"12s\"\n" +
				"[[verifier]]\nname = \"b\"\nkind = \"callback\"\nurl = \"https://a.test/\"\n" + // its default is longer as well, and nobody wrote it
				"[[authorizer]]\nname = \"a\"\nkind = \"callback\"\nurl = \"https://a.test/\"\ntimeout = \"1001ms\"\n" +
				"[[authorizer]]\nname = \"b\"\nkind = \"callback\"\nurl = \"https://a.test/\"\ntimeout = \"1s\"\n" +
				"[[authorizer]]\nname = \"c\"\nkind = \"callback\"\nurl = \"https://a.test/\"\ntimeout = \"0s\"\n",
			[]string{
				"FILE:7: verifier[0].timeout: is 12s, and no handshake waits so long; want at most limits.handshake_timeout, which is 1s",
				"FILE:16: authorizer[0].timeout: is 1.001s, and no handshake waits so long; want at most limits.handshake_timeout, which is 1s",
				`FILE:26: authorizer[2].timeout: is 0s; want more than 0, such as "2s"`,
			},
		},
		"no time for callbacks": {
			"[limits]\nhandshake_timeout = \"0s\"\n[[verifier]]\nname = \"a\"\nkind = \"callback\"\nurl = \"https://a.test/\"\ntimeout = \"12s\"",
			[]string{"FILE:2: limits.handshake_timeout: is 0s; want a duration above zero, such as 10s"},
		},
		"nothing to look at again": {
			"[[verifier]]\nname = \"t\"\nkind = \"ticket\"\n" + route("recheck = \"1m\"") +
				"\n[[route]]\npath = \"/b\"\nrecheck = \"10ms\"\ncredential = [{ from = \"query\", name = \"t\", verifier = \"t\" }]" +
				"\n[[route]]\npath = \"/c\"\nrecheck = \"1s\"\ncredential = [{ from = \"query\", name = \"t\", verifier = \"t\" }, { from = \"query\", name = \"u\", verifier = \"u\" }]",
			[]string{
				`FILE:7: route[0].recheck: there is nothing to look at again: the route has no authorizer, and no credential that could be verified again (tickets are used up); want one of them, or leave recheck out`,
				`FILE:10: route[1].recheck: is 10ms; want 0 for never, or a second and more, such as "60s"`,
				`FILE:15: route[2].credential[1].verifier: no verifier is called "u"; there is "t"`,
			},
		},
		"request": {
			jwtConfig + "[[route]]\npath = \"/b\"\ncredential = [{ from = \"request\", verifier = \"jwt-1\" }]",
			[]string{
				`FILE:14: route[1].credential[0].from: is "request", which holds no credential of its own; want a verifier of kind "callback", which looks for itself, or a header, cookie, query or subprotocol`,
			},
		},
		"kind": {
			"[[verifier]]\nname = \"a\"\nkind = \"drf\"\n",
			[]string{`FILE:3: verifier[0].kind: is "drf"; want "drf_token", "django_session", "jwt", "issuers", "callback" or "ticket"; did you mean "drf_token"?`},
		},
		"routes": {
			jwtConfig + "[[route]]\n[[route]]\npath = \"/b\"\nanonymous = \"allow\"\nno_origin = \"refuse\"\ninvalid = \"anonymous\"\nauthorize = \"membr\"\n[[authorizer]]\nname = \"member\"\nkind = \"grants\"\n",
			[]string{
				`FILE:12: route[1]: nobody could connect: it has no credential and refuses anonymous clients; want a credential list, or anonymous = "allow"`,
				`FILE:12: route[1].path: is missing; want a path such as "/ws/{group}"`,
				`FILE:16: route[2].no_origin: counts only with a list in origins: without one, clients that send no Origin are let in`,
				`FILE:17: route[2].invalid: the route looks for no credential that could be invalid; want a credential list, or leave invalid out`,
				`FILE:18: route[2].authorize: no authorizer is called "membr"; there is "member"; did you mean "member"?`,
			},
		},
		"credentials": {
			jwtConfig + "[[route]]\npath = \"/b\"\ncredential = [\n{ from = \"header\", verifier = \"jwt\", prefix = \"x\" },\n{ from = \"subprotocol\", nme = \"x\", verifier = \"jwt-1\" },\n]",
			[]string{
				`FILE:15: route[1].credential[0].name: is missing; want the name of the header field, such as Authorization`,
				`FILE:15: route[1].credential[0].prefix: belongs to "subprotocol", and this is "header"`,
				`FILE:15: route[1].credential[0].verifier: no verifier is called "jwt"; there is "jwt-1"; did you mean "jwt-1"?`,
				`FILE:16: route[1].credential[1].nme: there is no such key; did you mean "name"?`,
				`FILE:16: route[1].credential[1].prefix: is missing; want what stands before the token, such as "bearer."`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := problemsOf(t, tt.text, Source{})
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
			}
			if strings.Contains(strings.Join(got, ""), "hidden") {
				t.Error("a password is shown")
			}
		})
	}
}

func TestErrorsOfOtherLayers(t *testing.T) {
	got := problemsOf(t, "", Source{
		Getenv: env("FAIRLEAD_LIMITS_HANDSHAKES=many", "FAIRLEAD_NATS_URL=nats:hidden", "FAIRLEAD_LIMITS_CONNECTIONS=-1",
			"FAIRLEAD_VERIFIER_0_REQUIRE=a", "FAIRLEAD_ROUTE_0_GREET=maybe", "FAIRLEAD_ROUTE_0_ANONYMOUS=allow",
			"FAIRLEAD_VERIFIER_0_NAME=a", "FAIRLEAD_VERIFIER_0_KIND=jwt", "FAIRLEAD_VERIFIER_0_ALGORITHMS=HS256", "FAIRLEAD_VERIFIER_0_SECRET=x"),
		Flags: []Flag{{"--listen", "listen.public", "x"}, {"--log-level", "log.level", "loud"}},
	})
	want := []string{
		"environment variable FAIRLEAD_LIMITS_CONNECTIONS: limits.connections: is negative; want 0 or more",
		`environment variable FAIRLEAD_LIMITS_HANDSHAKES: limits.handshakes: is "many"; want a whole number`,
		`flag --listen: listen.public: "x" is no address; want HOST:PORT, such as 127.0.0.1:8000, or :8000 for all interfaces`,
		`flag --log-level: log.level: is "loud"; want "debug", "info", "warn" or "error"`,
		"environment variable FAIRLEAD_NATS_URL: nats.url: want URLs like nats://HOST:4222 or tls://HOST:4222, with commas between",
		`environment variable FAIRLEAD_ROUTE_0_GREET: route[0].greet: is "maybe"; want true or false`,
		`FILE: route[0].path: is missing; want a path such as "/ws/{group}"`,
		`environment variable FAIRLEAD_VERIFIER_0_REQUIRE: verifier[0].require: has "a"; want NAME=VALUE pairs with commas between`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestAt(t *testing.T) {
	l := mustLoad(t, jwtConfig, Source{})
	p := l.At("route[0].credential[0].from", os.ErrInvalid)
	if !strings.HasSuffix(p.Where, "fairlead.toml:10") || !errors.Is(p, os.ErrInvalid) {
		t.Errorf("the problem is %+v", p)
	}
	if p := l.At("route[0].category", os.ErrInvalid); !strings.HasSuffix(p.Where, "fairlead.toml:7") {
		t.Errorf("a key that is not written is looked for at %s, want its table's line", p.Where)
	}
	if p := l.At("", os.ErrInvalid); p.Error() != l.file+": "+os.ErrInvalid.Error() {
		t.Errorf("a problem of the whole is %q", p)
	}
	if err := (Errors{p}).Err(); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("the list hides its cause: %v", err)
	}
	if err := (Errors{}).Err(); err != nil {
		t.Errorf("no problems are an error: %v", err)
	}
}
