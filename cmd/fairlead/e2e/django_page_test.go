//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// The node is where the page of the site looks for it: at port 8000 of the host that the page comes from.
const pageNode = siteHost + ":8000"

// startPage serves the site with a node beside it that looks at its connections every two seconds. Pages of the origins may
// connect to /whoami, those of the site to all routes.
func startPage(t *testing.T, origins ...string) *djangoSite {
	t.Helper()
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "db.sqlite3")
	site := newSite(t, dsn)
	env := []string{
		"FAIRLEAD_LISTEN_PUBLIC=" + pageNode, "FAIRLEAD_LISTEN_INTERNAL=" + siteAPI, "FAIRLEAD_COMPRESSION_ENABLED=true",
		"FAIRLEAD_ROUTE_6_ORIGINS=" + strings.Join(append(origins, siteOrigin), ","),
	}
	for _, route := range []string{"0", "1", "2", "3", "5", "6"} {
		env = append(env, "FAIRLEAD_ROUTE_"+route+"_RECHECK=2s")
	}
	startSiteNode(t, dsn, env...)
	site.serve(t)
	return site
}

// logIn logs in on the page that the tab shows, a visitor's own or one of which the site wants to know whose it is.
func (b *tab) logIn(t *testing.T, user string) {
	t.Helper()
	b.until(t, `location.pathname === "/login/" && document.readyState === "complete"`)
	b.fill(t, "[name=username]", user)
	b.fill(t, "[name=password]", user+"-pw")
	b.click(t, "main button")
}

// visitor logs in in a browser that nobody else has, and enters the first room.
func (c *chromium) visitor(t *testing.T, user string) (*profile, *tab) {
	t.Helper()
	p := c.newProfile(t)
	b := p.open(t, siteOrigin+"/")
	b.click(t, "header a[href='/login/']")
	b.logIn(t, user)
	b.until(t, `document.readyState === "complete" && document.querySelector("main li a") !== null`)
	b.click(t, "main li a")
	b.until(t, `location.pathname === "/rooms/1/" && document.readyState === "complete"`)
	return p, b
}

// connect presses the page's button.
func (b *tab) connect(t *testing.T, kind string) {
	t.Helper()
	b.run(t, `document.getElementById("log").textContent = ""`)
	b.click(t, "#"+kind)
	b.click(t, "#open")
}

// connected waits until the page says so.
func (b *tab) connected(t *testing.T, kind string) {
	t.Helper()
	b.until(t, fmt.Sprintf(`document.getElementById("state").textContent === "Connected: %s"`, kind))
}

// says waits for a line of the page's log.
func (b *tab) says(t *testing.T, line string) {
	t.Helper()
	b.until(t, fmt.Sprintf(`document.getElementById("log").textContent.split("\n").includes(%q)`, line))
}

// whatPageSees is what a script sees of a WebSocket: what the server selected, and the first message, an answer to what the
// script sends, or the close code, whether it was in order, and the reason.
const whatPageSees = `(url, protocols) => new Promise(done => {
	const socket = new WebSocket(url, protocols);
	let open = "";
	socket.onopen = () => { open = "open " + socket.protocol + ": "; socket.send("hello") };
	socket.onmessage = m => { socket.onclose = null; socket.close(); done(open + m.data) };
	socket.onclose = c => done(open + [c.code, c.wasClean, c.reason].join(" "));
})`

// wantSocket fails the test unless what a page's script sees of a WebSocket begins with want. target is JavaScript.
func (b *tab) wantSocket(t *testing.T, target, protocols, want string) {
	t.Helper()
	if got := b.run(t, fmt.Sprintf("(%s)(%s, %s)", whatPageSees, target, protocols)); !strings.HasPrefix(got, want) {
		t.Errorf("a script that connects to %s sees %q, want %q", target, got, want)
	}
}

// at is a path of the node, as JavaScript.
func at(path string) string { return fmt.Sprintf("%q", "ws://"+pageNode+path) }

