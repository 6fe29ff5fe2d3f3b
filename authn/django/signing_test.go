package django

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// signedValue is what a real Django made of some JSON.
type signedValue struct {
	Salt, JSON, Alg, Value string
	At                     int64
}

type signingFixtures struct {
	Secret string
	Values []signedValue
	Base62 map[string]string
}

func loadSigning(t testing.TB) signingFixtures {
	t.Helper()
	var f signingFixtures
	loadJSON(t, "testdata/signing.json", &f)
	if len(f.Values) < 20 || len(f.Base62) < 10 {
		t.Fatal("the fixtures are not whole")
	}
	return f
}

func TestLoadsWhatDjangoDumps(t *testing.T) {
	f := loadSigning(t)
	for _, v := range f.Values {
		for _, c := range []struct {
			what string
			SignerConfig
			want error
		}{
			{"as it is", SignerConfig{Salt: v.Salt, Secret: f.Secret, Legacy: true}, nil},
			{"behind another secret", SignerConfig{Salt: v.Salt, Secret: "new", Fallbacks: []string{"newer", f.Secret}, Legacy: true}, nil},
			{"without SHA-1", SignerConfig{Salt: v.Salt, Secret: f.Secret}, map[string]error{"sha1": ErrBadSignature}[v.Alg]},
			{"with another salt", SignerConfig{Salt: v.Salt + "x", Secret: f.Secret, Legacy: true}, ErrBadSignature},
			{"with another secret", SignerConfig{Salt: v.Salt, Secret: f.Secret + "x", Legacy: true}, ErrBadSignature},
		} {
			got, at, err := must(NewSigner(c.SignerConfig)).Loads([]byte(v.Value))
			if !errors.Is(err, c.want) || c.want == nil && (string(got) != v.JSON || at.Unix() != v.At) {
				t.Errorf("%s, %s: got %q of %v, %v, want %q of %d, %v", v.Value, c.what, got, at, err, v.JSON, v.At, c.want)
			}
		}
	}
}

func TestEveryOtherByteIsNoSignature(t *testing.T) {
	s := must(NewSigner(SignerConfig{Salt: "fairlead", Secret: fixtureSecret, Legacy: true}))
	value := []byte(s.Dumps([]byte(`{"group":"app_1"}`), time.Unix(1e9, 0)))
	if _, _, err := s.Loads(value); err != nil {
		t.Fatal(err)
	}
	for i := range value {
		for _, c := range []byte("A9_:.=\x00\xff") {
			changed := bytes.Clone(value)
			if changed[i] = c; bytes.Equal(changed, value) {
				continue
			}
			if _, _, err := s.Loads(changed); !errors.Is(err, ErrBadSignature) {
				t.Errorf("byte %d made %q: %v", i, c, err)
			}
		}
		if _, _, err := s.Loads(value[:i]); !errors.Is(err, ErrBadSignature) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	// The last character of a signature has bits that mean nothing: Django compares texts, and so do we.
	twin := bytes.Clone(value)
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", twin[len(twin)-1])
	twin[len(twin)-1] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last^1]
	if _, _, err := s.Loads(twin); !errors.Is(err, ErrBadSignature) {
		t.Errorf("the twin of a signature: %v", err)
	}
}

// sign puts a genuine signature behind data, whatever that is.
func (s *Signer) sign(data string) []byte {
	return []byte(data + ":" + base64.RawURLEncoding.EncodeToString(s.keys[0].appendMAC(nil, []byte(data))))
}

// deflated returns data as a compressed value has it.
func deflated(data []byte) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	must(w.Write(data))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return "." + base64.RawURLEncoding.EncodeToString(b.Bytes())
}

