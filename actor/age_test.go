package actor

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// retire lets the client wait for the close that comes when it is too old, and go. It returns when that came.
func (c *client) retire() time.Time {
	c.want(closeBit, code(CloseServiceRestart, "the connection is old: connect again"))
	at := time.Now()
	c.send(closeBit, code(CloseServiceRestart, ""))
	c.wantEOF()
	return at
}

// Each connection is closed after MaxAge less up to a tenth, however much it has to say; those that came together go one
// by one.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, maxAge = 200, 100 * time.Minute
		n := newNode(t, Config{Limits: Limits{MaxAge: maxAge}, PingInterval: 10 * time.Minute, PongTimeout: 5 * time.Minute})
		start := time.Now()
		var mu sync.Mutex
		var wg sync.WaitGroup
		var ages []time.Duration
		for i := range clients {
			c := n.connectPipe(Birth{Identity: session.Anonymous(), Handler: Echo})
			c.wait = 2 * maxAge
			wg.Go(func() {
				for passed := time.Minute; i%2 == 0 && passed < maxAge/10*9-time.Minute; passed += time.Minute {
					time.Sleep(time.Minute)
					c.send(text, "hi")
					c.want(text, "hi")
				}
				for {
					b0, payload, err := c.next()
					switch {
					case err == nil && b0 == ping:
						c.send(pong, payload)
						continue
					case err != nil || b0 != closeBit || payload != code(CloseServiceRestart, "the connection is old: connect again"):
						t.Errorf("got %#x %q, %v", b0, payload, err)
					}
					break
				}
				mu.Lock()
				ages = append(ages, time.Since(start))
				mu.Unlock()
				c.send(closeBit, code(CloseServiceRestart, ""))
				c.wantEOF()
			})
		}
		wg.Wait()
		slices.Sort(ages)
		for i, age := range ages { // evenly over the tenth
			want := maxAge*9/10 + maxAge/10*time.Duration(i)/clients
			if age < maxAge*9/10-time.Second || age > maxAge+time.Second || age < want-maxAge/100 || age > want+maxAge/100 {
				t.Fatalf("close %d of %d comes after %v, want about %v", i, clients, age, want)
			}
		}
		if v := n.value("fairlead_aged_closes_total", ""); v != clients {
			t.Errorf("aged_closes = %v, want %d", v, clients)
		}
	})
}

// A limit that is set later, or lowered, holds for the connections that there are, from their birth on.
func TestMaxAgeOfThoseThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{PingInterval: 100 * time.Hour})
		old := n.connectPipe(Birth{})
		time.Sleep(time.Hour)
		young := n.connectPipe(Birth{})
		old.wait, young.wait = 100*time.Hour, 100*time.Hour
		set := func(age time.Duration) {
			if err := n.SetLimits(Limits{MaxAge: age}); err != nil {
				t.Fatal(err)
			}
		}
		set(50 * time.Hour)
		time.Sleep(time.Hour)
		set(90 * time.Minute)
		begun := time.Now()
		if took := old.retire().Sub(begun); took > time.Second {
			t.Errorf("who is too old already was told after %v", took)
		}
		set(0)
		time.Sleep(10 * time.Hour)
		if n.Len() != 1 {
			t.Errorf("%d connections, want the younger one, since there is no limit", n.Len())
		}
		set(20 * time.Hour)
		if age := young.retire().Sub(begun) + time.Hour; age < 18*time.Hour || age > 20*time.Hour+time.Second {
			t.Errorf("the younger one was told after %v", age)
		}
	})
}
