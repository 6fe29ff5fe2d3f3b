package crowd

import (
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-ws/fairlead/bench/internal/peer"
)

// TestMove has a server that stops: its connections go on at another one, and what does not is counted.
func TestMove(t *testing.T) {
	first, second := peer.Start(t, peer.Config{}), peer.Start(t, peer.Config{})
	c := start(t)
	mustOpen(t, c, opening(first, 40))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	defer signal.Stop(signals)
	told := make(chan struct{})
	go func() {
		defer close(told)
		<-signals
		first.Restart()
	}()
	m := Move{Open: opening(second, 0), Process: os.Getpid()}
	got, err := c.Move(m)
	<-told
	if err != nil || got.Moved != 40 || got.Lost+got.Failed != 0 || got.Error != "" || got.Elapsed < got.First || got.First <= 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.Busiest < 1 || got.Busiest > 40 {
		t.Errorf("%d in one second", got.Busiest)
	}
	if n := second.Members("room"); n != 40 {
		t.Errorf("%d members at the second server", n)
	}
	if n, err := c.Count(Count{}); err != nil || n.Open != 40 || n.Lost != 0 || n.Error != "" || n.Codes[1012] != 40 {
		t.Errorf("%+v, %v", n, err)
	}

	t.Run("nowhere to go", func(t *testing.T) {
		go func() {
			<-signals
			second.Restart()
		}()
		m.Address = first.Address
		got, err := c.Move(m)
		if err != nil || got.Failed != 40 || got.Moved != 0 || !strings.Contains(got.Error, "connect: ") {
			t.Errorf("%+v, %v", got, err)
		}
	})
	for name, change := range map[string]func(*Move){
		"no process": func(m *Move) { m.Process = 0 },
		"no timeout": func(m *Move) { m.Timeout = 0 },
		"a name":     func(m *Move) { m.Address = "localhost:1" },
		"discards":   func(m *Move) { m.Reading = Discard },
	} {
		bad := m
		change(&bad)
		if got, err := c.Move(bad); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestBusiest(t *testing.T) {
	second := int64(time.Second)
	for _, tt := range []struct {
		times []int64
		want  int
	}{
		{nil, 0},
		{[]int64{5}, 1},
		{[]int64{0, second - 1, second, second + 1}, 3},
		{[]int64{0, second, 2 * second}, 1},
	} {
		if got := busiest(tt.times); got != tt.want {
			t.Errorf("busiest(%v) = %d, want %d", tt.times, got, tt.want)
		}
	}
}

// TestRate opens on a schedule.
func TestRate(t *testing.T) {
	s := peer.Start(t, peer.Config{})
	c := start(t)
	o := opening(s, 21)
	o.Rate, o.Window = 100, 4
	if got := mustOpen(t, c, o); got.Elapsed < 200*time.Millisecond {
		t.Errorf("the 21st of 100 a second was open after %v", got.Elapsed)
	}
}
