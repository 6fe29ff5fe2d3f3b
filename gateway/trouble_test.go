package gateway

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// A verifier that hangs makes nobody wait who is another's: who was revoked there is out in time.
func TestRecheckIsInTimeWhileAnotherHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const recheck = 10 * time.Second
		hanging, well := newPeople(), newPeople()
		stuck, fine := hanging.route(t, recheck), well.route(t, recheck)
		stuck.Path, fine.Path = "/stuck/{group}", "/ws/{group}"
		n := newLasting(t, stuck, fine)
		var those, users []*user
		for i := range 4 * recheckChecks {
			those = append(those, n.connectTo("/stuck/app_1?token=s"+strconv.Itoa(i)))
		}
		for i := range 20 {
			users = append(users, n.connect("t"+strconv.Itoa(i), "app_1"))
		}
		hanging.with(func(p *people) { p.delay = time.Hour })
		time.Sleep(time.Minute) // by now it is known
		hanging.with(func(p *people) { p.most = 0 })
		for i, u := range users {
			well.with(func(p *people) { p.tokens["t"+strconv.Itoa(i)] = errGoneToken })
			at := time.Now()
			if <-u.done; u.code != 4401 || u.at.Sub(at) > recheck {
				t.Errorf("%d was closed with %d after %v", i, u.code, u.at.Sub(at))
			}
		}
		hanging.with(func(p *people) {
			if p.most == 0 || p.most > recheckStuck {
				t.Errorf("the one that hangs was asked %d at once, want 1 to %d", p.most, recheckStuck)
			}
			p.delay = 0
			p.tokens["s0"] = errGoneToken
		})
		at := time.Now()
		if <-those[0].done; those[0].code != 4401 || time.Since(at) > 2*recheck {
			t.Errorf("closed with %d, %v after it is well again", those[0].code, time.Since(at))
		}
		for i, u := range those[1:] {
			if !u.open() {
				t.Errorf("%d of those of whom nobody could say was closed with %d", i, u.code)
			}
		}
	})
}