// TestDjangoPage: the page of a room does in a browser what it says.
func TestDjangoPage(t *testing.T) {
	site := startPage(t)
	c := startChromium(t)
	alices, alice := c.visitor(t, "alice")
	_, bob := c.visitor(t, "bob")
	bob.connect(t, "session")
	bob.connected(t, "session")

	kinds := alice.run(t, `[...document.querySelectorAll("[name=kind]")].map(k => k.value).join(" ")`)
	if kinds != "session jwt token ticket grant callback" {
		t.Errorf("the page offers %s: not what fairlead.toml has", kinds)
	}
	for kind := range strings.FieldsSeq(kinds) {
		alice.fill(t, "#password input", "alice-pw") // which the page asks for where it needs it
		alice.connect(t, kind)
		alice.connected(t, kind)
		alice.fill(t, "#text", "hello by "+kind)
		alice.click(t, "#send")
		alice.says(t, "alice: hello by "+kind)
		bob.says(t, "alice: hello by "+kind)
	}
	alice.click(t, "#close")
	alice.says(t, "closed with 1000: as you wished")
	if got := alice.run(t, `document.getElementById("send").disabled`); got != "true" {
		t.Error("the page lets people send without a connection")
	}
	alice.fill(t, "#password input", "not this")
	alice.connect(t, "token")
	alice.says(t, "/api/token/ answers 400: wrong password?")
	alice.wantComplaints(t, "400 (Bad Request)")

	// A large text, compressed, and bytes come back as they went.
	if got := alice.run(t, `new Promise(done => {
		const text = "größer 🚢 ".repeat(3000), bytes = new Uint8Array(50000).map((_, i) => i * i);
		const socket = new WebSocket(`+at("/by-session/room_1")+`);
		socket.binaryType = "arraybuffer";
		socket.onopen = () => { socket.send(text); socket.send(bytes) };
		let same = socket.extensions;
		socket.onmessage = m => {
			if (typeof m.data === "string") {
				same = (m.data === text) + " " + socket.extensions.split(";")[0];
				return;
			}
			const back = new Uint8Array(m.data);
			done(same + " " + (back.length === bytes.length && back.every((b, i) => b === bytes[i])));
			socket.close();
		};
		socket.onclose = c => done(c.code + c.reason);
	})`); got != "true permessage-deflate true" {
		t.Errorf("a large text, the extension, bytes: %s", got)
	}

	alice.run(t, `(async () => { globalThis.once = (await post("/api/ticket/")).ticket })()`)
	once := at("/by-ticket/room_1?ticket=") + " + encodeURIComponent(once)"
	alice.wantSocket(t, once, "[]", "open : hello")
	alice.wantSocket(t, once, "[]", "open : 4401 true ")
	alice.run(t, `(async () => { globalThis.token = (await post("/api/token/", { username: "alice", password: "alice-pw" })).token })()`)
	alice.wantSocket(t, at("/by-token/room_1"), `["harbour", "token." + token]`, "open harbour: hello")
	alice.wantSocket(t, at("/by-token/room_1"), `["harbour", "token.not" + token]`, "open harbour: 4401 true ")
	alice.wantSocket(t, at("/by-session/room_9"), "[]", "open : 4403 true ")
	alice.wantComplaints(t)
	// A browser fails a connection where nothing of its offers was selected, and where the answer is no 101.
	alice.wantSocket(t, at("/by-token/room_1"), `["token." + token]`, "1006 false ")
	alice.wantSocket(t, at("/nowhere"), "[]", "1006 false ")
	alice.wantComplaints(t, "no response was received", "Unexpected response code: 404")
	// The page has a policy, and the node is in it.
	if got := alice.run(t, `new Promise(done => {
		const socket = new WebSocket("ws://127.0.0.43:8000/by-session/room_1");
		socket.onopen = () => done("open");
		socket.onerror = () => done("error"); // here the browser fires nothing else
	})`); got != "error" {
		t.Errorf("a page whose policy does not name a server connects to it: %s", got)
	}
	alice.wantComplaints(t, "connect-src")

	// Logging out in another tab.
	alice.connect(t, "session")
	alice.connected(t, "session")
	other := alices.open(t, siteOrigin+"/")
	other.click(t, "header button")
	const again = "closed with 4401: get a new credential, or log in again"
	alice.says(t, again)
	alice.wantComplaints(t)
	for _, kind := range []string{"session", "callback"} {
		alice.connect(t, kind)
		alice.says(t, again)
	}
	alice.wantSocket(t, at("/by-jwt/room_1"), "[]", "open : 4401 true ") // its cookie went with the session
	alice.wantComplaints(t)
	alice.wantSocket(t, at("/whoami"), "[]", "1006 false ") // which has no reject = "close"
	alice.wantComplaints(t, "HTTP Authentication failed")
	for kind, path := range map[string]string{"jwt": "/api/jwt/", "ticket": "/api/ticket/", "grant": "/api/grant/1/"} {
		alice.connect(t, kind)
		alice.says(t, path+" answers 401: log in again")
		alice.wantComplaints(t, "401 (Unauthorized)")
	}
	other.wantComplaints(t)

	// A session that is gone in the database alone.
	site.do(t, "from django.contrib.sessions.models import Session; Session.objects.all().delete()")
	bob.says(t, again)
	bob.connect(t, "session")
	bob.says(t, again)
	bob.run(t, "location.reload()") // and the site asks him to log in
	bob.logIn(t, "bob")
	bob.until(t, `location.pathname === "/rooms/1/" && document.readyState === "complete"`)
	bob.connect(t, "session")
	bob.connected(t, "session")
	bob.wantComplaints(t)
}

