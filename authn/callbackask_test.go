package authn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/sony/gobreaker/v2"
)

// pipes is a listener whose connections are pipes in memory, so that time can be fake.
type pipes struct {
	conns  chan net.Conn
	ended  chan struct{}
	end    sync.Once
	refuse atomic.Bool // connections are refused
	dialed atomic.Int32
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.dialed.Add(1)
	if p.refuse.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.end.Do(func() { close(p.ended) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// trouble is a callback and its application in a bubble of fake time.
type trouble struct {
	*Callback
	pipes *pipes
	calls atomic.Int32
	do    atomic.Pointer[http.HandlerFunc]
}

// inTrouble runs f in a bubble, with an application that answers by answer.
func inTrouble(t *testing.T, answer http.HandlerFunc, f func(t *testing.T, v *trouble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := &trouble{pipes: &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}}
		v.do.Store(&answer)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v.calls.Add(1)
			(*v.do.Load())(w, r)
		})}
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := server.Serve(v.pipes); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
		var err error
		if v.Callback, err = NewCallback(CallbackConfig{Name: "app", URL: "http://app.example.com/"}); err != nil {
			t.Fatal(err)
		}
		v.asker.transport.DialContext = v.pipes.dial
		f(t, v)
		if err := errors.Join(v.Close(), server.Close()); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
}

func (v *trouble) will(answer http.HandlerFunc) { v.do.Store(&answer) }

func (v *trouble) ask(ctx context.Context) error {
	_, err := v.Verify(ctx, Credential{From: "request", Request: &Request{Path: []byte("/")}})
	return err
}

func (v *trouble) count(t *testing.T, result string, want int) {
	t.Helper()
	if n := testutil.ToFloat64(v.asker.metrics.requests(result)); n != float64(want) {
		t.Errorf("%s is counted %v times, want %d", result, n, want)
	}
}

