package gateway

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// Where nobody knows what has changed, those whom it may be about are looked at soon, evenly; nobody else is.
func TestRecheckSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, q := newPeople(), newPeople()
		often := q.route(t, 2*time.Second)
		often.Path = "/often/{group}"
		n := newLasting(t, p.route(t, 24*time.Hour), often)
		const many = 300
		var users []*user
		for i := range many {
			users = append(users, n.connect("t"+strconv.Itoa(i), "app_1"))
		}
		frequent := n.connectTo("/often/app_1?token=f")
		soon := func(id *session.Identity, kept *authn.Kept) bool { return kept != nil && id.Subject != "of t0" }
		p.with(func(p *people) {
			clear(p.asked)
			p.most = 0
			p.tokens["t0"], p.tokens["t1"], p.tokens["t2"] = errGoneToken, errGoneToken, errGoneToken
		})
		begin := time.Now()
		if got := n.RecheckSoon(soon); got != many {
			t.Errorf("%d match", got)
		}
		for range 5 { // the connection to the database comes and goes
			time.Sleep(time.Nanosecond)
			n.RecheckSoon(soon)
		}
		time.Sleep(minRecheckSoon / 2)
		half := n.results()["ok"] + n.results()["rejected"]
		time.Sleep(minRecheckSoon / 2)
		synctest.Wait()
		if half < many/3 || half > many*2/3+10 {
			t.Errorf("%d of %d were looked at in half of the time", half, many)
		}
		sum := 0
		for i, u := range users {
			gone := i == 1 || i == 2
			if u.open() == gone || gone && (u.code != 4401 || u.at.Sub(begin) > minRecheckSoon) {
				t.Errorf("%d: open %v, closed with %d after %v", i, u.open(), u.code, u.at.Sub(begin))
			}
			if asked := p.count("t" + strconv.Itoa(i)); i > 0 && asked == 0 {
				t.Errorf("%d was not asked about", i)
			} else {
				sum += asked
			}
		}
		if sum > many+many/4 { // a few are looked at before it is asked for again, and once more then
			t.Errorf("%d of %d were looked at", sum, many)
		}
		p.with(func(p *people) {
			if p.most > many/10 {
				t.Errorf("%d were asked about at once", p.most)
			}
		})
		if got := q.count("f"); got < 6 || !frequent.open() { // what is due sooner is not put off
			t.Errorf("one who is looked at every 2 seconds was looked at %d times", got)
		}
		// One who is being looked at is looked at once more.
		p.with(func(p *people) { p.delay = time.Second })
		before := p.count("t3")
		n.Recheck(func(id *session.Identity, _ *authn.Kept) bool { return id.Subject == "of t3" })
		time.Sleep(time.Second / 2)
		p.with(func(p *people) { p.delay = 0 })
		n.RecheckSoon(func(id *session.Identity, _ *authn.Kept) bool { return id.Subject == "of t3" })
		time.Sleep(minRecheckSoon + time.Second)
		synctest.Wait()
		if got := p.count("t3") - before; got != 2 {
			t.Errorf("it was looked at %d times, want 2", got)
		}
	})
}

// However many they are, and however often it is asked for, no more than so many a second are due.
func TestRecheckSoonIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRechecks(&Gateway{})
		defer r.close()
		r.loops = true // nothing is started
		const many = 40_000
		for range many {
			r.add(&watch{every: 24 * time.Hour, index: -1, place: -1})
		}
		begin := r.now()
		for range 3 {
			if got := r.spread(all); got != many {
				t.Fatalf("%d match", got)
			}
			time.Sleep(5 * time.Second)
		}
		seconds := map[time.Duration]int{}
		for _, w := range r.all {
			seconds[(w.due-begin)/time.Second]++
		}
		for second, n := range seconds {
			if second < 0 || second >= many/recheckSoonRate || n > recheckSoonRate*5/4 {
				t.Errorf("%d are due in second %d", n, second)
			}
		}
	})
}
