package gateway

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// Verifiers that hang make nobody wait who is another's, from their first moment on: who was revoked there is out in time.
func TestRecheckIsInTimeWhileOthersHang(t *testing.T) {
	for _, hang := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			const recheck = time.Second
			hanging, well := newPeople(), newPeople()
			routes := []Route{well.route(t, recheck)}
			for i := range hang {
				stuck := hanging.route(t, 10*recheck)
				stuck.Path = "/stuck" + strconv.Itoa(i) + "/{group}"
				routes = append(routes, stuck)
			}
			n := newLasting(t, routes...)
			var those, users []*user
			for i := range hang * 3 * recheckChecks {
				those = append(those, n.connectTo("/stuck"+strconv.Itoa(i%hang)+"/app_1?token=s"+strconv.Itoa(i)))
			}
			for i := range 15 {
				users = append(users, n.connect("t"+strconv.Itoa(i), "app_1"))
			}
			hanging.with(func(p *people) { p.delay, p.most = time.Hour, 0 })
			for i, u := range users {
				well.with(func(p *people) { p.tokens["t"+strconv.Itoa(i)] = errGoneToken })
				at := time.Now()
				if <-u.done; u.code != 4401 || u.at.Sub(at) > recheck {
					t.Errorf("%d hang: %d was closed with %d after %v", hang, i, u.code, u.at.Sub(at))
				}
			}
			hanging.with(func(p *people) {
				if p.most < recheckMost || p.most >= recheckChecks {
					t.Errorf("%d hang: they were asked %d at once, want %d to %d", hang, p.most, recheckMost, recheckChecks-1)
				}
				p.delay = 0
				p.tokens["s0"] = errGoneToken
			})
			at := time.Now()
			if <-those[0].done; those[0].code != 4401 || time.Since(at) > 10*recheck {
				t.Errorf("closed with %d, %v after it is well again", those[0].code, time.Since(at))
			}
			for i, u := range those[1:] {
				if !u.open() {
					t.Errorf("%d of those of whom nobody could say was closed with %d", i, u.code)
				}
			}
			time.Sleep(10 * recheck) // what has hung goes on for its time
			synctest.Wait()
			if waiting, lanes := n.waiting(); waiting != 0 || lanes != 0 {
				t.Errorf("%d wait, and there are %d lanes, when all is well", waiting, lanes)
			}
		})
	}
}

// Those that wait for a place and go away meanwhile are not looked at, and leave nothing behind.
func TestRecheckForgetsThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeople()
		n := newLasting(t, p.route(t, 10*time.Second))
		var users []*user
		for i := range 2 * recheckMost {
			users = append(users, n.connect("t"+strconv.Itoa(i), "app_1"))
		}
		p.with(func(p *people) { p.delay = 4 * time.Second })
		if got := n.Recheck(all); got != 2*recheckMost {
			t.Fatalf("%d are watched", got)
		}
		time.Sleep(time.Second)
		waiting, _ := n.waiting()
		if waiting != recheckMost {
			t.Errorf("%d wait, want %d", waiting, recheckMost)
		}
		asked := func() (n int) {
			for i := range users {
				n += p.count("t" + strconv.Itoa(i))
			}
			return n
		}
		before := asked()
		for _, u := range users {
			u.conn.Close()
		}
		time.Sleep(time.Minute)
		more := asked() - before
		u := n.connect("last", "app_1")
		time.Sleep(30 * time.Second)
		waiting, _ = n.waiting()
		if more != 0 || n.rechecks.count() != 1 || waiting != 0 || p.count("last") < 3 || !u.open() {
			t.Errorf("%d more were asked about, %d are watched, %d wait, the last was asked about %d times",
				more, n.rechecks.count(), waiting, p.count("last"))
		}
	})
}

// waiting returns how many wait for a place, and how many routes have one or wait.
func (n *lasting) waiting() (watches, lanes int) {
	n.rechecks.mu.Lock()
	defer n.rechecks.mu.Unlock()
	return n.rechecks.lanes.waiting, len(n.rechecks.lanes.of)
}
