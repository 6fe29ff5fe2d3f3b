package actor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// leave lets the client wait for its close frame, answer it, and go. It returns when that came.
func (c *client) leave() time.Time {
	c.want(closeBit, code(CloseServiceRestart, "the node restarts: connect again"))
	at := time.Now()
	c.send(closeBit, code(CloseServiceRestart, ""))
	c.wantEOF()
	return at
}

// The closes of a drain are spread evenly over the window, the first at once; Drain returns when all are gone.
func TestDrainIsSpread(t *testing.T) {
	for _, tc := range []struct {
		clients int
		window  time.Duration
	}{{1, 30 * time.Second}, {2, 10 * time.Second}, {100, 10 * time.Second}, {100, 50 * time.Millisecond}, {50, 0}} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, Config{PingInterval: time.Hour})
			start := time.Now()
			var mu sync.Mutex
			var wg sync.WaitGroup
			told := make(map[time.Duration]int) // by the drain's ticks
			for range tc.clients {
				c := n.connectPipe(Birth{})
				wg.Go(func() {
					at := c.leave()
					mu.Lock()
					defer mu.Unlock()
					told[at.Sub(start).Truncate(drainTick)]++
				})
			}
			if err := n.Drain(t.Context(), DrainPlan{Window: tc.window}); err != nil {
				t.Errorf("Drain = %v", err)
			}
			took := time.Since(start)
			if n.Len() != 0 {
				t.Errorf("%d connections are left", n.Len())
			}
			wg.Wait()
			if told[0] == 0 || took > tc.window+drainTick {
				t.Errorf("%d clients, %v: %d closes at once, the last after %v", tc.clients, tc.window, told[0], took)
			}
			soFar := 0
			for at := time.Duration(0); at < tc.window; at += drainTick {
				soFar += told[at]
				want := float64(tc.clients) * float64(at) / float64(tc.window)
				if d := float64(soFar) - want; d < -1 || d > 1+float64(tc.clients)*float64(drainTick)/float64(tc.window) {
					t.Fatalf("%d clients, %v: %d are told after %v, want %.1f", tc.clients, tc.window, soFar, at, want)
				}
			}
			if v := n.value("fairlead_closes_total", "1012"); v != float64(tc.clients) {
				t.Errorf("closes with 1012 = %v, want %d", v, tc.clients)
			}
		})
	}
}

// While the node drains it takes no connections, and those there are work until they are told.
func TestOpenWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{PingInterval: time.Hour})
		first, second := n.connectPipe(Birth{Handler: Echo}), n.connectPipe(Birth{Handler: Echo})
		drained := make(chan error, 1)
		go func() { drained <- n.Drain(context.Background(), DrainPlan{Window: time.Minute}) }()
		first.leave()
		second.send(text, "still here")
		second.want(text, "still here")
		if err := n.Open(t.Context(), nil, Birth{Identity: session.Anonymous(), Handler: Echo}); !errors.Is(err, ErrDraining) {
			t.Errorf("Open = %v, want ErrDraining", err)
		}
		second.leave()
		if err := <-drained; err != nil {
			t.Errorf("Drain = %v", err)
		}
		if err := n.Drain(t.Context(), DrainPlan{Window: time.Hour}); err != nil {
			t.Errorf("Drain of a drained node = %v", err)
		}
	})
}

// Who does not answer is cut off after CloseTimeout, or when the context of Drain ends, whatever of the window is left.
func TestDrainIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		closeTimeout, window, ctx time.Duration
		wantErr                   error
		want                      time.Duration
	}{
		"by CloseTimeout":              {2 * time.Second, time.Second, time.Hour, nil, 3 * time.Second},
		"by the context":               {time.Hour, time.Second, 5 * time.Second, context.DeadlineExceeded, 5 * time.Second},
		"by the context in the window": {time.Second, time.Hour, 5 * time.Second, context.DeadlineExceeded, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, Config{CloseTimeout: tc.closeTimeout, PingInterval: time.Hour})
				var clients []*client
				for range 20 {
					clients = append(clients, n.connectPipe(Birth{}))
				}
				ctx, cancel := context.WithTimeout(t.Context(), tc.ctx)
				defer cancel()
				start := time.Now()
				if err := n.Drain(ctx, DrainPlan{Window: tc.window}); !errors.Is(err, tc.wantErr) {
					t.Errorf("Drain = %v, want %v", err, tc.wantErr)
				}
				if took := time.Since(start); took < tc.want-2*drainTick-tc.window/20 || took > tc.want+2*drainTick {
					t.Errorf("Drain took %v, want %v", took, tc.want)
				}
				if n.Len() != 0 {
					t.Errorf("%d connections are left", n.Len())
				}
				for _, c := range clients {
					if end := c.ended(); end.Code != CloseServiceRestart {
						t.Fatalf("the handler was told %+v", end)
					}
				}
			})
		})
	}
}

