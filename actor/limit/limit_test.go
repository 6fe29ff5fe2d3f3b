package limit

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const second = int64(time.Second)

// greedy tries every step, for ten seconds, to take n as often as it gets them, and returns how much that was.
func greedy(step int64, n int, take func(now int64) bool) (taken int) {
	for now := second; now < 11*second; now += step {
		for take(now) {
			taken += n
		}
	}
	return taken
}

// within reports whether got is perSecond over ten seconds, within 5 %.
func within(got, perSecond int) bool {
	return float64(got) >= 9.5*float64(perSecond) && float64(got) <= 10.5*float64(perSecond)
}

// N per second is N per second over ten seconds, whatever N is and however often it is asked for. A bucket that refills
// with one a second, as is told of others, would give a hundredth of it.
func TestRateIsExact(t *testing.T) {
	for _, c := range []struct{ perSecond, n int }{
		{1, 1},
		{3, 1},
		{7, 1},
		{100, 1},
		{999, 1},
		{12_345, 1},
		{300_000, 1},
		{100_000, 100},
		{1_000_000, 4096},
		{700_000_000, 4096},
	} {
		for _, step := range []int64{second / 1000, second / 70, second / 9} {
			if step > second/1000 && c.perSecond < 100 {
				continue // a bucket of one or two is full before somebody looks
			}
			r := Of(c.perSecond, 0, 0)
			var full int64
			if got := greedy(step, c.n, func(now int64) bool { return r.Take(&full, now, c.n) }); !within(got, c.perSecond) {
				t.Errorf("%d per second, %d each, asked every %v: %d in ten seconds", c.perSecond, c.n, time.Duration(step), got)
			}
		}
	}
}

// Who keeps to the rate is never refused, and who is a twentieth above it is, within ten seconds.
func TestRateTellsWhoKeepsToIt(t *testing.T) {
	for _, perSecond := range []int{2, 10, 1000} {
		r := Of(perSecond, 0, 0)
		first := func(over float64) (refused int64) {
			var full int64
			for i := range int64(11 * float64(perSecond)) {
				if now := second + int64(float64(i*second)/(float64(perSecond)*over)); !r.Take(&full, now, 1) {
					return now
				}
			}
			return 0
		}
		if at := first(1); at != 0 {
			t.Errorf("%d per second, kept to: refused after %v", perSecond, time.Duration(at-second))
		}
		if at := first(1.05); at == 0 || at > 11*second {
			t.Errorf("%d per second, and 5 %% more: refused after %v", perSecond, time.Duration(at-second))
		}
	}
}

func TestRateBurst(t *testing.T) {
	for _, c := range []struct{ perSecond, burst, atLeast, want int }{
		{100, 0, 0, 25}, {100, 10, 0, 10}, {100, 10, 40, 40}, {2, 0, 0, 1}, {1, 5, 0, 5}, {1 << 30, 1, 0, 1}, {8, 0, 3, 3},
	} {
		r := Of(c.perSecond, c.burst, c.atLeast)
		var full int64
		got := 0
		for r.Take(&full, second, 1) {
			got++
		}
		if got != c.want {
			t.Errorf("Of(%d, %d, %d): %d at once, want %d", c.perSecond, c.burst, c.atLeast, got, c.want)
		}
	}
}

// So many in a minute may come at once, and so many in each minute after that.
func TestRatePerMinute(t *testing.T) {
	for _, n := range []int{1, 7, 11, 13, 60, 997} {
		r := PerMinute(n)
		var full int64
		got := 0
		take := func(now int64) {
			for r.Has(full, now, 1) {
				if !r.Take(&full, now, 1) {
					t.Fatalf("%d a minute: Has says that Take would", n)
				}
				got++
			}
			if r.Take(&full, now, 1) {
				t.Fatalf("%d a minute: Has says that Take would not", n)
			}
		}
		take(second)
		if got != n {
			t.Errorf("%d a minute: %d at once", n, got)
		}
		for now := second; now <= 601*second; now += second / 50 {
			take(now)
		}
		if got < 11*n-1 || got > 11*n {
			t.Errorf("%d a minute: %d in ten minutes, want ten times as many and what may come at once", n, got)
		}
	}
}

func TestRateUnlimited(t *testing.T) {
	var full int64
	for _, r := range []Rate{{}, Of(0, 1, 1), Of(-1, 0, 0), PerMinute(0), PerMinute(-1)} {
		if r.Limited() || !r.Has(full, second, 1<<40) || !r.Take(&full, second, 1<<40) || r.Reserve(&full, second, 1<<40) != 0 || full != 0 {
			t.Errorf("%+v is a limit", r)
		}
	}
	one := Of(1, 1, 1)
	if one.Take(&full, second, 1<<62) || full != 0 {
		t.Error("a rate of 1 lets 1<<62 through")
	}
}

// Whoever waits as long as Reserve says comes N times a second.
func TestReserveIsExact(t *testing.T) {
	for _, perSecond := range []int{1, 20, 1000} {
		r := Of(perSecond, max(perSecond/20, 1), 1)
		var full int64
		n := 0
		for now := second; now < 11*second; n++ {
			now += r.Reserve(&full, now, 1)
		}
		if !within(n-1, perSecond) {
			t.Errorf("%d per second: %d in ten seconds", perSecond, n-1)
		}
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":           "192.0.2.7",
		"::ffff:192.0.2.7":    "192.0.2.7",
		"2001:db8:1:2:3::4":   "2001:db8:1:2::",
		"2001:db8:1:2:ffff::": "2001:db8:1:2::",
		"fe80::1%eth0":        "fe80::",
	} {
		if got := Network(netip.MustParseAddr(in)); got != netip.MustParseAddr(want) {
			t.Errorf("Network(%s) = %s, want %s", in, got, want)
		}
	}
	if got := Network(netip.Addr{}); got.IsValid() {
		t.Errorf("the network of no address is %s", got)
	}
}

