package actor

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// Message is one message of a client, or for one.
type Message struct {
	Binary  bool
	Payload []byte
}

// Handler says what a connection does. One Handler serves many connections; it is called on the actor's goroutine, so
// that calls for one connection never overlap. What takes long holds up its own connection only, but also the closing of
// it: work that may wait belongs on a goroutine of its own, which answers by Actor.Send or comes back by Actor.Do.
//
// A panic in a Handler closes its connection with 1011.
type Handler interface {
	// Open is called once, before the client is answered. What it sends comes behind the 101 response.
	Open(a *Actor)
	// Message is called for each message. The payload is borrowed: it dies when Message returns.
	Message(a *Actor, m Message)
	// Close is called once, after the last message, however the connection ended, unless another method panicked: then
	// the Handler is not to be trusted with the end. The groups are left, and nothing can be sent or published any more.
	Close(a *Actor, c Closure)
}

// builtin is a Handler that only looks at messages.
type builtin func(a *Actor, m Message)

func (builtin) Open(*Actor)                   {}
func (b builtin) Message(a *Actor, m Message) { b(a, m) }
func (builtin) Close(*Actor, Closure)         {}

// The Handlers of the routes' on_message.
var (
	// Broadcast publishes each message to all groups of the session, the sender included.
	Broadcast Handler = builtin(func(a *Actor, m Message) { a.publish(a.state.Groups, m) })
	// Echo sends each message back.
	Echo Handler = builtin(func(a *Actor, m Message) { a.Send(m) })
	// Ignore drops each message: the connection only listens.
	Ignore Handler = builtin(func(*Actor, Message) {})
)

// Send sends m to this client alone. It copies the payload and never blocks. It reports false if m will not be sent: the
// connection is closing, or the client reads too slowly and is cut off. Any goroutine.
func (a *Actor) Send(m Message) bool {
	return a.send(a.appendData(make([]byte, 0, len(m.Payload)+maxHeader), m), 1)
}

// Publish publishes m to a group, of which the session need not be a member. It copies the payload and does not block; if
// the bus is busy, the message waits and the client is not read meanwhile. Only in a Handler.
func (a *Actor) Publish(g session.Group, m Message) { a.publish([]session.Group{g}, m) }

func (a *Actor) publish(groups []session.Group, m Message) {
	if len(groups) == 0 {
		return
	}
	if b := a.backlog; b != nil && b.bytes+cost(m.Payload) > a.system.config.OutboxBytes {
		// A Handler that says more than the bus takes, since its client is not read meanwhile. One message alone is never
		// too much, however many groups it is for: it has one payload.
		a.startClose(CloseTryAgainLater, "the bus does not take what this connection publishes")
	}
	payload := slices.Clone(m.Payload)
	for _, g := range groups {
		a.offer(bus.Message{Group: g, Binary: m.Binary, Payload: payload})
	}
}

// Join makes the session a member of g. done, which may be nil, is called on the actor's goroutine when the join is
// effective: what anyone publishes from then on is delivered; or with an error when it never will be. Only in a Handler.
// The error is ErrMember, ErrClosing, ErrTooManyGroups, or the journal's.
func (a *Actor) Join(g session.Group, done func(*Actor, error)) error {
	switch {
	case a.phase != phaseOpen:
		return ErrClosing
	case a.state.Member(g):
		return ErrMember
	case len(a.state.Groups) >= a.system.limits.Load().GroupsPerConnection:
		a.system.metrics.limitedGroups.Inc()
		return ErrTooManyGroups
	}
	before := a.state
	if err := a.decide(context.Background(), time.Now(), session.Joined{Group: g}); err != nil {
		a.state = before // who is not in the journal is not in the group
		return err
	}
	var tell func(error)
	if done != nil {
		tell = func(err error) { a.post(do{func(a *Actor) { done(a, err) }}) }
	}
	a.members = append(a.members, a.system.join(a, g, tell))
	return nil
}

// Leave ends the membership of g, and reports whether there was one. Only in a Handler.
func (a *Actor) Leave(g session.Group) bool {
	i := slices.Index(a.state.Groups, g)
	if i < 0 || a.phase == phaseEnded { // finish has left them all
		return false
	}
	// A journal that is away does not keep anyone in a group; decide counts it.
	_ = a.decide(context.Background(), time.Now(), session.Left{Group: g})
	a.system.config.Bus.Leave(a.members[i])
	a.members = slices.Delete(a.members, i, i+1)
	return true
}

// Close begins to close the connection, and reports false if it has ended already. Codes from 4400 on go out before data
// that waits. Any goroutine.
func (a *Actor) Close(code CloseCode, reason string) bool { return a.post(closing{code, reason}) }

// Extend says that the credential was verified again, and ends at expires from now on, or never if that is zero: the journal
// gets a refreshed event, unless nothing has changed. It does not bring a connection back that is closing, since its
// credential has ended. It reports what Do does. Any goroutine.
func (a *Actor) Extend(expires time.Time) bool {
	return a.Do(func(a *Actor) {
		if a.phase != phaseOpen || a.state.Identity.Expires.Equal(expires) {
			return
		}
		a.expires.Store(milliseconds(expires))
		a.system.hasten(a)
		// A journal that is away does not keep a credential from ending; decide counts it.
		_ = a.decide(context.Background(), time.Now(), session.Refreshed{Expires: expires})
	})
}

// Do runs f on the actor's goroutine, soon. It reports false if the connection has ended already, or if a thousand
// commands wait since a Handler does not return. f must not block. Any goroutine.
func (a *Actor) Do(f func(*Actor)) bool { return a.post(do{f}) }

// greeting returns the frame that tells a client who it is.
func greeting(id *session.Identity) []byte {
	g := struct {
		Subject   string     `json:"subject"`
		Name      string     `json:"name"`
		Source    string     `json:"source"`
		Anonymous bool       `json:"anonymous"`
		Expires   *time.Time `json:"expires"`
	}{id.Subject, id.Name, id.Source, id.Anonymous, nil}
	if !id.Expires.IsZero() {
		t := id.Expires.UTC()
		g.Expires = &t
	}
	text, err := json.Marshal(g)
	if err != nil { // texts and a time of a year with four digits: the journal has taken it
		text = []byte("{}")
	}
	return appendFrame(nil, ws.OpText, text)
}