// Close ends everything at once, and may be called again, also at the same time and during a drain.
func TestCloseIsIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, Config{})
		for range 10 {
			n.connectPipe(Birth{Handler: Echo})
		}
		start := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- n.Drain(context.Background(), DrainPlan{Window: time.Hour}) }()
		time.Sleep(time.Minute)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if err := n.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
				if n.Len() != 0 {
					t.Errorf("%d connections are left behind Close", n.Len())
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took > time.Minute+time.Second {
			t.Errorf("Close took %v", took-time.Minute)
		}
		if err := <-drained; err != nil {
			t.Errorf("Drain = %v, though nobody is left", err)
		}
	})
}

// A drain ends TCP connections in an orderly way.
func TestDrainOverTCP(t *testing.T) {
	n := newNode(t, Config{})
	var wg sync.WaitGroup
	for range 20 {
		c := n.connect(Birth{Handler: Broadcast, Groups: []session.Group{mustGroup(t, "g")}})
		wg.Go(func() { c.leave() })
	}
	if err := n.Drain(t.Context(), DrainPlan{Window: 50 * time.Millisecond}); err != nil {
		t.Errorf("Drain = %v", err)
	}
	wg.Wait()
}

// Connections that are opened while the node ends are taken and ended, or refused and the caller's: never in between.
func TestOpenRacesClose(t *testing.T) {
	for i := range races() / 20 {
		n := newNode(t, Config{})
		birth := Birth{Identity: session.Anonymous(), Handler: Broadcast, Groups: []session.Group{mustGroup(t, "g")}, Pending: masked(text, "x")}
		var wg sync.WaitGroup
		var taken, refused atomic.Int32
		for range 8 {
			wg.Go(func() {
				for refused.Load() == 0 {
					ours, theirs := n.pair()
					switch err := n.Open(context.Background(), ours, birth); {
					case err == nil:
						taken.Add(1)
					case errors.Is(err, ErrDraining):
						refused.Add(1)
						if _, err := ours.Write([]byte("503")); err != nil {
							t.Errorf("the caller cannot answer: %v", err)
						}
						ours.Close()
						if b, err := io.ReadAll(theirs); err != nil || string(b) != "503" {
							t.Errorf("the client reads %q, %v", b, err)
						}
					default:
						t.Errorf("Open = %v", err)
					}
					theirs.Close()
				}
			})
		}
		if i%2 == 0 {
			eventually(t, "some are open", func() bool { return taken.Load() > 0 })
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if n.Len() != 0 {
			t.Errorf("%d connections are left behind Close", n.Len())
		}
		wg.Wait()
		if opened, closed := n.count(); opened != int(taken.Load()) || closed != opened {
			t.Errorf("%d are taken, the journal has %d opened and %d closed", taken.Load(), opened, closed)
		}
	}
}

// However many there are, no more are closed in a second than Rate says, for as long as that takes; and a rate that
// changes is followed at once.
func TestDrainKeepsItsRate(t *testing.T) {
	for name, tc := range map[string]struct {
		clients int
		window  time.Duration
		rate    func(passed time.Duration) float64
		want    time.Duration
	}{
		"slower than the window":     {400, time.Second, func(time.Duration) float64 { return 20 }, 20 * time.Second},
		"no window":                  {200, 0, func(time.Duration) float64 { return 20 }, 10 * time.Second},
		"the window is slower":       {200, 20 * time.Second, func(time.Duration) float64 { return 1000 }, 20 * time.Second},
		"no bound":                   {200, 20 * time.Second, func(time.Duration) float64 { return 0 }, 20 * time.Second},
		"a survivor goes":            {400, time.Second, halves(5 * time.Second), 15 * time.Second},
		"a survivor goes, but early": {100, 20 * time.Second, halves(5 * time.Second), 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, Config{PingInterval: time.Hour})
				var mu sync.Mutex
				var told []time.Duration
				var wg sync.WaitGroup
				start := time.Now()
				for range tc.clients {
					c := n.connectPipe(Birth{})
					wg.Go(func() {
						at := c.leave().Sub(start)
						mu.Lock()
						defer mu.Unlock()
						told = append(told, at)
					})
				}
				plan := DrainPlan{Window: tc.window, Rate: func() float64 { return tc.rate(time.Since(start)) }}
				if err := n.Drain(t.Context(), plan); err != nil {
					t.Errorf("Drain = %v", err)
				}
				took := time.Since(start)
				wg.Wait()
				if took < tc.want-tc.want/20 || took > tc.want+tc.want/20 {
					t.Errorf("the drain took %v, want %v", took, tc.want)
				}
				slices.Sort(told)
				for i, at := range told { // in no second, wherever it begins, are there more than may be
					bound := tc.rate(at)
					for j := i; j < len(told) && told[j]-at < time.Second; j++ {
						if most := 1 + bound*(1+drainBurst.Seconds()+drainAsk.Seconds()); bound > 0 && float64(j-i) > most {
							t.Fatalf("%d closes in the second behind %v, want at most %.1f", j-i+1, at, most)
						}
					}
				}
				for i, at := range told { // evenly: the rate in force, or what the window asks for
					if tc.rate(0) == tc.rate(time.Hour) {
						want := time.Duration(float64(tc.want) * float64(i) / float64(tc.clients))
						if d := at - want; d < -drainAsk || d > drainAsk {
							t.Fatalf("close %d comes after %v, want %v", i, at, want)
						}
					}
				}
				if v := n.value("fairlead_drain_closes_total", ""); v != float64(tc.clients) {
					t.Errorf("drain_closes = %v, want %d", v, tc.clients)
				}
				if v := n.value("fairlead_drain_close_rate", ""); v != 0 {
					t.Errorf("drain_close_rate = %v after the drain", v)
				}
			})
		})
	}
}

