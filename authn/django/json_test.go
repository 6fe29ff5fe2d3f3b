package django

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestParseObject(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	for text, want := range map[string]bool{
		`{}`: true, " {\t}\r\n": true, `{"a":1,"b":[{},[],"x",1.5e-3,-0,true,false,null]}`: true,
		`{"a":NaN,"b":Infinity,"c":-Infinity}`: true, // as Python writes them
		`{"a":"\ud800"}`:                       true,
		deep(400):                              true,
		deep(600):                              false,
		deep(1000000):                          false,
		``:                                     false, `[]`: false, `null`: false, `"a"`: false, `{`: false, `{}{}`: false, `{},`: false,
		`{"a"}`: false, `{"a":}`: false, `{"a":1,}`: false, `{,}`: false, `{a:1}`: false, `{'a':1}`: false, `{"a":01}`: false,
		`{"a":+1}`: false, `{"a":1.}`: false, `{"a":.5}`: false, `{"a":1e}`: false, `{"a":-}`: false, `{"a":nan}`: false, `{"a":-NaN}`: false,
		"{\"a\":\"\n\"}": false, `{"a":"\x41"}`: false, `{"a":"\u12g4"}`: false, `{"a":"\u12`: false, `{"a":"`: false, `{"a":"\`: false,
		`{"a":tru}`: false, "{\"a\":1}\x00": false, "\ufeff{}": false,
	} {
		if _, ok := ParseObject([]byte(text)); ok != want {
			t.Errorf("%.60q: got %v, want %v", text, ok, want)
		}
	}
}

func TestValues(t *testing.T) {
	o, ok := ParseObject([]byte(`{"s":"zo\u00eb","raw":"zoë","n":1,"neg":-5,"big":123456789012345678901234567890,"f":1.0,"e":1e0,"z":-0,"null":null,
		"half":"\ud800","pair":"\ud83d\ude00","bad":"` + "\xff" + `","list":["a","\u0062"],"none":[],"mixed":["a",1],"twice":1,"twice":2,
		"k\u0065y":"yes","S":"other","t":true,"empty":""}`))
	if !ok {
		t.Fatal("it is no object")
	}
	for name, want := range map[string]string{ // "?": it is none
		"s": "zoë", "raw": "zoë", "n": "1", "neg": "-5", "big": "123456789012345678901234567890", "twice": "2", "key": "yes", "S": "other", "empty": "",
		"f": "?", "e": "?", "z": "?", "null": "?", "half": "?", "bad": "?", "list": "?", "t": "?", "pair": "😀",
	} {
		v, ok := o.Get(name)
		if !ok {
			t.Errorf("%s is not there", name)
		}
		if got, ok := v.Name(); ok != (want != "?") || ok && got != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"missing", "", "k\\u0065y", "N"} {
		if v, ok := o.Get(name); ok {
			t.Errorf("%s is %s", name, v)
		}
	}
	for name, want := range map[string][]string{"list": {"a", "b"}, "none": nil} {
		v, _ := o.Get(name)
		if got, ok := v.Texts(); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"mixed", "s", "null"} {
		v, _ := o.Get(name)
		if got, ok := v.Texts(); ok {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if v, _ := o.Get("null"); !v.IsNull() {
		t.Error("null is not null")
	}
}

// FuzzObject compares with encoding/json, which knows no NaN and no Infinity and goes deeper.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":"\u00eb\n"}],"":-0.5e+7}`, `{"a":"\ud800","a":null}`, ` {"_auth_user_id":"1"} `, `{"a":NaN}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, ok := ParseObject(b)
		if bytes.Contains(b, []byte("NaN")) || bytes.Contains(b, []byte("Infinity")) || bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > maxDepth {
			return
		}
		var want map[string]json.RawMessage
		isObject := json.Valid(b) && bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{"))
		if ok != isObject {
			t.Fatalf("%q: got %v, want %v", b, ok, isObject)
		}
		if !ok {
			return
		}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		for name, value := range want {
			if strings.ContainsRune(name, '\ufffd') { // it may be two names
				continue
			}
			got, ok := o.Get(name)
			if !ok || !bytes.Equal(got, value) {
				t.Errorf("%q of %q: got %q, %v, want %q", name, b, got, ok, value)
			}
			var s string
			text, ok := got.Text()
			if err := json.Unmarshal(value, &s); ok && (err != nil || s != text) {
				t.Errorf("%q: got %q, want %q, %v", value, text, s, err)
			}
		}
	})
}