// emptyPage serves a page without anything in it and returns its origin.
func emptyPage(t *testing.T, host string) (origin string) {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><title>empty</title><link rel="icon" href="data:,"><body></body>`)
	})}}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// TestDjangoOtherPages: a page that is not the site's cannot connect with the cookies of somebody who is logged in there.
// At the same host, on another port, the browser sends them along, and the origin decides; those of other hosts' pages it
// keeps back, since Django sets them with SameSite=Lax.
func TestDjangoOtherPages(t *testing.T) {
	near, far := emptyPage(t, siteHost), emptyPage(t, "127.0.0.43")
	startPage(t, near, far)
	c := startChromium(t)
	alices, home := c.visitor(t, "alice")
	home.wantSocket(t, at("/by-session/room_1"), "[]", "open : hello")
	home.wantComplaints(t)

	nearby := alices.open(t, near+"/")
	nearby.wantSocket(t, at("/whoami"), "[]", `open : {"subject":"1"`) // the cookie goes along, and here the page may
	elsewhere := alices.open(t, far+"/")
	elsewhere.wantSocket(t, at("/whoami"), "[]", "1006 false ")
	elsewhere.wantComplaints(t, "HTTP Authentication failed") // it may, but nothing goes along
	for _, b := range []*tab{nearby, elsewhere} {
		for _, path := range []string{"/by-session/room_1", "/by-jwt/room_1", "/by-ticket/room_1", "/by-callback/room_1"} {
			b.wantSocket(t, at(path), "[]", "open : 4403 true ")
		}
		// A frame in a sandbox has the origin null.
		if got := b.run(t, fmt.Sprintf(`new Promise(done => {
			const frame = document.createElement("iframe");
			frame.sandbox = "allow-scripts";
			frame.srcdoc = "<script>(" + %q + ")(%s, []).then(seen => parent.postMessage(origin + ' ' + seen, '*'))</" + "script>";
			onmessage = m => done(m.data);
			document.body.append(frame);
		})`, whatPageSees, strings.ReplaceAll(at("/by-session/room_1"), `"`, `'`))); !strings.HasPrefix(got, "null open : 4403 true ") {
			t.Errorf("a frame in a sandbox sees %q", got)
		}
		b.wantComplaints(t)
	}

	// A ticket is for pages of the origin for which it was made.
	ticket := home.run(t, `(async () => (await post("/api/ticket/")).ticket)()`)
	target := fmt.Sprintf("%s + encodeURIComponent(%q)", at("/by-ticket/room_1?ticket="), ticket)
	nearby.wantSocket(t, target, "[]", "open : 4403 true ")
	home.wantSocket(t, target, "[]", "open : hello")
	home.wantComplaints(t)
}
