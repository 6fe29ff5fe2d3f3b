package gateway

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/session"
)

// within reports whether n is so many per second over ten seconds, within 5 %.
func within(n, perSecond int) bool { return 20*n >= 190*perSecond && 20*n <= 210*perSecond }

// flood is a listener with a connection for whoever asks, and counts them.
type flood struct {
	*pipeListener
	accepted atomic.Int64
}

func (l *flood) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	l.accepted.Add(1)
	client, conn := net.Pipe()
	client.Close()
	return conn, nil
}

// However many come, so many are accepted in a second, over ten seconds within 5 %; and what is set later counts at once.
func TestAcceptRateIsExact(t *testing.T) {
	for _, perSecond := range []int{1, 7, 50, 2000} {
		synctest.Test(t, func(t *testing.T) {
			l := &flood{pipeListener: newPipeListener()}
			s := serve(t, Config{Routes: []Route{open("/", "")}, Limits: Limits{AcceptRate: perSecond}}, l)
			time.Sleep(10*time.Second - 1)
			synctest.Wait()
			first := int(l.accepted.Load())
			if perSecond >= 50 && !within(first, perSecond) || first < 10*perSecond || first > 10*perSecond+max(perSecond/20, 1) {
				t.Errorf("%d a second: %d were accepted in ten", perSecond, first)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if second := int(l.accepted.Load()) - first; !within(second, perSecond) {
				t.Errorf("%d a second: %d were accepted in the next ten", perSecond, second)
			}
			if !s.Accepting() || testutil.ToFloat64(s.metrics.limitedAccept) < float64(9*perSecond) {
				t.Errorf("accepting %v, %v waits", s.Accepting(), testutil.ToFloat64(s.metrics.limitedAccept))
			}
			if err := s.SetLimits(Limits{AcceptRate: 2 * perSecond}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			before := int(l.accepted.Load())
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if got := int(l.accepted.Load()) - before; !within(got, 2*perSecond) {
				t.Errorf("%d a second: %d were accepted in ten", 2*perSecond, got)
			}
			start := time.Now()
			if err := s.stop(); err != nil || time.Since(start) != 0 {
				t.Errorf("the stop took %v, and said %v", time.Since(start), err)
			}
		})
	}
}

// An address is refused beyond its rate, exactly, before anybody is asked about it, and is told when to come again.
func TestAttemptsAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		query, err := authn.NewQuery("token")
		if err != nil {
			t.Fatal(err)
		}
		chain, err := authn.NewChain(authn.Source{Extractor: query, Verifier: verifierFunc(
			func(context.Context, string) (*session.Identity, error) {
				asked.Add(1)
				return nil, &authn.Error{Kind: authn.ErrRejected, Reason: authn.ReasonUnknownToken}
			})})
		if err != nil {
			t.Fatal(err)
		}
		const perSecond = 40
		l := &remoteListener{newPipeListener(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}}
		s := serve(t, Config{Routes: []Route{{Path: "/", Chain: chain}}, Limits: Limits{HandshakesPerAddress: perSecond}}, l)
		statuses := map[int]int{}
		for range 2000 {
			client := l.dial(t)
			send(t, client, handshakeTo("/?token=guess"))
			resp, body := readAnswer(t, client)
			if statuses[resp.status]++; resp.status == 429 && (resp.header.Get("Retry-After") == "" || !strings.Contains(body, "address")) {
				t.Errorf("Retry-After is %q, the text %q", resp.header.Get("Retry-After"), body)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if !within(statuses[401], perSecond) || statuses[401]+statuses[429] != 2000 || int(asked.Load()) != statuses[401] {
			t.Errorf("%v after ten seconds, and the verifier was asked %d times; want %d of 401", statuses, asked.Load(), 10*perSecond)
		}
		if n := s.count(reasonAttempts); n != statuses[429] || testutil.ToFloat64(s.metrics.limitedAttempts) != float64(n) {
			t.Errorf("%d are counted, and %v", n, testutil.ToFloat64(s.metrics.limitedAttempts))
		}
		if err := s.SetLimits(Limits{}); err != nil {
			t.Fatal(err)
		}
		for range 3 * perSecond {
			client := l.dial(t)
			send(t, client, handshakeTo("/?token=guess"))
			if resp, _ := readAnswer(t, client); resp.status != 401 {
				t.Fatalf("without a limit: status %d", resp.status)
			}
		}
	})
}

func TestLimitsAreChecked(t *testing.T) {
	for _, l := range []Limits{{AcceptRate: -1}, {HandshakesPerAddress: -1}} {
		if _, err := New(Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{}, Limits: l}); err == nil {
			t.Errorf("New with %+v gives no error", l)
		}
		s := serve(t, Config{Routes: []Route{open("/", "")}}, nil)
		if err := s.SetLimits(l); err == nil {
			t.Errorf("SetLimits with %+v gives no error", l)
		}
	}
}

// What an actor's System refuses for is told apart.
func TestRefusalOfLimits(t *testing.T) {
	for err, want := range map[error]reason{
		actor.ErrFull: reasonFull, actor.ErrAddressFull: reasonAddressFull, actor.ErrUserFull: reasonUserFull, actor.ErrTooManyGroups: reasonInternal,
	} {
		s := serve(t, Config{Routes: []Route{open("/", "")}, Actors: &fakeActors{err: err}}, nil)
		resp, _ := s.ask(t, handshakeTo("/"))
		if resp.status != answers[want].status || s.count(want) != 1 || (resp.header.Get("Retry-After") != "") != (resp.status != 500) {
			t.Errorf("%v: status %d, Retry-After %q", err, resp.status, resp.header.Get("Retry-After"))
		}
	}
}

// BenchmarkAttempt is what a limit of attempts costs a handshake.
func BenchmarkAttempt(b *testing.B) {
	r := newRates()
	if err := r.set(Limits{HandshakesPerAddress: 1 << 30}); err != nil {
		b.Fatal(err)
	}
	a := netip.MustParseAddr("2001:db8::1")
	b.ReportAllocs()
	for b.Loop() {
		r.attempt(a)
	}
}
