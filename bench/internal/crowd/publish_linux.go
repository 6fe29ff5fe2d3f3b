package crowd

import (
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// longestBurst is how many messages one write of a windowed publisher has.
const longestBurst = 64

type publishJob struct {
	Publish
	Published
	senders []*conn
	numbers []uint32 // the last message of each sender
	turn    int
	base    int64 // deliveries before
	frame   int   // bytes of a delivery
	began   int64
	moved   int64 // when a delivery came last
	ended   bool  // all is sent
}

func (c *Crowd) beginPublish(p Publish) (job, error) {
	switch {
	case p.Size < MinimumSize:
		return nil, fmt.Errorf("publish: a message has at least %d bytes", MinimumSize)
	case p.Senders < 1 || p.Drain <= 0:
		return nil, errors.New("publish: want a sender and a time to drain")
	case p.Rate > 0 && p.Messages < 1, p.Rate <= 0 && (p.Window < 1 || p.Messages < 1 && p.Duration <= 0):
		return nil, errors.New("publish: want messages with a rate, or a window with messages or a duration")
	}
	j := &publishJob{Publish: p, frame: wire.FrameSize(p.Size), began: c.now()}
	for i := range c.conns {
		at := &c.conns[i]
		if at.state != open {
			continue
		}
		if len(j.senders) < p.Senders {
			j.senders = append(j.senders, at)
			j.numbers = append(j.numbers, at.sent)
		}
		if at.reading != Stall {
			j.Members++
		}
	}
	if len(j.senders) < p.Senders {
		return nil, fmt.Errorf("publish: %d senders, but %d connections are open", p.Senders, len(j.senders))
	}
	if j.Members == 0 {
		return nil, errors.New("publish: nobody reads")
	}
	j.base, j.moved = c.deliveries(j.frame), j.began
	return j, nil
}

// deliveries counts messages: those that were read, and those whose bytes were thrown away.
func (c *Crowd) deliveries(frame int) int64 {
	return c.counts.Messages + c.counts.Discarded/int64(frame)
}

func (j *publishJob) step(c *Crowd, now int64) (*Reply, int64) {
	if got := c.deliveries(j.frame) - j.base; got > j.Received {
		j.Received, j.moved = got, now
	}
	next := j.publish(c, now)
	if !j.ended {
		return nil, next
	}
	j.Expected = int64(j.Published.Messages) * int64(j.Members)
	if j.Received < j.Expected && now-j.moved < int64(j.Drain) {
		return nil, now + int64(longestWait)
	}
	for i, at := range j.senders {
		at.sent = j.numbers[i]
	}
	j.Elapsed = time.Duration(j.moved - j.began)
	return &Reply{Published: &j.Published}, now
}

// publish sends what is due, and returns when to look again.
func (j *publishJob) publish(c *Crowd, now int64) (next int64) {
	if j.Rate > 0 {
		for !j.ended {
			due := j.began + int64(float64(j.Published.Messages)/j.Rate*1e9)
			if due > now {
				return due
			}
			j.Late = max(j.Late, time.Duration(now-due))
			if !j.send(c, now, 1) {
				return now + int64(time.Millisecond)
			}
		}
		return now
	}
	for !j.ended {
		room := int(int64(j.Window) - (int64(j.Published.Messages) - j.Received/int64(j.Members)))
		if j.Duration > 0 && now-j.began >= int64(j.Duration) {
			j.ended = true
			break
		}
		if room <= 0 || !j.send(c, now, min(room, longestBurst)) {
			return now + int64(time.Millisecond)
		}
	}
	return now
}

// send has the next sender send n messages at once. It returns false, and sends nothing, when that one's socket is full.
func (j *publishJob) send(c *Crowd, now int64, n int) bool {
	if j.Publish.Messages > 0 {
		n = min(n, j.Publish.Messages-j.Published.Messages)
	}
	i := j.turn % len(j.senders)
	at := j.senders[i]
	if at.state != open {
		j.ended = true // lost: the counts say why
		return false
	}
	if len(at.out) > 0 {
		return false
	}
	j.turn++
	c.out = c.out[:0]
	for range n {
		j.numbers[i]++
		c.text = appendMessage(c.text[:0], stamp{sender: uint16(at.number), number: j.numbers[i], at: now}, j.Size)
		c.out = wire.AppendFrame(c.out, wire.Text, c.text)
	}
	c.send(at, c.out)
	j.Published.Messages += n
	j.ended = j.Publish.Messages > 0 && j.Published.Messages >= j.Publish.Messages
	return true
}

func (j *publishJob) settled(*Crowd, *conn, state, error) {}

func (j *publishJob) progress(*Crowd) string {
	return fmt.Sprintf("%d messages, %d deliveries", j.Published.Messages, j.Received)
}
