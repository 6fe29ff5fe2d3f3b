package crowd

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// errServiceRestart is the close code of a server that stops.
const errServiceRestart closeError = 1012

// moveJob is a [Move].
type moveJob struct {
	Move
	Moved
	peer     unix.SockaddrInet4
	began    int64
	moved    int64   // when one settled last
	left     int     // connections that are not settled
	arrivals []int64 // when each was open again
}

func (c *Crowd) beginMove(m Move) (job, error) {
	if m.Process <= 1 || m.Timeout <= 0 || m.Reading != Parse {
		return nil, errors.New("move: want a process, a timeout and clients that parse")
	}
	peer, err := sockaddr(m.Address)
	if err != nil {
		return nil, err
	}
	if err := unix.Kill(m.Process, unix.SIGTERM); err != nil {
		return nil, fmt.Errorf("SIGTERM: %w", err)
	}
	j := &moveJob{Move: m, peer: peer, began: c.now(), left: c.counts.Open}
	j.moved = j.began
	return j, nil
}

func (j *moveJob) step(_ *Crowd, now int64) (*Reply, int64) {
	switch {
	case j.left > 0 && now-j.moved <= int64(j.Timeout):
		return nil, now + int64(longestWait)
	case j.left > 0 && j.Moved.Error == "":
		j.Moved.Error = fmt.Sprintf("%d connections were not closed, or not opened again, and nothing came in %v", j.left, j.Timeout)
	}
	j.Failed += j.left
	j.Elapsed = time.Duration(j.moved - j.began)
	j.Busiest = busiest(j.arrivals)
	return &Reply{Moved: &j.Moved}, now
}

func (j *moveJob) settled(c *Crowd, at *conn, was state, err error) {
	j.moved = c.now()
	switch {
	case was == open && errors.Is(err, errServiceRestart):
		if j.First == 0 {
			j.First = time.Duration(j.moved - j.began)
		}
		if c.counts.Lost--; c.counts.Lost == 0 {
			c.counts.Error = "" // fail's, about this one
		}
		at.request, err = request(&j.Open, at.number, j.Secret, time.Now())
		if err == nil {
			err = c.dial(at, &j.Open, &j.peer)
		}
		if err != nil {
			c.fail(at, err)
		}
		return
	case was == open:
		j.Lost++
	case err != nil || was == refused:
		j.Failed++
		if err == nil {
			err = errors.New("refused by the other server")
		}
	default:
		j.Moved.Moved++
		j.arrivals = append(j.arrivals, j.moved)
	}
	j.left--
	if j.Moved.Error == "" && err != nil {
		j.Moved.Error = fmt.Sprintf("connection %d: %v", at.number, err)
	}
}

func (j *moveJob) progress(*Crowd) string {
	return fmt.Sprintf("%d connections have moved, %d are left", j.Moved.Moved, j.left)
}

// busiest returns the most of the times, which ascend, that lie within one second.
func busiest(times []int64) (most int) {
	first := 0
	for i, t := range times {
		for t-times[first] >= int64(time.Second) {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