func TestGenuineAndUnreadable(t *testing.T) {
	s := must(NewSigner(SignerConfig{Salt: "fairlead", Secret: fixtureSecret}))
	whole := deflated([]byte(`{"a":1}`))
	for data, want := range map[string]error{
		"e30:1":                     nil,
		whole + ":1":                nil,
		"e30:-1":                    nil,
		"e30":                       ErrMalformed, // no timestamp
		"e30:":                      ErrMalformed,
		"e30:-":                     ErrMalformed,
		"e30:!":                     ErrMalformed,
		"e30:zzzzzzzzzzzz":          ErrMalformed, // beyond 64 bits
		"e:1":                       ErrMalformed, // no base64
		"e3$0:1":                    ErrMalformed,
		".e30:1":                    ErrMalformed, // no zlib
		".:1":                       ErrMalformed,
		whole[:len(whole)-4] + ":1": ErrMalformed, // the checksum is cut
		deflated(bytes.Repeat([]byte("a"), MaxInflated)) + ":1":   nil,
		deflated(bytes.Repeat([]byte("a"), MaxInflated+1)) + ":1": ErrTooLarge,
	} {
		if _, _, err := s.Loads(s.sign(data)); !errors.Is(err, want) {
			t.Errorf("%.80q: got %v, want %v", data, err, want)
		}
	}
	if _, _, err := s.Loads(make([]byte, 2<<20)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("2 MiB: %v", err)
	}
	// What could not be read must not spoil the next one: the inflaters are used again.
	for range 100 {
		if got, _, err := s.Loads(s.sign(whole + ":1")); err != nil || string(got) != `{"a":1}` {
			t.Fatalf("got %q, %v", got, err)
		}
		if _, _, err := s.Loads(s.sign(".e30:1")); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	}
}

func TestBombsAreBounded(t *testing.T) {
	s := must(NewSigner(SignerConfig{Salt: "fairlead", Secret: fixtureSecret}))
	bomb := s.sign(deflated(make([]byte, 32<<20)) + ":1")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := s.Loads(bomb); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 12<<20 {
		t.Errorf("a bomb of %d bytes took %d bytes", len(bomb), n)
	}
}

func TestBase62(t *testing.T) {
	for number, text := range loadSigning(t).Base62 {
		n := must(strconv.ParseInt(number, 10, 64))
		if got := string(appendBase62(nil, n)); got != text {
			t.Errorf("%d: got %q, want %q", n, got, text)
		}
		if got, ok := decodeBase62([]byte(text)); !ok || got != n {
			t.Errorf("%q: got %d, %v, want %d", text, got, ok, n)
		}
	}
	for _, text := range []string{"", "-", "--1", " 1", "1 ", "+1", "AzL8n0Y58m8", "zzzzzzzzzzzzzzzz"} {
		if n, ok := decodeBase62([]byte(text)); ok {
			t.Errorf("%q became %d", text, n)
		}
	}
}

func TestSignerConfig(t *testing.T) {
	for _, c := range []SignerConfig{{Salt: "s"}, {Secret: "x"}, {Salt: "s", Secret: "x", Fallbacks: []string{""}}} {
		if _, err := NewSigner(c); err == nil {
			t.Errorf("%+v made a signer", c)
		}
	}
}

func FuzzLoads(f *testing.F) {
	s := must(NewSigner(SignerConfig{Salt: "fairlead", Secret: fixtureSecret, Legacy: true}))
	for _, v := range loadSigning(f).Values {
		f.Add([]byte(v.Value))
		f.Add([]byte(v.Value[:strings.LastIndexByte(v.Value, ':')]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if content, _, err := s.Loads(b); err == nil {
			if got, _, err := s.Loads([]byte(s.Dumps(content, time.Unix(1, 0)))); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%q became %q, %v", content, got, err)
			}
		}
		// The same with a genuine signature, since what is behind it has to stand anything, too.
		if content, _, err := s.Loads(s.sign(string(b))); len(content) > MaxInflated || errors.Is(err, ErrBadSignature) && len(b) < MaxInflated {
			t.Errorf("%d bytes, %v", len(content), err)
		}
	})
}

func BenchmarkLoads(b *testing.B) {
	s := must(NewSigner(SignerConfig{Salt: storeSalt, Secret: fixtureSecret}))
	content := []byte(`{"_auth_user_id":"1","_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"` + strings.Repeat("0", 64) + `"}`)
	for name, value := range map[string][]byte{
		"plain":      []byte(s.Dumps(content, time.Unix(1e9, 0))),
		"compressed": s.sign(deflated(content) + ":1"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.Loads(value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
