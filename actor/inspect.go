package actor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	// inspectTime bounds how long Sessions and Disconnect wait for actors whose Handler does not return.
	inspectTime = 2 * time.Second
	// inspectRun is how many actors are asked at once for a state that may not fit.
	inspectRun = 256
	// inspectTick is how often it is looked whether actors have ended that were asked.
	inspectTick = 10 * time.Millisecond
)

// Filter says which connections of this node are meant: those that fit everything that is set. The zero Filter means all.
type Filter struct {
	Number  uint64        // of the session, in this node's epoch
	Subject string        // of the identity
	Route   string        // the route's path pattern
	Group   session.Group // of which the session is a member
}

// deep reports whether the filter needs what only the actor's goroutine may read.
func (f Filter) deep() bool { return f.Route != "" || !f.Group.IsZero() }

// born reports whether what an actor is born with fits. Any goroutine.
func (f Filter) born(a *Actor) bool {
	return (f.Number == 0 || f.Number == a.number) && (f.Subject == "" || f.Subject == a.identity.Subject)
}

// state reports whether the rest fits. Only the actor's goroutine.
func (f Filter) state(a *Actor) bool {
	return (f.Route == "" || f.Route == a.state.Route) && (f.Group.IsZero() || a.state.Member(f.Group))
}

// Info is what there is to see of one connection.
type Info struct {
	ID       session.ID
	Identity *session.Identity // not to be changed; of a silent one as it was at the opening
	Heard    time.Time         // when the client was last heard of, to a second or so
	// Silent: the actor did not answer in time, since its Handler does not return. The rest is not known.
	Silent bool

	Route   string
	Opened  time.Time
	Groups  []session.Group // not to be changed
	Closing bool            // a close frame has been sent
	Paused  bool            // not read until the bus has room
	Queued  int             // bytes that wait for the client to read

	MessagesReceived, BytesReceived uint64 // payloads
	MessagesSent, BytesSent         uint64 // on the wire
}

// Sessions returns connections that fit f, in the order of their numbers: those behind the number after, and at most limit
// of them. It asks the actors, on their goroutines, and waits for them until ctx ends or two seconds have passed. One that
// does not answer is in the list as silent, but not where f asks for its state; silent counts both. A session whose client
// has not been answered yet is no connection. Not in a Handler, which would wait for itself.
func (s *System) Sessions(ctx context.Context, f Filter, after uint64, limit int) (found []Info, silent int) {
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	left := s.candidates(f, after)
	for len(left) > 0 && len(found) < limit {
		n := limit - len(found)
		if f.deep() {
			n = max(n, inspectRun)
		}
		run := left[:min(n, len(left))]
		left = left[len(run):]
		infos, quiet := s.inspect(ctx, f, run)
		found = append(found, infos...)
		silent += quiet
	}
	return found[:min(len(found), max(limit, 0))], silent
}

// Session returns the connection of the session with that number, and reports whether there is one. It waits as Sessions
// does.
func (s *System) Session(ctx context.Context, number uint64) (Info, bool) {
	if number == 0 {
		return Info{}, false
	}
	found, _ := s.Sessions(ctx, Filter{Number: number}, 0, 1)
	if len(found) == 0 {
		return Info{}, false
	}
	return found[0], true
}

// Disconnect closes the connections that fit f, with the code and the reason, and returns how many: those that were closing
// already are not counted. When it returns, each of them has sent or queued its close frame and hears nothing more of its
// client, but for the silent ones, which it did not wait for any longer than Sessions does: they will be closed as soon as
// their Handler returns, if they fit f then. A session whose client is about to be answered is closed, too. Not in a Handler.
func (s *System) Disconnect(ctx context.Context, f Filter, code CloseCode, reason string) (closed, silent int) {
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	asked := s.candidates(f, 0)
	quiet := ask(ctx, asked, func(a *Actor) bool {
		if a.phase != phaseOpen || !f.state(a) {
			return false
		}
		a.startClose(code, reason)
		return true
	}, func(_ int, done bool) {
		if done {
			closed++
		}
	})
	for _, i := range quiet {
		if !f.deep() { // a mailbox that is full takes no function, but it takes this
			asked[i].Close(code, reason)
		}
	}
	return closed, len(quiet)
}

