package session

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// reflected is what encoding/json alone makes of r: the form that the goldens were written with.
func reflected(t require, r Record) string {
	r = r.Kept()
	var e any = r.Event
	if u, ok := e.(Unknown); ok {
		e = u.Data
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	b, err = json.Marshal(wireRecord{Version, &r.Time, &r.Session, r.Seq, r.Event.Kind(), b})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// require is what a test and rapid have in common.
type require interface{ Fatal(args ...any) }

// drawText makes texts with everything that JSON escapes, and with what is no UTF-8.
func drawText(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z/{}_ ]{0,12}`),
		rapid.String(),
		rapid.StringOf(rapid.RuneFrom([]rune("<>&\"\\\u2028\u2029\x00\x1f\x7fé"))),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 8), func(b []byte) string { return string(b) }),
	).Draw(t, label)
}

func drawTime(t *rapid.T, label string) time.Time {
	return rapid.OneOf(rapid.Just(time.Time{}), rapid.Map(
		rapid.Int64Range(0, 250_000_000_000_000_000),
		func(n int64) time.Time { return time.Unix(n/1_000_000, n%1_000_000*1000).In(time.FixedZone("", 5400)) },
	)).Draw(t, label)
}

func drawPrefix(t *rapid.T) netip.Prefix {
	return rapid.SampledFrom([]netip.Prefix{
		{}, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/48"), netip.MustParsePrefix("::ffff:1.2.3.0/120"),
	}).Draw(t, "remote")
}

func drawEvent(t *rapid.T) Event {
	group := rapid.Custom(func(t *rapid.T) Group {
		g, err := ParseGroup(rapid.StringMatching(`[A-Za-z0-9_.-]{1,99}`).Draw(t, "group"))
		if err != nil {
			t.Fatal(err)
		}
		return g
	})
	switch rapid.SampledFrom(append(Kinds(), "new")).Draw(t, "kind") {
	case KindOpened:
		return Opened{
			Identity: &Identity{
				Subject: drawText(t, "subject"), Name: drawText(t, "name"), Source: drawText(t, "source"),
				Anonymous: rapid.Bool().Draw(t, "anonymous"), TokenID: drawText(t, "token id"),
				Expires: drawTime(t, "expires"), IssuedAt: drawTime(t, "issued"), Grants: []string{"g"},
			},
			Route: drawText(t, "route"), Protocol: drawText(t, "protocol"), Remote: drawPrefix(t),
			Groups: rapid.SliceOfN(group, 0, 3).Draw(t, "groups"), By: drawText(t, "by"), Rule: drawText(t, "rule"),
		}
	case KindJoined:
		return Joined{group.Draw(t, "group")}
	case KindLeft:
		return Left{group.Draw(t, "group")}
	case KindRefreshed:
		return Refreshed{Expires: drawTime(t, "expires")}
	case KindClosed:
		n := rapid.Uint64()
		return Closed{
			Code: rapid.Uint16().Draw(t, "code"), Reason: drawText(t, "reason"), MessagesReceived: n.Draw(t, "messages"),
			MessagesSent: n.Draw(t, "sent"), BytesReceived: n.Draw(t, "bytes"), BytesSent: n.Draw(t, "sent bytes"),
		}
	case KindRefused:
		return Refused{
			Status: rapid.Int().Draw(t, "status"), Reason: drawText(t, "reason"), Route: drawText(t, "route"),
			Remote: drawPrefix(t), Count: rapid.Uint64().Draw(t, "count"), By: drawText(t, "by"),
		}
	case KindNodeStarted:
		return NodeStarted{Node: drawText(t, "node"), Version: drawText(t, "version")}
	case KindNodeDraining:
		return NodeDraining{Connections: rapid.Int().Draw(t, "connections"), Window: time.Duration(rapid.Int64().Draw(t, "window"))}
	case KindNodeSealed:
		return NodeSealed{Reason: drawText(t, "reason")}
	case KindGap:
		return Gap{Since: drawTime(t, "since"), Lost: rapid.Uint64().Draw(t, "lost"), Reason: drawText(t, "reason")}
	default:
		return Unknown{Name: "new" + Kind(drawText(t, "kind")), Data: rapid.SampledFrom([]json.RawMessage{
			json.RawMessage(`{}`), json.RawMessage("{ \"<\u2028>\" : [1 , null, \"\\u0041\"] }\n"),
		}).Draw(t, "data")}
	}
}

// What AppendJSON writes is what encoding/json would write, to the byte.
func TestAppendJSONIsEncodingJSON(t *testing.T) {
	epoch := testEpoch(t)
	rapid.Check(t, func(t *rapid.T) {
		r := Record{
			Time: drawTime(t, "time"), Session: ID{epoch, rapid.Uint64().Draw(t, "number")},
			Seq: rapid.Uint64Min(1).Draw(t, "seq"), Event: drawEvent(t),
		}
		got, err := r.AppendJSON([]byte("before "))
		if err != nil {
			t.Fatal(err)
		}
		if want := "before " + reflected(t, r); string(got) != want {
			t.Fatalf("AppendJSON is\n%s, encoding/json writes\n%s", got, want)
		}
	})
}

func TestAppendJSONRefuses(t *testing.T) {
	for _, r := range []Record{{}, {Seq: 1, Event: Opened{}}, {Event: Closed{}}} {
		b, err := r.AppendJSON([]byte("as it was"))
		if err == nil || string(b) != "as it was" {
			t.Errorf("%+v: %q, %v", r, b, err)
		}
	}
}

func TestAppendJSONMakesNoGarbage(t *testing.T) {
	b := make([]byte, 0, 4096)
	for file, text := range goldens(t) {
		var r Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "zoë") || file == "unknown.json" {
			continue // encoding/json is asked
		}
		if n := testing.AllocsPerRun(100, func() {
			if _, err := r.AppendJSON(b); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", file, n)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	var r Record
	if err := json.Unmarshal([]byte(goldens(b)["opened.json"]), &r); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.AppendJSON(buf); err != nil {
			b.Fatal(err)
		}
	}
}
