package bus

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

func testEpoch(t testing.TB, random string) session.Epoch {
	t.Helper()
	e, err := session.NewEpoch(time.Unix(1_800_000_000, 0), strings.NewReader(random))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A node's words stay the same for other versions of the program: members are only ever added.
func TestHelloGolden(t *testing.T) {
	p := Peer{Name: "node-1", Epoch: testEpoch(t, "12345678"), Version: "v1.2.3", Connections: 7, AcceptRate: 500, Draining: true}
	const golden = `{"name":"node-1","epoch":"dd4t401h68pj8d9m6ss0","version":"v1.2.3","connections":7,"accept_rate":500,"draining":true,"leaving":true}`
	b, err := json.Marshal(helloOf(p, true))
	if err != nil || string(b) != golden {
		t.Errorf("%s, %v; want %s", b, err, golden)
	}
	now := time.Now()
	h, err := parseHello([]byte(strings.Replace(golden, "{", `{"of_a_later_version":1,`, 1)))
	p.Seen = now
	if got := h.peer(now); err != nil || got != p || !h.Leaving {
		t.Errorf("%+v, %v; want %+v", got, err, p)
	}
}

func TestParseHelloRefuses(t *testing.T) {
	good := `{"name":"n","epoch":"` + testEpoch(t, "12345678").String() + `","version":"v1","connections":1}`
	if _, err := parseHello([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]string{
		"nothing":        "",
		"no JSON":        "hello",
		"a number":       "7",
		"no epoch":       `{"name":"n","version":"v1"}`,
		"a bad epoch":    `{"name":"n","epoch":"x","version":"v1"}`,
		"no name":        strings.Replace(good, `"n"`, `""`, 1),
		"a line break":   strings.Replace(good, `"n"`, `"a\nb"`, 1),
		"an escape":      strings.Replace(good, `"n"`, `"\u009b31m"`, 1),
		"a long name":    strings.Replace(good, `"n"`, `"`+strings.Repeat("n", maxPeerName+1)+`"`, 1),
		"a long version": strings.Replace(good, `"v1"`, `"`+strings.Repeat("v", maxPeerVersion+1)+`"`, 1),
		"a negative":     strings.Replace(good, ":1}", ":-1}", 1),
		"too many":       strings.Replace(good, ":1}", ":9999999999}", 1),
		"too long":       strings.Replace(good, "{", "{"+strings.Repeat(" ", maxHello), 1),
	} {
		if h, err := parseHello([]byte(b)); !errors.Is(err, errHello) {
			t.Errorf("%s: %+v, %v; want errHello", name, h, err)
		}
	}
}

func FuzzParseHello(f *testing.F) {
	f.Add([]byte(`{"name":"n","epoch":"` + testEpoch(f, "12345678").String() + `","version":"v1","connections":1}`))
	f.Add([]byte(`{"leaving":true}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHello(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(helloOf(h.peer(time.Time{}), h.Leaving))
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxHello { // escapes can make a text longer
			return
		}
		if back, err := parseHello(again); err != nil || !reflect.DeepEqual(back, h) {
			t.Errorf("%+v became %+v, %v", h, back, err)
		}
	})
}