// candidates returns the actors that may fit f and are behind the number after, in the order of their numbers.
func (s *System) candidates(f Filter, after uint64) []*Actor {
	s.mu.Lock()
	all := slices.Clone(s.actors)
	s.mu.Unlock()
	all = slices.DeleteFunc(all, func(a *Actor) bool { return a.number <= after || !f.born(a) })
	slices.SortFunc(all, func(a, b *Actor) int { return cmp.Compare(a.number, b.number) })
	return all
}

// inspect returns what is to be seen of the actors that fit f, in their order.
func (s *System) inspect(ctx context.Context, f Filter, run []*Actor) (found []Info, silent int) {
	type seen struct {
		fits bool
		info Info
	}
	run = slices.DeleteFunc(run, (*Actor).opening)
	infos := make([]seen, len(run))
	quiet := ask(ctx, run, func(a *Actor) seen {
		if !f.state(a) {
			return seen{}
		}
		return seen{true, a.info()}
	}, func(i int, v seen) { infos[i] = v })
	for _, i := range quiet {
		silent++
		if !f.deep() {
			infos[i] = seen{true, Info{ID: run[i].ID(), Identity: run[i].identity, Heard: run[i].lastHeard(), Silent: true}}
		}
	}
	for _, v := range infos {
		if v.fits {
			found = append(found, v.info)
		}
	}
	return found, silent
}

// info returns what is to be seen of the actor. Only its own goroutine.
func (a *Actor) info() Info {
	i := Info{
		ID: a.ID(), Identity: a.state.Identity, Heard: a.lastHeard(),
		Route: a.state.Route, Opened: a.state.Opened, Groups: a.state.Groups,
		Closing: a.phase != phaseOpen, Paused: a.paused.Load(),
		MessagesReceived: a.received.messages, BytesReceived: a.received.bytes,
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i.MessagesSent, i.BytesSent = a.sent.messages, a.sent.bytes
	if a.out != nil {
		i.Queued = a.out.bytes
	}
	return i
}

func (a *Actor) lastHeard() time.Time { return time.UnixMilli(a.heard.Load()) }

// opening reports whether the client has not been answered yet.
func (a *Actor) opening() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.out != nil && a.out.held
}

// Ended reports whether the connection has ended: there is nobody to answer any more. Any goroutine.
func (a *Actor) Ended() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}

// ask runs f on the goroutine of each actor, and gives what it returns to tell, on this one. It returns when all have
// answered or ended, or when ctx ends, with the indices of those that have done neither; theirs may still run f later.
func ask[T any](ctx context.Context, actors []*Actor, f func(*Actor) T, tell func(i int, v T)) (silent []int) {
	type answer struct {
		i int
		v T
	}
	answers := make(chan answer, len(actors)) // with room for all: an actor never waits
	waiting := make(map[int]struct{}, len(actors))
	for i, a := range actors {
		if ctx.Err() == nil && a.Do(func(a *Actor) { answers <- answer{i, f(a)} }) {
			waiting[i] = struct{}{}
		} else if !a.Ended() {
			silent = append(silent, i)
		}
	}
	tick := time.NewTicker(inspectTick)
	defer tick.Stop()
	for len(waiting) > 0 {
		select {
		case got := <-answers:
			delete(waiting, got.i)
			tell(got.i, got.v)
		case <-tick.C:
			for i := range waiting {
				if actors[i].Ended() && len(answers) == 0 { // what it was asked went with its mailbox
					delete(waiting, i)
				}
			}
		case <-ctx.Done():
			for i := range waiting {
				silent = append(silent, i)
			}
			return silent
		}
	}
	return silent
}