func TestTable(t *testing.T) {
	tab := NewTable(Of(10, 0, 0))
	alice, bob := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	if got := greedy(second/1000, 1, func(now int64) bool { return tab.Take(alice, now) }); !within(got, 10) {
		t.Errorf("10 per second: %d in ten seconds", got)
	}
	now := 11 * second
	if tab.Take(alice, now-1) || !tab.Take(bob, now-1) {
		t.Error("one address has used up what another has")
	}
	if !tab.Take(netip.MustParseAddr("2001:db8::2"), now) || tab.Take(netip.MustParseAddr("2001:db8::3"), now) {
		t.Error("the addresses of one /64 do not count as one")
	}
	for range 100 {
		if !tab.Take(netip.Addr{}, now) || !tab.Has(netip.Addr{}, now) {
			t.Fatal("what is no address is limited")
		}
	}
	for tab.Take(alice, now) {
		continue
	}
	if n := tab.Len(); tab.Has(alice, now) || !tab.Has(alice, now+second) || !tab.Has(address(9), now) || tab.Len() != n {
		t.Error("Has does not say what Take would do, or remembers who asked")
	}
	tab.SetRate(Of(1000, 1, 0))
	if !tab.Take(alice, now+second) || tab.Take(alice, now+second) {
		t.Error("another rate does not count for an address that is remembered")
	}
	tab.SetRate(Rate{})
	if !tab.Take(alice, now+second) || tab.Len() != 0 {
		t.Errorf("without a rate there are %d addresses", tab.Len())
	}
}

// address returns one of many.
func address(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(i))
	return netip.AddrFrom4(b)
}

// A flood of addresses grows a table to a bound; who came before it is forgiven then, and who keeps to the rate gets in.
func TestTableIsBounded(t *testing.T) {
	tab := NewTable(Of(1, 0, 0))
	tab.size = 100
	first := address(0)
	if !tab.Take(first, second) || tab.Take(first, second) {
		t.Fatal("the first address is not limited")
	}
	for i := range 10_000 {
		if !tab.Take(address(1+i), second+int64(i)) {
			t.Fatalf("address %d is refused, whose first attempt it is", i)
		}
		if n := tab.Len(); n > 200 {
			t.Fatalf("%d addresses are remembered", n)
		}
	}
	if !tab.Take(first, second+10_000) {
		t.Error("an address was not forgotten")
	}
}

// Generations come and go with time, and neither forgets who is not full yet.
func TestTableForgets(t *testing.T) {
	for _, burst := range []int{1, 30} { // buckets that take a second and half a minute to fill
		tab := NewTable(Of(1, burst, 0))
		alice := netip.MustParseAddr("192.0.2.1")
		taken := 0
		for now := second; now < 101*second; now += second / 10 {
			if tab.Take(alice, now) {
				taken++
			}
			tab.Take(address(int(now/second)), now)
		}
		if taken < 99+burst-1 || taken > 101+burst-1 {
			t.Errorf("burst %d: %d in a hundred seconds", burst, taken)
		}
		if n := tab.Len(); n > 2*max(burst, 2)+2 {
			t.Errorf("burst %d: %d addresses are remembered", burst, n)
		}
		tab.Take(alice, 1000*second)
		if n := tab.Len(); n != 1 {
			t.Errorf("burst %d: %d addresses are remembered after a quiet time", burst, n)
		}
	}
}

// The counters of several packages are one metric.
func TestCounters(t *testing.T) {
	r := prometheus.NewRegistry()
	scopes := []Scope{Node, Address, User, Accept, Attempts, Rejections, Messages, Bytes, Groups}
	for _, s := range scopes {
		r.MustRegister(NewCounter(s))
	}
	families, err := r.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != len(scopes) {
		t.Errorf("%d families, %v", len(families), err)
	}
}

func BenchmarkTable(b *testing.B) {
	tab := NewTable(Of(1, 0, 0))
	b.ReportAllocs()
	var now int64
	for b.Loop() {
		now += 1000
		tab.Take(address(int(now/1000)&0xffff), now)
	}
}

// What a bucket lacks by a rate that is over keeps nobody out: it may have been a minute's worth, and the new rate knows of a
// quarter of a second.
func TestRateChanges(t *testing.T) {
	slow, fast := Of(1, 60, 1), Of(100, 0, 1)
	var full int64
	for range 60 {
		if !slow.Take(&full, second, 1) {
			t.Fatal("refused within the burst")
		}
	}
	got := 0
	for fast.Take(&full, second, 1) {
		got++
	}
	if got != 25 {
		t.Errorf("%d at once by the new rate, want 25", got)
	}
}

// Who looks at the clock and is overtaken before the table counts does not fill the bucket by that.
func TestTableIsOvertaken(t *testing.T) {
	table, a := NewTable(Of(4, 4, 1)), netip.MustParseAddr("192.0.2.1")
	for range 4 {
		if !table.Take(a, second) {
			t.Fatal("refused within the burst")
		}
	}
	if table.Take(a, second-1) {
		t.Error("a look at the clock from before gave another burst")
	}
}
