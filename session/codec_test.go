package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func mustGroup(t testing.TB, name string) Group {
	t.Helper()
	g, err := ParseGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestRecordJSON(t *testing.T) {
	e := testEpoch(t)
	east := time.FixedZone("east", 2*60*60)
	at := time.Date(2026, 11, 24, 14, 0, 1, 500, east)
	identity := &Identity{
		Subject: "42", Source: "jwt", Expires: at.Add(time.Hour), IssuedAt: at.Add(-time.Hour), TokenID: "b3e0",
		Name: "zoë", Grants: []string{"app_*"}, Claims: map[string]any{"mail": "zoe@example.org"},
	}
	opened := Opened{
		Identity: identity, Route: "/ws/{group}", Protocol: "raw",
		Remote: netip.MustParsePrefix("192.0.2.0/24"), Groups: []Group{mustGroup(t, "app_1")},
	}
	r := Record{Time: at, Session: ID{e, 1}, Seq: 1, Event: opened}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"v":1,"t":"2026-11-24T12:00:01.0000005Z","s":"dc2nog01081g81860s40-1","n":1,"k":"opened","e":{` +
		`"identity":{"subject":"42","source":"jwt","expires":"2026-11-24T13:00:01.0000005Z","token_id":"b3e0",` +
		`"issued_at":"2026-11-24T11:00:01.0000005Z"},"route":"/ws/{group}","protocol":"raw","remote":"192.0.2.0/24",` +
		`"groups":["app_1"]}}`
	if string(b) != want {
		t.Errorf("Marshal =\n%s, want\n%s", b, want)
	}
	if identity.Expires.Location() != east {
		t.Error("Marshal changed the identity, which is shared")
	}

	var got Record
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if kept := r.Kept(); !reflect.DeepEqual(kept, got) {
		t.Errorf("Kept = %+v, but it reads as %+v", kept, got)
	}
	opened.Identity = &Identity{
		Subject: "42", Source: "jwt", Expires: identity.Expires.UTC(), IssuedAt: identity.IssuedAt.UTC(), TokenID: "b3e0",
	}
	if want := (Record{Time: at.UTC(), Session: r.Session, Seq: 1, Event: opened}); !reflect.DeepEqual(got, want) {
		t.Errorf("Unmarshal = %+v, want %+v: all but the personal data, in UTC", got, want)
	}
}

func TestKeptSharesNothing(t *testing.T) {
	opened := Opened{Identity: &Identity{Subject: "42"}, Groups: []Group{mustGroup(t, "a")}}
	kept := Record{Seq: 1, Event: opened}.Kept().Event.(Opened)
	kept.Groups[0], kept.Identity.Subject = mustGroup(t, "b"), "43"
	if opened.Groups[0].String() != "a" || opened.Identity.Subject != "42" {
		t.Errorf("what was kept is shared: %+v, %+v", opened, *opened.Identity)
	}
	unknown := Unknown{Name: "new", Data: json.RawMessage("{}")}
	Record{Seq: 1, Event: unknown}.Kept().Event.(Unknown).Data[0] = '['
	if string(unknown.Data) != "{}" {
		t.Errorf("the data of an unknown event is shared: %s", unknown.Data)
	}
}

func TestUnmarshalTolerates(t *testing.T) {
	e := testEpoch(t)
	joined := Record{
		Time: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Session: ID{e, 3}, Seq: 2,
		Event: Joined{Group: mustGroup(t, "app_1")},
	}
	unknown := joined
	unknown.Event = Unknown{Name: "teleported", Data: json.RawMessage(`{"to": [1, {"x":null}]}`)}
	anonymous := joined
	anonymous.Event = Opened{Identity: &Identity{Source: "anonymous", Anonymous: true}, Route: "/ws", Protocol: "raw"}

	for name, tt := range map[string]struct {
		text string
		want Record
	}{
		"as written": {
			`{"v":1,"t":"2026-11-24T12:00:00Z","s":"dc2nog01081g81860s40-3","n":2,"k":"joined","e":{"group":"app_1"}}`, joined,
		},
		"other order, spaces": {
			` { "e": {"group":"app_1"} , "k":"joined","n":2, "s":"dc2nog01081g81860s40-3","t":"2026-11-24T12:00:00Z","v":1}` + "\n", joined,
		},
		"new fields": {
			`{"v":1,"t":"2026-11-24T12:00:00Z","s":"dc2nog01081g81860s40-3","n":2,"k":"joined","tz":{"a":[]},"e":{"group":"app_1","by":"op"}}`, joined,
		},
		"newer version": {
			`{"v":7,"t":"2026-11-24T12:00:00Z","s":"dc2nog01081g81860s40-3","n":2,"k":"joined","e":{"group":"app_1"}}`, joined,
		},
		"other zone": {
			`{"v":1,"t":"2026-11-24T14:30:00+02:30","s":"dc2nog01081g81860s40-3","n":2,"k":"joined","e":{"group":"app_1"}}`, joined,
		},
		"unknown kind": {
			`{"v":1,"t":"2026-11-24T12:00:00Z","s":"dc2nog01081g81860s40-3","n":2,"k":"teleported","e":{"to": [1, {"x":null}]}}`, unknown,
		},
		"no groups, written": {
			`{"v":1,"t":"2026-11-24T12:00:00Z","s":"dc2nog01081g81860s40-3","n":2,"k":"opened","e":{"identity":{"source":"anonymous",` +
				`"anonymous":true},"route":"/ws","protocol":"raw","groups":[],"remote":""}}`, anonymous,
		},
	} {
		var got Record
		if err := json.Unmarshal([]byte(tt.text), &got); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tt.want)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	const good = `{"v":1,"t":"2026-11-24T12:00:00Z","s":"dc2nog01081g81860s40-3","n":2,"k":"joined","e":{"group":"app_1"}}`
	opened := strings.NewReplacer("joined", "opened", `{"group":"app_1"}`, `{"identity":{"source":"s"},"groups":["a"],"remote":"::/48"}`).Replace(good)
	for name, text := range map[string]string{
		"empty":                "",
		"null":                 "null",
		"array":                "[]",
		"no object":            "1",
		"empty object":         "{}",
		"cut":                  good[:len(good)-1],
		"more behind":          good + "}",
		"not UTF-8":            strings.Replace(good, `"app_1"`, "\"app_1\",\"x\":\"\xff\"", 1),
		"no version":           strings.Replace(good, `"v":1,`, "", 1),
		"version 0":            strings.Replace(good, `"v":1`, `"v":0`, 1),
		"version is text":      strings.Replace(good, `"v":1`, `"v":"1"`, 1),
		"version is negative":  strings.Replace(good, `"v":1`, `"v":-1`, 1),
		"no time":              strings.Replace(good, `"t":"2026-11-24T12:00:00Z",`, "", 1),
		"null time":            strings.Replace(good, `"2026-11-24T12:00:00Z"`, "null", 1),
		"time without a zone":  strings.Replace(good, "00Z", "00", 1),
		"time out of range":    strings.Replace(good, "2026-11-24T12:00:00Z", "9999-12-31T23:59:59-01:00", 1),
		"time as a number":     strings.Replace(good, `"2026-11-24T12:00:00Z"`, "1", 1),
		"no session":           strings.Replace(good, `"s":"dc2nog01081g81860s40-3",`, "", 1),
		"null session":         strings.Replace(good, `"dc2nog01081g81860s40-3"`, "null", 1),
		"bad session":          strings.Replace(good, "40-3", "40-03", 1),
		"no sequence":          strings.Replace(good, `"n":2,`, "", 1),
		"sequence 0":           strings.Replace(good, `"n":2`, `"n":0`, 1),
		"sequence not whole":   strings.Replace(good, `"n":2`, `"n":2.5`, 1),
		"sequence too great":   strings.Replace(good, `"n":2`, `"n":18446744073709551616`, 1),
		"no kind":              strings.Replace(good, `"k":"joined",`, "", 1),
		"empty kind":           strings.Replace(good, `"joined"`, `""`, 1),
		"no event":             strings.Replace(good, `,"e":{"group":"app_1"}`, "", 1),
		"null event":           strings.Replace(good, `{"group":"app_1"}`, "null", 1),
		"event is a list":      strings.Replace(good, `{"group":"app_1"}`, `[]`, 1),
		"unknown, not object":  strings.NewReplacer("joined", "teleported", `{"group":"app_1"}`, "1").Replace(good),
		"no group":             strings.Replace(good, `{"group":"app_1"}`, `{}`, 1),
		"null group":           strings.Replace(good, `"app_1"`, `null`, 1),
		"wildcard":             strings.Replace(good, `"app_1"`, `"app_*"`, 1),
		"no group to leave":    strings.NewReplacer("joined", "left", `{"group":"app_1"}`, "{}").Replace(good),
		"no identity":          strings.Replace(opened, `"identity":{"source":"s"},`, "", 1),
		"null identity":        strings.Replace(opened, `{"source":"s"}`, "null", 1),
		"null in groups":       strings.Replace(opened, `["a"]`, `["a",null]`, 1),
		"wildcard in groups":   strings.Replace(opened, `["a"]`, `["a",">"]`, 1),
		"groups no list":       strings.Replace(opened, `["a"]`, `"a"`, 1),
		"remote no network":    strings.Replace(opened, `"::/48"`, `"::1"`, 1),
		"expiry out of range":  strings.Replace(opened, `"s"}`, `"s","expires":"9999-12-31T23:59:59-01:00"}`, 1),
		"issued out of range":  strings.Replace(opened, `"s"}`, `"s","issued_at":"0000-01-01T00:00:00+01:00"}`, 1),
		"gap out of range":     strings.NewReplacer("joined", "gap", `{"group":"app_1"}`, `{"since":"9999-12-31T23:59:59-01:00"}`).Replace(good),
		"close code too great": strings.NewReplacer("joined", "closed", `{"group":"app_1"}`, `{"code":65536}`).Replace(good),
	} {
		kept := Record{Seq: 77}
		if err := kept.UnmarshalJSON([]byte(text)); !errors.Is(err, ErrRecord) || kept.Seq != 77 {
			t.Errorf("%s: %s: %v, and the record has sequence %d; want ErrRecord and the record as it was", name, text, err, kept.Seq)
		}
	}
	for _, text := range []string{good, opened} {
		if err := new(Record).UnmarshalJSON([]byte(text)); err != nil {
			t.Errorf("the text that the others are made of: %v", err)
		}
	}
}

func TestCheck(t *testing.T) {
	g, who := mustGroup(t, "app_1"), &Identity{Source: "s"}
	late := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	invalid := netip.PrefixFrom(netip.MustParseAddr("::1"), 129)
	for name, tt := range map[string]struct {
		r    Record
		want string // "": it passes
	}{
		"least":               {Record{Seq: 1, Event: Closed{}}, ""},
		"opened":              {Record{Seq: 1, Event: Opened{Identity: who, Groups: []Group{g}}}, ""},
		"before year 10000":   {Record{Seq: 1, Time: late.Add(-1), Event: Joined{g}}, ""},
		"unknown":             {Record{Seq: 1, Event: Unknown{"new", json.RawMessage(`{"a":1}`)}}, ""},
		"no event":            {Record{Seq: 1}, "no event"},
		"no sequence":         {Record{Event: Joined{g}}, "no sequence"},
		"time":                {Record{Seq: 1, Time: late, Event: Joined{g}}, "time is out of range"},
		"time, by its zone":   {Record{Seq: 1, Time: late.Add(-1).In(time.FixedZone("", 60)), Event: Joined{g}}, ""},
		"year before 0":       {Record{Seq: 1, Time: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), Event: Joined{g}}, "time is out of range"},
		"no identity":         {Record{Seq: 1, Event: Opened{}}, "no identity"},
		"expiry":              {Record{Seq: 1, Event: Opened{Identity: &Identity{Expires: late}}}, "of the identity is out of range"},
		"issue":               {Record{Seq: 1, Event: Opened{Identity: &Identity{IssuedAt: late}}}, "of the identity is out of range"},
		"opened, zero group":  {Record{Seq: 1, Event: Opened{Identity: who, Groups: []Group{g, {}}}}, "no group"},
		"opened, remote":      {Record{Seq: 1, Event: Opened{Identity: who, Remote: invalid}}, "invalid remote"},
		"refused, remote":     {Record{Seq: 1, Event: Refused{Remote: invalid}}, "invalid remote"},
		"gap":                 {Record{Seq: 1, Event: Gap{Since: late.Add(-1), Lost: 1}}, ""},
		"gap, time":           {Record{Seq: 1, Event: Gap{Since: late}}, "since when is out of range"},
		"refreshed, for long": {Record{Seq: 1, Event: Refreshed{Expires: late}}, "time of the end is out of range"},
		"joined nothing":      {Record{Seq: 1, Event: Joined{}}, "no group"},
		"left nothing":        {Record{Seq: 1, Event: Left{}}, "no group"},
		"unknown, no name":    {Record{Seq: 1, Event: Unknown{Data: json.RawMessage(`{}`)}}, "no kind"},
		"unknown, known":      {Record{Seq: 1, Event: Unknown{KindLeft, json.RawMessage(`{}`)}}, "name of a known one"},
		"unknown, no data":    {Record{Seq: 1, Event: Unknown{Name: "new"}}, "no object"},
		"unknown, broken":     {Record{Seq: 1, Event: Unknown{"new", json.RawMessage(`{"a":}`)}}, "no object"},
		"unknown, not UTF-8":  {Record{Seq: 1, Event: Unknown{"new", json.RawMessage("{\"\xff\":1}")}}, "no object"},
	} {
		err, encoded := tt.r.Check(), func() error { _, err := tt.r.MarshalJSON(); return err }()
		if (err == nil) != (encoded == nil) {
			t.Errorf("%s: Check = %v, but MarshalJSON = %v", name, err, encoded)
		}
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an ErrRecord that says %q", name, err, tt.want)
		}
	}
}

// FuzzRecord holds that what parses can be written, and is the same record when it is read again.
func FuzzRecord(f *testing.F) {
	for _, text := range goldens(f) {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"v":2,"t":"9999-12-31T23:59:59+01:00","s":"00000000000000000000-0","n":1,"k":"new","e":{ "a" : "<\u2028>" }}`))
	f.Add([]byte(`{"v":1,"t":"0000-01-01T00:00:00-01:00","s":"00000000000000000000-1","n":1,"k":"opened","e":{"identity":{},"groups":[],"remote":"::ffff:1.2.3.4/120"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var first Record
		if err := first.UnmarshalJSON(text); err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("%v is no ErrRecord", err)
			}
			return
		}
		b, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("%s parses, but cannot be written: %v", text, err)
		}
		var second Record
		if err := second.UnmarshalJSON(b); err != nil {
			t.Fatalf("%s is written as %s, which does not parse: %v", text, b, err)
		}
		if again, err := json.Marshal(second); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%s, read and written again, is %s (%v)", b, again, err)
		}
		if u, ok := first.Event.(Unknown); ok { // kept as it was read; written without spaces
			var data, escaped bytes.Buffer
			if err := json.Compact(&data, u.Data); err != nil {
				t.Fatal(err)
			}
			json.HTMLEscape(&escaped, data.Bytes())
			u.Data = escaped.Bytes()
			first.Event = u
		}
		if !reflect.DeepEqual(first, first.Kept()) {
			t.Fatalf("%+v is kept as %+v", first, first.Kept())
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v, written and read again, is %+v", first, second)
		}
	})
}