// hangs answers nothing until the client leaves.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestCallbackTimeout(t *testing.T) {
	inTrouble(t, hangs, func(t *testing.T, v *trouble) {
		start := time.Now()
		err := v.ask(t.Context())
		wantReason(t, err, ErrUnavailable, ReasonVerifierUnavailable)
		if took := time.Since(start); took != DefaultCallbackTimeout || !errors.Is(err, errTimeout) {
			t.Errorf("after %v: %v", took, err)
		}
		v.count(t, "timeout", 1)

		v.will(func(w http.ResponseWriter, r *http.Request) { // it begins to answer, and then hangs
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		if err := v.ask(t.Context()); !errors.Is(err, errTimeout) {
			t.Error(err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the handshake has less time than the application
		defer cancel()
		start = time.Now()
		if err := v.ask(ctx); !errors.Is(err, errTimeout) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		v.count(t, "timeout", 3)
		if n := v.calls.Load(); n != 3 {
			t.Errorf("%d questions came, want 3: what takes too long is not asked again", n)
		}
	})
}

// A client that leaves says nothing about the application.
func TestCallbackAbandoned(t *testing.T) {
	inTrouble(t, hangs, func(t *testing.T, v *trouble) {
		for range 2 * breakerRow {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			wantReason(t, v.ask(ctx), ErrUnavailable, ReasonVerifierUnavailable)
		}
		v.count(t, "abandoned", 2*breakerRow)
		if v.asker.breaker.State() != gobreaker.StateClosed {
			t.Error("the breaker is open")
		}
	})
}

// Nor does one that took all the time of its handshake to ask: many of them do not keep others from being answered.
func TestCallbackHurried(t *testing.T) {
	inTrouble(t, hangs, func(t *testing.T, v *trouble) {
		for range 3 * breakerMin {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			err := v.ask(ctx)
			cancel()
			wantReason(t, err, ErrUnavailable, ReasonVerifierUnavailable)
			if !errors.Is(err, errHurried) {
				t.Fatal(err)
			}
		}
		v.count(t, "abandoned", 3*breakerMin)
		v.count(t, "timeout", 0)
		v.will(says(200, `{"subject":"1"}`))
		if err := v.ask(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCallbackRetries(t *testing.T) {
	failing := func(status int) func(http.ResponseWriter, *http.Request) {
		return says(status, "")
	}
	for _, status := range []int{502, 503, 504} {
		inTrouble(t, failing(status), func(t *testing.T, v *trouble) {
			var n atomic.Int32
			v.will(func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) == 1 {
					w.WriteHeader(status)
					return
				}
				_, _ = io.WriteString(w, `{"subject":"1"}`)
			})
			if err := v.ask(t.Context()); err != nil || n.Load() != 2 {
				t.Errorf("%d: %v after %d questions", status, err, n.Load())
			}
			v.count(t, "allowed", 1)
			v.count(t, "bad_status", 0)
			if r := testutil.ToFloat64(v.asker.metrics.retries); r != 1 {
				t.Errorf("%v retries are counted", r)
			}
		})
	}
	for _, status := range []int{500, 429, 404, 401} {
		inTrouble(t, failing(status), func(t *testing.T, v *trouble) {
			if err := v.ask(t.Context()); err == nil || v.calls.Load() != 1 {
				t.Errorf("%d: %v after %d questions, want one", status, err, v.calls.Load())
			}
		})
	}
	inTrouble(t, failing(200), func(t *testing.T, v *trouble) {
		v.pipes.refuse.Store(true)
		wantReason(t, v.ask(t.Context()), ErrUnavailable, ReasonVerifierUnavailable)
		if n := v.pipes.dialed.Load(); n != 2 {
			t.Errorf("%d connections were tried, want 2", n)
		}
		v.count(t, "unreachable", 1)
	})
}

// No more than a tenth is asked again, however much fails.
func TestCallbackRetryBudget(t *testing.T) {
	const questions = 1000
	inTrouble(t, nil, func(t *testing.T, v *trouble) {
		var n atomic.Int32
		v.will(func(w http.ResponseWriter, r *http.Request) { // less than half, so that the breaker stays out of it
			if n.Add(1)%3 == 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, `{"subject":"1"}`)
		})
		for range questions {
			_ = v.ask(t.Context()) // some fail
		}
		retries := testutil.ToFloat64(v.asker.metrics.retries)
		if retries < questions/20 || retries > questions/10+1 || float64(v.calls.Load()) != questions+retries {
			t.Errorf("%v retries of %d questions, %d came", retries, questions, v.calls.Load())
		}
	})
}

// An application that fails is left alone, tried again, and asked as before once it is well.
func TestCallbackBreaker(t *testing.T) {
	inTrouble(t, says(429, ""), func(t *testing.T, v *trouble) {
		state := func() float64 { return testutil.ToFloat64(v.asker.metrics.state) }
		for range breakerRow {
			wantReason(t, v.ask(t.Context()), ErrUnavailable, ReasonVerifierUnavailable)
		}
		asked := v.calls.Load()
		for range 100 {
			if err := v.ask(t.Context()); !errors.Is(err, errBreaker) {
				t.Fatal(err)
			}
		}
		if v.calls.Load() != asked || state() != 2 {
			t.Errorf("%d questions came behind the open breaker, its state is %v", v.calls.Load()-asked, state())
		}
		v.count(t, "breaker_open", 100)

		time.Sleep(breakerOpen + time.Millisecond)
		if err := v.ask(t.Context()); errors.Is(err, errBreaker) || v.calls.Load() != asked+1 {
			t.Errorf("it is not tried: %v", err)
		}
		if err := v.ask(t.Context()); !errors.Is(err, errBreaker) {
			t.Errorf("the try failed, and yet: %v", err)
		}

		v.will(says(200, `{"subject":"1"}`))
		time.Sleep(breakerOpen + time.Millisecond)
		for range breakerProbes {
			if err := v.ask(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if state() != 0 {
			t.Errorf("the state is %v", state())
		}
		for range 100 {
			if err := v.ask(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A configuration that is not taken up says nothing of the breaker in force, and one that is begins with its own.
func TestCallbackBreakerOverReloads(t *testing.T) {
	inTrouble(t, says(503, ""), func(t *testing.T, v *trouble) {
		r := prometheus.NewRegistry()
		config := CallbackConfig{Name: "app", URL: "http://app.example.com/", Registerer: r}
		before, after := must(NewCallback(config)), must(NewCallback(config))
		state := before.asker.metrics.state
		before.asker.transport, after.asker.transport = v.asker.transport, v.asker.transport
		credential := Credential{From: "request", Request: &Request{Path: []byte("/")}}
		for range breakerRow {
			_, _ = before.Verify(t.Context(), credential)
		}
		if must(NewCallback(config)); testutil.ToFloat64(state) != 2 {
			t.Errorf("the state is %v, want 2: what was made is asked nothing yet", testutil.ToFloat64(state))
		}
		if _, err := after.Verify(t.Context(), credential); errors.Is(err, errBreaker) || testutil.ToFloat64(state) != 0 {
			t.Errorf("the new one: %v, and its state is %v", err, testutil.ToFloat64(state))
		}
	})
}

// Answers that say no, and those that are wrong in themselves, do not open it: to ask less would mend nothing.
func TestCallbackBreakerStaysClosed(t *testing.T) {
	for _, answer := range []http.HandlerFunc{says(401, ""), says(403, ""), says(204, ""), says(404, ""), says(500, ""), says(301, ""), says(200, "no JSON")} {
		inTrouble(t, answer, func(t *testing.T, v *trouble) {
			for range 3 * breakerMin {
				if err := v.ask(t.Context()); err == nil || errors.Is(err, errBreaker) {
					t.Fatal(err)
				}
			}
		})
	}
}

// What a server that speaks something else says is in no error.
func TestCallbackNoHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, err := NewCallback(CallbackConfig{URL: "http://app.example.com/"})
		if err != nil {
			t.Fatal(err)
		}
		v.asker.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				_, _ = far.Read(make([]byte, 4096))
				_, _ = io.WriteString(far, "SECRET of another protocol\r\n\r\n")
			}()
			return near, nil
		}
		_, err = v.Verify(t.Context(), Credential{From: "request", Request: &Request{Path: []byte("/")}})
		wantReason(t, err, ErrUnavailable, ReasonVerifierUnavailable)
		if !errors.Is(err, errNoHTTP) {
			t.Error(err)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
}
