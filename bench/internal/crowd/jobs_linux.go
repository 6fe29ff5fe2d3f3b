package crowd

import (
	"errors"
	"fmt"
)

// awaitJob is an [Await].
type awaitJob struct {
	Await
	seen  int64
	since int64 // when seen grew last
}

func (j *awaitJob) step(c *Crowd, now int64) (*Reply, int64) {
	if c.counts.Discarded > j.seen {
		j.seen, j.since = c.counts.Discarded, now
	}
	switch {
	case j.seen >= j.Discarded:
		return &Reply{Counts: c.snapshot()}, now
	case now-j.since > int64(j.Timeout):
		return &Reply{Error: fmt.Sprintf("%d bytes have come, of %d, and no more in %v", j.seen, j.Discarded, j.Timeout)}, now
	}
	return nil, now + int64(longestWait)
}

func (j *awaitJob) settled(*Crowd, *conn, state, error) {}

func (j *awaitJob) progress(*Crowd) string { return fmt.Sprintf("%d of %d bytes", j.seen, j.Discarded) }

// closeJob is a [Close].
type closeJob struct {
	Close
	live  int
	since int64 // when one settled last
}

func (c *Crowd) beginClose(cl Close) (job, error) {
	if cl.Leaving == Stay || cl.Timeout <= 0 {
		return nil, errors.New("close: want a way of leaving and a timeout")
	}
	j := &closeJob{Close: cl, since: c.now()}
	c.job = j // leave tells it
	for i := range c.conns {
		if at := &c.conns[i]; at.state == open {
			j.live++
			c.leave(at, cl.Leaving)
		}
	}
	return j, nil
}

func (j *closeJob) step(c *Crowd, now int64) (*Reply, int64) {
	if j.live > 0 && now-j.since > int64(j.Timeout) {
		err := fmt.Sprintf("close: %d connections were not closed by the server in %v", j.live, j.Timeout)
		for i := range c.conns {
			c.drop(&c.conns[i])
		}
		return &Reply{Error: err}, now
	}
	if j.live > 0 {
		return nil, now + int64(longestWait)
	}
	c.conns, c.sweeping = c.conns[:0], false
	return &Reply{Counts: c.snapshot()}, now
}

func (j *closeJob) settled(c *Crowd, _ *conn, was state, _ error) {
	if was == leaving {
		j.live--
		j.since = c.now()
	}
}

func (j *closeJob) progress(*Crowd) string { return fmt.Sprintf("%d connections still open", j.live) }

// countJob is a [Count].
type countJob struct{ Count }

func (j *countJob) step(c *Crowd, now int64) (*Reply, int64) {
	r := &Reply{Counts: c.snapshot()}
	if j.Reset {
		c.latency.Reset()
		c.counts.Messages, c.counts.Pings, c.counts.Gaps, c.counts.Repeats = 0, 0, 0, 0
	}
	return r, now
}

func (j *countJob) settled(*Crowd, *conn, state, error) {}

func (j *countJob) progress(*Crowd) string { return "counting" }

var _ = []job{(*openJob)(nil), (*publishJob)(nil), (*awaitJob)(nil), (*closeJob)(nil), (*countJob)(nil), (*moveJob)(nil)}
