package bus_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/bus"
)

// Each node that is known answers in its own words; what fails is that node's answer alone.
func TestAsk(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	large := func(context.Context, []byte) ([]byte, error) { return make([]byte, 1<<20), nil }
	fail := func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no\nway") }
	breaks := func(context.Context, []byte) ([]byte, error) { panic("secret") }
	a := startPeers(t, url, "a", nil)
	b := startPeers(t, url, "b", map[string]bus.Answerer{"op": say("b"), "large": large, "fail": fail, "panic": breaks})
	c := startPeers(t, url, "c", map[string]bus.Answerer{"op": say("c")})
	eventually(t, "a sees the others", a.sees("b c"))

	replies, missing, err := a.Ask(t.Context(), "op", []byte("hi"))
	if err != nil || len(missing) > 0 || len(replies) != 2 {
		t.Fatalf("Ask = %v, %v, %v", replies, missing, err)
	}
	for i, want := range []string{"b hi", "c hi"} {
		if r := replies[i]; r.Err != nil || string(r.Payload) != want || r.Peer.Name != want[:1] {
			t.Errorf("answer %d is %q of %s, %v; want %q", i, r.Payload, r.Peer.Name, r.Err, want)
		}
	}
	if answer, err := a.AskNode(t.Context(), c.epoch, "op", []byte("you")); err != nil || string(answer) != "c you" {
		t.Errorf("AskNode = %q, %v", answer, err)
	}
	if _, err := a.AskNode(t.Context(), a.epoch, "op", nil); !errors.Is(err, bus.ErrNoPeer) {
		t.Errorf("AskNode of oneself: %v, want ErrNoPeer", err)
	}
	for op, want := range map[string]error{
		"unheard": bus.ErrUnknownOp, "large": bus.ErrTooLarge, "fail": bus.ErrAnswer, "panic": bus.ErrAnswer,
	} {
		_, err := a.AskNode(t.Context(), b.epoch, op, nil)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", op, err, want)
			continue
		}
		if op == "fail" && err.Error() != bus.ErrAnswer.Error()+": no way" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q", op, err)
		}
	}
	if _, _, err := a.Ask(t.Context(), "a.b", nil); err == nil {
		t.Error("a question with a dot in its name was asked")
	}
	if _, _, err := a.Ask(t.Context(), "op", make([]byte, 1<<20)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("a question of 1 MiB: %v, want ErrTooLarge", err)
	}
	if most := 1<<20 - 4<<10; true {
		replies, _, err := a.Ask(t.Context(), "op", bytes.Repeat([]byte{'x'}, most-2))
		if err != nil || len(replies) != 2 || len(replies[0].Payload) != most || replies[0].Err != nil {
			t.Errorf("the largest question: %d answers, %v", len(replies), err)
		}
	}
	const counts = `
# HELP fairlead_peer_asks_total Questions to other nodes, one for each node asked, by what came of it.
# TYPE fairlead_peer_asks_total counter
fairlead_peer_asks_total{result="answered"} 5
fairlead_peer_asks_total{result="failed"} 4
fairlead_peer_asks_total{result="missing"} 0
`
	if err := testutil.GatherAndCompare(a.metrics, strings.NewReader(counts), "fairlead_peer_asks_total"); err != nil {
		t.Error(err)
	}
}

// Who does not answer is named, and waited for until the context ends and no longer; who is not there is not waited for.
func TestAskNamesTheMissing(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	var ended atomic.Int32
	waits := func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		ended.Add(1)
		return nil, ctx.Err()
	}
	a := startPeers(t, url, "a", nil)
	b := startPeers(t, url, "b", map[string]bus.Answerer{"op": waits, "quick": say("b")})
	startPeers(t, url, "c", map[string]bus.Answerer{"op": say("c"), "quick": say("c")})
	eventually(t, "a sees the others", a.sees("b c"))

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	replies, missing, err := a.Ask(ctx, "op", nil)
	if err != nil || len(replies) != 1 || replies[0].Peer.Name != "c" || len(missing) != 1 || missing[0].Name != "b" || ctx.Err() == nil {
		t.Errorf("Ask = %v, %v, %v; want c's answer at the end of the context", replies, missing, err)
	}
	eventually(t, "b is told that nobody waits", func() bool { return ended.Load() == 1 })

	b.conn.Close()
	begun := time.Now()
	replies, missing, err = a.Ask(t.Context(), "quick", nil)
	if err != nil || len(replies) != 1 || len(missing) > 1 {
		t.Errorf("Ask = %v, %v, %v", replies, missing, err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("a node that is not there was waited for: %v", took)
	}
}

// However many ask, a node answers a few at once; and all are answered.
func TestAnswersAreBounded(t *testing.T) {
	url := startServer(t, bus.EmbeddedConfig{Listen: "127.0.0.1:0"}).URL()
	const questions, most = 100, 8
	var now, peak atomic.Int32
	full := make(chan struct{})
	a := startPeers(t, url, "a", nil)
	startPeers(t, url, "b", map[string]bus.Answerer{"op": func(context.Context, []byte) ([]byte, error) {
		n := now.Add(1)
		defer now.Add(-1)
		peak.Store(max(peak.Load(), n))
		if n == most {
			close(full)
		}
		<-full
		return nil, nil
	}})
	eventually(t, "a sees b", a.sees("b"))
	var wg sync.WaitGroup
	for range questions {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if replies, _, err := a.Ask(ctx, "op", nil); err != nil || len(replies) != 1 {
				t.Errorf("Ask: %d answers, %v", len(replies), err)
			}
		})
		if now.Load() >= most { // the first eight wait for one another; those behind them wait for a place
			<-full
		}
	}
	wg.Wait()
	if peak.Load() > most {
		t.Errorf("%d answers at once, want at most %d", peak.Load(), most)
	}
}
