package authn

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// fullPayload has every claim that an identity takes.
const fullPayload = `{"exp":3976214400,"iat":1500000000,"nbf":1,"user_id":"subject","username":"n\u0061me","jti":"id","groups":["g"],"plan":"p"}`

func keepPlan(c *JWTConfig) { c.Keep = []string{"plan"} }

// wantWiped fails unless s holds nothing of a token, and no more memory than it may keep.
func wantWiped(t *testing.T, s *scratch) {
	t.Helper()
	for what, b := range map[string][]byte{"parts": s.parts[:cap(s.parts)], "text": s.text[:], "sum": s.sum[:]} {
		if i := bytes.IndexFunc(b, func(r rune) bool { return r != 0 }); i >= 0 {
			t.Errorf("%s holds %q at %d", what, b[i:min(i+20, len(b))], i)
		}
	}
	for _, m := range s.claims.members[:cap(s.claims.members)] {
		if m.name != nil || m.raw != nil {
			t.Errorf("a member holds %q", m.name)
		}
	}
	if n := len(s.claims.members); n != 0 {
		t.Errorf("%d members are left", n)
	}
	if !s.claims.exp.IsZero() || !s.claims.nbf.IsZero() || !s.claims.iat.IsZero() {
		t.Error("a date is left")
	}
	if cap(s.parts) > maxKeptParts || cap(s.claims.members) > maxKeptMembers {
		t.Errorf("it keeps %d bytes and %d members", cap(s.parts), cap(s.claims.members))
	}
	fresh := hmac.New(sha256.New, []byte(fixtureSecret))
	if !bytes.Equal(s.macs[0].Sum(nil), fresh.Sum(nil)) {
		t.Error("the MAC holds the end of a token")
	}
}

// TestScratchIsWiped verifies tokens of all kinds in one scratch. Each ends at another place, and none may leave a trace.
func TestScratchIsWiped(t *testing.T) {
	v := newTestJWT(t, keepPlan)
	s := v.newScratch()
	good := signed(fullPayload)
	want := must(v.verify(t.Context(), v.newScratch(), []byte(good)))
	many := strings.Repeat(`"x":1,`, maxKeptMembers+1)
	long := `"y":"` + strings.Repeat("y", maxKeptParts) + `",`
	for name, token := range map[string]string{
		"good":          good,
		"another":       signed(`{"exp":3976214400,"user_id":2}`),
		"escaped name":  signed(`{"\u0065xp":3976214400,"user_id":2}`),
		"long texts":    signed(`{"exp":3976214400,"user_id":"` + strings.Repeat("u", 5000) + `"}`),
		"many members":  signed(`{` + many + fullPayload[1:]),
		"long":          signed(`{` + long + fullPayload[1:]),
		"bad signature": sign(hs256Header, fullPayload, []byte("another")),
		"bad algorithm": sign(`{"alg":"HS512"}`, fullPayload, []byte(fixtureSecret)),
		"expired":       signed(`{"exp":1,"nbf":2,"iat":3,"user_id":"subject"}`),
		"no subject":    signed(`{"exp":3976214400,"username":"name","jti":"id"}`),
		"no base64":     good[:len(good)-9] + "!" + good[len(good)-8:],
		"no object":     signed(`[]`),
		"four parts":    good + "." + good,
	} {
		t.Run(name, func(t *testing.T) {
			_, _ = v.verify(t.Context(), s, []byte(token)) // the tables of TestJWTClaims and TestJWTForm have the answers
			if name == "good" && (s.parts[0] != '{' || s.text[0] == 0 || s.sum[0] == 0 && s.sum[1] == 0 || s.claims.exp.IsZero()) {
				t.Error("nothing to wipe: this test sees nothing")
			}
			s.reset()
			wantWiped(t, s)
			if id, err := v.verify(t.Context(), s, []byte(good)); err != nil || !reflect.DeepEqual(id, want) {
				t.Errorf("afterwards the good token gives %+v, %v, want %+v", id, err, want)
			}
			s.reset()
		})
	}
}

// TestIdentityOutlivesScratch checks that the next token in a scratch changes no identity that came out of it before.
func TestIdentityOutlivesScratch(t *testing.T) {
	v := newTestJWT(t, keepPlan)
	s := v.newScratch()
	id := must(v.verify(t.Context(), s, []byte(signed(fullPayload))))
	s.reset()
	must(v.verify(t.Context(), s, []byte(signed(`{"exp":3976214401,"iat":1500000001,"nbf":2,"user_id":"SUBJECT","username":"NAME","jti":"ID","groups":["G"],"plan":"P"}`))))
	for i := range s.parts[:cap(s.parts)] {
		s.parts[:cap(s.parts)][i] = 'X'
	}
	for i := range s.text {
		s.text[i] = 'X'
	}
	want := &session.Identity{
		Subject: "subject", Name: "name", TokenID: "id", Source: "jwt", Grants: []string{"g"}, Claims: map[string]any{"plan": "p"},
		Expires: time.Unix(3976214400, 0).UTC(), IssuedAt: time.Unix(1500000000, 0).UTC(),
	}
	if !reflect.DeepEqual(id, want) {
		t.Errorf("got %+v, want %+v", id, want)
	}
}

// TestJWTConcurrently lets goroutines verify good and bad tokens of their own at the same time: each gets its own answer.
func TestJWTConcurrently(t *testing.T) {
	v := newTestJWT(t, nil)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				subject := strconv.Itoa(g*1000 + i)
				payload := fmt.Sprintf(`{"exp":%d,"user_id":%q,"username":"u%[2]s"}`, 3976214400+g, subject)
				id, err := v.Verify(t.Context(), Credential{Value: []byte(signed(payload))})
				if err != nil || id.Subject != subject || id.Name != "u"+subject || id.Expires.Unix() != int64(3976214400+g) {
					t.Errorf("%s: got %+v, %v", payload, id, err)
				}
				if _, err = v.Verify(t.Context(), Credential{Value: []byte(sign(hs256Header, payload, []byte("another")))}); err == nil {
					t.Error("a token of another key was accepted")
				}
			}
		})
	}
	wg.Wait()
}

// TestJWTAllocations counts what a handshake costs the garbage collector. The least of many counts: a pool may drop what it
// was given, and does so on purpose under the race detector.
func TestJWTAllocations(t *testing.T) {
	v := newTestJWT(t, func(c *JWTConfig) { c.Require = map[string]any{"token_type": "access"} })
	c := Credential{Value: []byte(signed(`{"token_type":"access","exp":3976214400,"iat":1500000000,"user_id":1234567,"username":"somebody",` +
		`"jti":"0c591a636f664ad4bda672ff3da5440c"}`))}
	allocs, size := uint64(1<<63), uint64(1<<63)
	var before, after runtime.MemStats
	for range 200 {
		runtime.ReadMemStats(&before)
		_, err := v.Verify(t.Context(), c)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		allocs = min(allocs, after.Mallocs-before.Mallocs)
		size = min(size, after.TotalAlloc-before.TotalAlloc)
	}
	// The identity, its texts, and the validator's list of errors.
	if allocs > 3 || size > 320 {
		t.Errorf("Verify allocates %d times, %d bytes, want at most 3 times and 320 bytes", allocs, size)
	}
}
