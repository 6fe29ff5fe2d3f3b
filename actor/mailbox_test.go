package actor

import "testing"

// While a Handler does not return, the mailbox fills up to its bound and no further: functions are refused, and a close
// that finds it full cuts the connection as soon as the Handler lets it.
func TestMailboxIsBounded(t *testing.T) {
	n := newNode(t, Config{})
	entered, leave := make(chan struct{}), make(chan struct{})
	c := n.connect(Birth{Handler: script{message: func(*Actor, Message) {
		close(entered)
		<-leave
	}}})
	if _, err := c.Write(masked(text, "x")); err != nil {
		t.Fatal(err)
	}
	<-entered
	ran := 0
	for range maxMail {
		if !c.actor.Do(func(*Actor) { ran++ }) {
			t.Fatal("Do was refused before the mailbox was full")
		}
	}
	if c.actor.Do(func(*Actor) { ran++ }) {
		t.Error("Do was taken by a full mailbox")
	}
	for range 3 {
		if !c.actor.Close(CloseForbidden, "no more") {
			t.Error("Close was refused")
		}
	}
	c.actor.mu.Lock()
	mail := len(c.actor.mail)
	c.actor.mu.Unlock()
	if mail != maxMail+1 {
		t.Errorf("%d commands wait, want %d", mail, maxMail+1)
	}
	close(leave)
	n.wantClosed(c, CloseForbidden, "no more")
	if ran != maxMail {
		t.Errorf("%d functions ran, want %d", ran, maxMail)
	}
}
