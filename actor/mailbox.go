package actor

import "time"

// command is what another goroutine asks of an actor. The set is closed.
type command interface{ command() }

type (
	// cut ends the connection without a closing handshake: it is broken, or the peer does not read.
	cut struct {
		code   CloseCode
		reason string
		slow   slowReason
	}
	// closing begins the closing handshake.
	closing struct {
		code   CloseCode
		reason string
	}
	// resume says that the bus has room again.
	resume struct{}
	// renew asks the actor to go on as a fresh goroutine, with a small stack.
	renew struct{}
	// do runs a function on the actor's goroutine.
	do struct{ f func(*Actor) }
)

func (cut) command()     {}
func (closing) command() {}
func (resume) command()  {}
func (renew) command()   {}
func (do) command()      {}

// maxMail bounds the mailbox of an actor whose Handler does not return. Only functions and closes count: there is never
// more than one of each other command.
const maxMail = 1024

// post puts a command into the mailbox and wakes the actor. It reports false if the actor has ended, or if the mailbox is
// full; a close is never refused for that, it becomes a cut.
func (a *Actor) post(c command) bool {
	a.mu.Lock()
	wake, ok := false, !a.ended
	if ok && len(a.mail) >= maxMail {
		switch full := c.(type) {
		case do:
			ok = false
		case closing:
			wake = a.cutLocked(cut{full.code, full.reason, slowNone})
		default:
			wake = a.postLocked(c)
		}
	} else if ok {
		wake = a.postLocked(c)
	}
	a.mu.Unlock()
	if wake {
		a.conn.interrupt()
	}
	return ok
}

// postLocked puts a command into the mailbox. It reports whether the actor has to be woken.
func (a *Actor) postLocked(c command) (wake bool) {
	wake = len(a.mail) == 0
	a.mail = append(a.mail, c)
	a.mailed.Store(true)
	return wake
}

// drain carries out the commands in the mailbox. It reports false when this goroutine is to end.
//
// The deadline is set before the mailbox is emptied: the other order would undo the wake-up of a command that is posted
// between the two.
func (a *Actor) drain() bool {
	var deadline time.Time
	if a.ending != nil {
		deadline = a.ending.by
	}
	a.conn.setReadDeadline(deadline)
	a.mu.Lock()
	a.mailed.Store(false)
	mail := a.mail
	a.mail = nil
	a.mu.Unlock()
	fresh := false
	for _, c := range mail {
		switch c := c.(type) {
		case cut:
			a.system.metrics.slow(c.slow)
			a.finish(Closure{Code: c.code, Reason: c.reason}, true)
			return false
		case closing:
			a.startClose(c.code, c.reason)
		case resume:
			if !a.resume() {
				return false
			}
		case renew:
			fresh = true
		case do:
			a.grown.Store(true)
			c.f(a)
		}
	}
	if a.ending != nil && !time.Now().Before(a.ending.by) {
		a.finish(a.ending.closure, true)
		return false
	}
	if fresh && a.mayRenew() {
		a.grown.Store(false)
		go a.run()
		return false
	}
	return true
}
