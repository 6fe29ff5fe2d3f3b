package bus

import (
	"slices"
	"sync/atomic"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	// maxWindow is how many entries of its inbox a shard looks at together, and so the most messages of a batch.
	maxWindow = 64
	// entryOverhead is what a queued message costs beside its payload.
	entryOverhead = 64
)

// cost is how many bytes of a queue a message takes.
func cost(payload []byte) int64 { return int64(len(payload)) + entryOverhead }

// entry is what a shard's inbox holds: a message, or a command to one of the shard's parts of groups.
type entry struct {
	part    *part
	payload []byte
	binary  bool
	command *command // nil: a message
}

// command is a join, or a leave.
type command struct {
	membership *Membership
	member     Member      // nil: leave
	done       func(error) // of a join; nil: nobody wants to know
	err        error       // of a join that is not to be: done is told so
}

// finish calls done, once the command has its result.
func (c *command) finish(err error) {
	if c.done != nil {
		c.done(err)
	}
}

// part is what a group has in one shard: its members there.
type part struct {
	// Fixed after group.part.
	group session.Group
	shard *shard

	// Guarded by the mu of the group's stripe.
	members int // joined or about to be

	// Owned by the shard's goroutine.
	slots []slot
	run   int // 1 + the index of the part's run in the window; 0: none
}

// slot is a member's place in its part. The member is here and not behind the membership, so that delivery walks
// through one slice.
type slot struct {
	member     Member
	membership *Membership
}

// shard delivers to its members, on one goroutine. What it does for one member of a batch is one call of Deliver. A join or
// leave that finds the shard idle is carried out by its caller, who has claimed the inbox: "the shard's goroutine" is then the
// caller's.
type shard struct {
	// Fixed after newShard.
	metrics *metrics
	abort   *atomic.Bool // deliver nothing more, only empty the inbox
	ended   chan struct{}

	inbox queue[entry]

	// Owned by the shard's goroutine.
	runs     []run
	next     [maxWindow]int8 // of each entry of the window: the next one of its run; -1: none
	messages []Message
	batch    Batch
}

// run is the messages of one part in the window, as a chain of indices through shard.next.
type run struct {
	part       *part // nil: delivered already
	head, tail int8
	size       int
}

func newShard(inboxBytes int, m *metrics, abort *atomic.Bool) *shard {
	s := &shard{metrics: m, abort: abort, ended: make(chan struct{})}
	s.inbox.init(inboxBytes)
	return s
}

// loop works until the inbox is closed and empty.
func (s *shard) loop() {
	defer close(s.ended)
	var items []entry
	for {
		var ok bool
		if items, ok = s.inbox.take(items); !ok {
			return
		}
		for w := range slices.Chunk(items, maxWindow) {
			s.window(w)
		}
		clear(items)
	}
}

// window takes the entries in order. Messages of a part are held back to the end of the window, or to the next command
// for that part, or to maxBatchBytes, whatever comes first, and then delivered together.
func (s *shard) window(w []entry) {
	var taken int64
	for i := range w {
		e := &w[i]
		if e.command != nil {
			s.flush(w, e.part)
			s.execute(e.part, e.command)
			continue
		}
		taken += cost(e.payload)
		s.add(w, i)
	}
	for i := range s.runs {
		s.deliver(w, &s.runs[i])
	}
	s.runs = s.runs[:0]
	s.inbox.release(taken)
}

// add appends the message w[i] to its part's run.
func (s *shard) add(w []entry, i int) {
	p := w[i].part
	if len(p.slots) == 0 {
		return
	}
	size := len(w[i].payload) + messageOverhead
	s.next[i] = -1
	if p.run != 0 {
		r := &s.runs[p.run-1]
		if r.size+size <= maxBatchBytes {
			s.next[r.tail] = int8(i)
			r.tail = int8(i)
			r.size += size
			return
		}
		s.deliver(w, r)
	}
	s.runs = append(s.runs, run{part: p, head: int8(i), tail: int8(i), size: size})
	p.run = len(s.runs)
}

// flush delivers the part's run, if it has one.
func (s *shard) flush(w []entry, p *part) {
	if p.run != 0 {
		s.deliver(w, &s.runs[p.run-1])
	}
}

// deliver makes a batch of the run and hands it to all members of the part.
func (s *shard) deliver(w []entry, r *run) {
	p := r.part
	if p == nil {
		return
	}
	r.part, p.run = nil, 0
	if s.abort.Load() {
		return
	}
	s.messages = s.messages[:0]
	for i := r.head; i >= 0; i = s.next[i] {
		s.messages = append(s.messages, Message{Group: p.group, Binary: w[i].binary, Payload: w[i].payload})
	}
	b := &s.batch
	b.reset(s.messages, r.size)
	failed := 0
	for i := range p.slots {
		if !p.slots[i].member.Deliver(b) {
			failed++
		}
	}
	s.metrics.delivered(len(s.messages), len(p.slots)-failed, failed)
	b.reset(nil, 0)
	clear(s.messages) // the payloads are the members' now
}

// execute carries out a join or a leave.
func (s *shard) execute(p *part, c *command) {
	if c.member == nil {
		p.remove(c.membership)
		return
	}
	c.finish(s.place(p, c))
}

// place gives a member that joins its slot, and returns the result of the join.
func (s *shard) place(p *part, c *command) error {
	switch {
	case c.err != nil:
		return c.err
	case s.abort.Load():
		return ErrClosed
	}
	c.membership.index = int32(len(p.slots))
	p.slots = append(p.slots, slot{c.member, c.membership})
	return nil
}

// remove takes the membership's slot out, and puts the last one into its place.
func (p *part) remove(ms *Membership) {
	i, last := int(ms.index), len(p.slots)-1
	if i > last || p.slots[i].membership != ms {
		return // its join was refused
	}
	p.slots[i] = p.slots[last]
	p.slots[i].membership.index = int32(i)
	p.slots[last] = slot{}
	p.slots = p.slots[:last]
	if last == 0 {
		p.slots = nil
	} else if c := cap(p.slots); c >= maxWindow && last <= c/4 {
		p.slots = append(make([]slot, 0, c/2), p.slots...)
	}
}
