package journal

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// put takes the parcel into the queue. It returns a waiter where the append has to wait for the log; the error, or nil,
// where not.
func (j *JetStream) put(p *parcel) (*waiter, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return nil, ErrClosed
	case len(p.kinds) == 0:
		return nil, nil
	case j.sealed && p.epoch == j.config.Epoch:
		return nil, ErrSealed
	}
	required := p.opening && j.config.Mode == Require
	full := j.gap != nil || j.buffered+p.size > j.config.BufferBytes
	if required {
		if err := j.awayLocked(); err != nil {
			return nil, err
		}
		if full {
			return nil, fmt.Errorf("%w: the buffer is full", ErrUnavailable)
		}
	}
	if full {
		j.dropLocked(p.kinds)
		return nil, nil
	}
	b := j.addLocked(p)
	if required {
		return j.awaitLocked(b), nil
	}
	return nil, nil
}

// putSeal takes the epoch's last record, for which there is always room.
func (j *JetStream) putSeal(p *parcel) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return ErrClosed
	case j.sealed:
		return ErrSealed
	}
	j.sealed = true
	j.addLocked(p)
	return nil
}

// addLocked puts p into the batch that is open, or opens one. The caller holds mu.
func (j *JetStream) addLocked(p *parcel) *batch {
	var b *batch
	if n := len(j.queue); n > 0 {
		b = j.queue[n-1]
	}
	if b == nil || b.epoch != p.epoch || b.size+p.size > maxBatch {
		b = &batch{epoch: p.epoch, begun: time.Now(), data: j.spareLocked()}
		j.queue = append(j.queue, b)
		j.kick() // the writer waits for it, or for the one before no longer
	}
	b.add(p)
	j.tops[p.epoch] = max(j.tops[p.epoch], p.top)
	b.top = j.tops[p.epoch]
	j.buffered += p.size
	for _, kind := range p.kinds {
		j.metrics.count(kind)
	}
	return b
}

// spareLocked returns room that a batch had which is written. The caller holds mu.
func (j *JetStream) spareLocked() []byte {
	n := len(j.spare)
	if n == 0 {
		return nil
	}
	room := j.spare[n-1]
	j.spare = j.spare[:n-1]
	return room
}

// awaitLocked returns a waiter for b, which is then written at once. The caller holds mu.
func (j *JetStream) awaitLocked(b *batch) *waiter {
	if b.waiter == nil {
		b.waiter = &waiter{done: make(chan struct{})}
	}
	if !b.urgent {
		b.urgent = true
		j.kick()
	}
	return b.waiter
}

// dropLocked counts records that the buffer had no room for. The caller holds mu.
func (j *JetStream) dropLocked(kinds []session.Kind) {
	if j.gap == nil {
		j.gap = &gap{since: time.Now(), reason: GapBufferFull}
		j.kick()
	}
	j.gap.lost += uint64(len(kinds))
	j.metrics.dropped.Add(float64(len(kinds)))
}

// kick lets the writer look.
func (j *JetStream) kick() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// flush returns when everything that was appended before is in the log, and a gap before it. The error is ctx's,
// [ErrClosed], or wraps [ErrUnavailable].
func (j *JetStream) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	if err := j.awayLocked(); err != nil {
		j.mu.Unlock()
		return err
	}
	var ws []*waiter
	if b := j.lastLocked(); b != nil {
		for _, q := range j.queue { // none of them lingers
			q.urgent = true
		}
		ws = append(ws, j.awaitLocked(b))
		j.kick()
	}
	for _, g := range append(j.marking, j.gap) {
		if g == nil {
			continue
		}
		if g.waiter == nil {
			g.waiter = &waiter{done: make(chan struct{})}
		}
		ws = append(ws, g.waiter)
	}
	j.mu.Unlock()
	for _, w := range ws {
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// lastLocked returns the newest batch that is not written, or nil. The caller holds mu.
func (j *JetStream) lastLocked() *batch {
	if n := len(j.queue); n > 0 {
		return j.queue[n-1]
	}
	return j.writing
}

// take returns the oldest batch when its time has come, and how long that is from now otherwise; -1 where there is none.
func (j *JetStream) take(now time.Time) (*batch, time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 {
		return nil, -1
	}
	b := j.queue[0]
	if wait := lingerTime - now.Sub(b.begun); wait > 0 && !b.urgent && len(j.queue) == 1 && j.gap == nil && !j.closed {
		return nil, wait
	}
	j.queue = slices.Delete(j.queue, 0, 1)
	j.writing = b
	return b, 0
}

// takeGap sees to it that what the buffer had no room for is marked, when everything from before is written. It reports
// whether there is anything to mark.
func (j *JetStream) takeGap() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.gap != nil && len(j.queue) == 0 {
		j.marking = append(j.marking, j.gap)
		j.gap = nil // what comes from now on stands behind it
	}
	return len(j.marking) > 0
}

// finish notes the end of the batch that was taken.
func (j *JetStream) finish(b *batch, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writing = nil
	j.buffered -= b.size
	if len(j.spare) < maxSpare && cap(b.data) <= 2*maxBatch {
		j.spare = append(j.spare, b.data[:0])
	}
	b.data, b.message = nil, nil
	if b.waiter != nil {
		b.waiter.end(err)
		b.waiter = nil
	}
}

// away notes that the log is not there, and tells all who wait.
func (j *JetStream) away(err error) {
	j.metrics.connected.Set(0)
	now, text := time.Now(), err.Error()
	j.mu.Lock()
	j.trouble = err
	waiting := j.queue
	if j.writing != nil {
		waiting = append([]*batch{j.writing}, j.queue...)
	}
	told := fmt.Errorf("%w: %w", ErrUnavailable, err)
	for _, b := range waiting {
		if b.waiter != nil {
			b.waiter.end(told)
			b.waiter = nil
		}
	}
	for _, g := range append(j.marking, j.gap) {
		g.end(told)
	}
	say := j.said != text || now.Sub(j.saidAt) >= sayInterval
	if say {
		j.said, j.saidAt = text, now
	}
	j.mu.Unlock()
	if say {
		j.log.Warn("journal: the log is away; records wait in memory", "err", text)
	}
}

// back notes that the log is there.
func (j *JetStream) back() {
	j.metrics.connected.Set(1)
	j.mu.Lock()
	was := j.trouble
	j.trouble, j.said = nil, ""
	j.mu.Unlock()
	if was != nil {
		j.log.Info("journal: the log is there", "stream", j.stream)
	}
}

// discard lets go of what was not written, after the end of the writer.
func (j *JetStream) discard() {
	j.mu.Lock()
	defer j.mu.Unlock()
	lost := 0
	for _, b := range append(j.queue, j.writing) {
		if b == nil {
			continue
		}
		lost += b.records
		if b.waiter != nil {
			b.waiter.end(ErrClosed)
		}
	}
	for _, g := range append(j.marking, j.gap) {
		if g != nil {
			g.end(ErrClosed)
			j.log.Warn("journal: closed before a gap could be marked", "lost", g.lost)
		}
	}
	j.queue, j.writing, j.gap, j.marking, j.buffered = nil, nil, nil, nil, 0
	if lost > 0 {
		j.metrics.dropped.Add(float64(lost))
		j.log.Warn("journal: closed while the log was away", "lost", lost)
	}
}

// buffers returns the bytes that wait for the log.
func (j *JetStream) buffers() float64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return float64(j.buffered)
}