// halves returns a rate of 40 that is 20 from a time on: 200 closes until then, and 200 in the ten seconds behind.
func halves(at time.Duration) func(time.Duration) float64 {
	return func(passed time.Duration) float64 {
		if passed < at {
			return 40
		}
		return 20
	}
}

// A node that could not run for a while does not make good for it in one go.
func TestPacerAfterAPause(t *testing.T) {
	start := time.Now()
	p := pacer{end: start.Add(time.Second), last: start, credit: 1, bound: 100}
	if n := p.take(start, 1000); n != 1 {
		t.Errorf("%d at the begin, want 1", n)
	}
	if n := p.take(start.Add(3*time.Second), 999); n != 5 {
		t.Errorf("%d after a pause of three seconds, want what the bound allows in %v", n, drainBurst)
	}
	if n := p.take(start.Add(3100*time.Millisecond), 994); n != 5 {
		t.Errorf("%d after a further 100 ms, want 5", n)
	}
	unbounded := pacer{end: start.Add(10 * time.Second), last: start, credit: 1}
	if a, b := unbounded.take(start, 101), unbounded.take(start.Add(5*time.Second), 100); a != 1 || b != 50 {
		t.Errorf("%d and %d without a bound, want 1 and 50", a, b)
	}
	if n := unbounded.take(start.Add(11*time.Second), 50); n != 50 {
		t.Errorf("%d behind the window, want the rest", n)
	}
}

// Those that leave by themselves cost a drain no time, and the log says how far it is.
func TestDrainSkipsWhoHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := newNode(t, Config{PingInterval: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 240 {
			c := n.connectPipe(Birth{})
			if i%2 == 0 {
				wg.Go(func() { c.leave() })
				continue
			}
			wg.Go(func() {
				time.Sleep(time.Second)
				c.Conn.Close()
			})
		}
		if err := n.Drain(t.Context(), DrainPlan{Rate: func() float64 { return 10 }}); err != nil {
			t.Errorf("Drain = %v", err)
		}
		wg.Wait()
		if took := time.Since(start); took < 12*time.Second || took > 13*time.Second {
			t.Errorf("a drain of 240, of whom 115 leave after a second, took %v; want 12.5 s at 10 per second", took)
		}
		for _, want := range []string{`msg=draining closed=`, `left=`, `per_second=`, `eta=`} {
			if strings.Count(log.String(), want) != 2 {
				t.Errorf("the log does not have %q twice", want)
			}
		}
	})
}
