package gateway

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/authn"
	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// people is a verifier and an authorizer whose answers can be changed: a database.
type people struct {
	mu      sync.Mutex
	tokens  map[string]error     // why a token is no good; not in it: it is, and the user is called as it is
	subject map[string]string    // whose it is, where it is somebody else's
	expires map[string]time.Time // when it ends
	groups  error                // why nobody may join any
	delay   time.Duration        // how long an answer takes
	ages    []time.Duration      // the MaxAge of each question that had one
	asked   map[string]int
	now     int // questions that are being answered
	most    int // at once
	panics  bool
}

func newPeople() *people {
	return &people{
		tokens: map[string]error{}, subject: map[string]string{}, expires: map[string]time.Time{}, asked: map[string]int{},
	}
}

// with changes an answer.
func (p *people) with(f func(*people)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *people) count(token string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[token]
}

// Verify implements [authn.Verifier].
func (p *people) Verify(ctx context.Context, c authn.Credential) (*session.Identity, error) {
	token := string(c.Value)
	p.mu.Lock()
	if age, ok := authn.MaxAge(ctx); ok {
		p.ages = append(p.ages, age)
	}
	p.asked[token]++
	p.now++
	p.most = max(p.most, p.now)
	delay := p.delay
	p.mu.Unlock()
	defer p.with(func(p *people) { p.now-- })
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, &authn.Error{Kind: authn.ErrUnavailable, Reason: authn.ReasonVerifierUnavailable, Err: ctx.Err()}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.panics {
		panic("a token: " + token)
	}
	if err := p.tokens[token]; err != nil {
		return nil, err
	}
	subject := p.subject[token]
	if subject == "" {
		subject = "of " + token
	}
	return &session.Identity{Subject: subject, Source: "people", Expires: p.expires[token]}, nil
}

// Authorize implements [authn.Authorizer].
func (p *people) Authorize(_ context.Context, q *authn.Question) (rule string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name, ok := q.Params.Get("group"); !ok || name != q.Group.String() {
		return "", errors.New("the parameters are not those of the path")
	}
	p.asked[q.Identity.Subject+" in "+q.Group.String()]++
	return "people", p.groups
}

// route returns a route of p.
func (p *people) route(t testing.TB, recheck time.Duration) Route {
	t.Helper()
	query, err1 := authn.NewQuery("token")
	chain, err2 := authn.NewChain(authn.Source{Name: "people", Extractor: query, Verifier: p})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return Route{Path: "/ws/{group}", Join: []string{"{group}"}, Chain: chain, Recheck: recheck, Authorizer: p, Handler: actor.Echo}
}

// lasting is a gateway on real actors, in a bubble.
type lasting struct {
	*server
	t       testing.TB
	listen  *pipeListener
	actors  *actor.System
	journal *journal.Memory
}

func newLasting(t testing.TB, routes ...Route) *lasting {
	t.Helper()
	local, err1 := bus.NewLocal(bus.LocalConfig{})
	m, err2 := journal.NewMemory(journal.MemoryConfig{})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	system, err := actor.New(actor.Config{Bus: local, Journal: m, Epoch: testEpoch, Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(system.Close(), local.Close(context.WithoutCancel(t.Context())), m.Close()); err != nil {
			t.Error(err)
		}
	})
	l := newPipeListener()
	n := &lasting{server: serve(t, Config{Routes: routes, Actors: system, Logger: discard}, l), t: t, listen: l, actors: system, journal: m}
	t.Cleanup(func() { n.Close() })
	return n
}

// user is a client that answers pings and closes, and notes how it ended.
type user struct {
	conn net.Conn
	done chan struct{}

	code ws.StatusCode // once done is closed; 0: without a close frame
	at   time.Time
}

// connect connects a client with a token, to a group.
func (n *lasting) connect(token, group string) *user {
	n.t.Helper()
	return n.connectTo("/ws/" + group + "?token=" + token)
}

// connectTo connects a client to a target.
func (n *lasting) connectTo(target string) *user {
	n.t.Helper()
	client := n.listen.dial(n.t)
	send(n.t, client, handshakeTo(target))
	br := bufio.NewReader(client)
	readUpgrade(n.t, br)
	u := &user{conn: client, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		defer client.Close()
		for {
			f, err := readFrame(br)
			if err != nil {
				return
			}
			switch f.Header.OpCode {
			case ws.OpPing:
				_, _ = client.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewPongFrame(f.Payload))))
			case ws.OpClose:
				u.at = time.Now()
				u.code, _ = ws.ParseCloseFrameData(f.Payload)
				_, _ = client.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame(f.Payload[:2]))))
				return
			}
		}
	}()
	return u
}

// open reports whether the connection is.
func (u *user) open() bool { return !closed(u.done) }

// results returns what was counted.
func (n *lasting) results() map[string]int {
	m := map[string]int{}
	for i, c := range n.metrics.rechecks {
		if v := int(testutil.ToFloat64(c)); v > 0 {
			m[recheckNames[i]] = v
		}
	}
	return m
}
