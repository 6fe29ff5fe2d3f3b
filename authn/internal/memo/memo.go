package memo

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Key is a digest of a question.
type Key [32]byte

// Kind says what an answer is.
type Kind uint8

// The kinds of answers.
const (
	Fleeting Kind = iota // not kept, such as that nobody could say; what was kept before stays
	Gone                 // not kept, and what was kept before is no longer so
	Good                 // kept for Config.TTL
	Bad                  // a refusal, kept for Config.NegativeTTL
)

// Answer is what came back for a question. Value and Err are shared by all who ask: nobody may change them.
type Answer[V any] struct {
	Kind    Kind
	Value   V
	Err     error
	Subject string    // whom it is about; "" where it does not say
	Until   time.Time // kept no longer than that; zero: as long as its kind
	Size    int       // bytes that Value and Err hold, about
}

// Config bounds a Memo. Zero durations keep nothing of the kind; every other field must be set.
type Config struct {
	TTL, NegativeTTL    time.Duration
	MaxGood, MaxBad     int // entries
	GoodBytes, BadBytes int
	Timeout             time.Duration // of one question, whoever waits for it
	GoodCount, BadCount Adder         // told of entries that come and go; nil: nobody is told
	Evicted             Adder         // told of good entries for which there was no room; nil: nobody is told
}

// Adder is a gauge or a counter.
type Adder interface{ Add(float64) }

// How says where an answer came from.
type How uint8

// Where answers come from.
const (
	Asked  How = iota // this call asked
	Shared            // another call had asked, and this one waited with it
	Hit               // it was kept, and is good
	BadHit            // it was kept, and is bad
	Left              // the caller's context ended first
)

// recent is how many drops of subjects are remembered for answers that are on their way.
const recent = 64

// overhead is about what an entry takes beside what it holds.
const overhead = 320

// Memo remembers answers. It may be used by many goroutines.
type Memo[V any] struct {
	// Fixed after New.
	config Config

	mu sync.Mutex
	// Guarded by mu.
	entries   map[Key]*entry[V]
	subjects  map[string]*entry[V] // the first of a list; those of "" are bad
	good      list[V]
	bad       list[V]
	questions map[Key]*question[V]
	all       map[*flight[V]]struct{}
	begun     uint64         // flights
	drops     uint64         // of subjects and of everything
	subject   uint64         // drops of subjects
	dropped   [recent]string // the last of them, by their number
	emptied   uint64         // drops, when everything was dropped last
	most      int            // entries since the maps were made
	sweeper   *time.Timer    // nil: there is nothing to sweep
	closed    bool

	running sync.WaitGroup
}

type entry[V any] struct {
	key         Key
	answer      Answer[V]
	asked, ends time.Time

	older, newer *entry[V] // by use
	next, prev   *entry[V] // of the same subject
}

// question is what is on its way for a key. It is there while a flight is.
type question[V any] struct {
	// Guarded by the Memo's mu.
	flights int
	join    *flight[V] // the latest; nil: whoever comes asks again
	valid   uint64     // flights before this number know less than was known since
}

// flight is a question on its way.
type flight[V any] struct {
	// Fixed after it began.
	key            Key
	number         uint64 // from 1 on
	asked          time.Time
	drops, subject uint64 // of the Memo, when it began
	cancel         context.CancelFunc
	done           chan struct{}

	// Fixed when done is closed.
	answer Answer[V]
	panic  error // what the question ended with instead
}

// New returns an empty Memo. The caller closes it.
func New[V any](c Config) *Memo[V] {
	return &Memo[V]{
		config:  c,
		entries: map[Key]*entry[V]{}, subjects: map[string]*entry[V]{},
		questions: map[Key]*question[V]{}, all: map[*flight[V]]struct{}{},
	}
}

// Any as an age lets every answer pass that is kept.
const Any time.Duration = -1

// Peek returns the answer that is kept, unless the question for it is older than age. It does not block.
func (m *Memo[V]) Peek(key Key, age time.Duration) (v V, err error, how How, ok bool) { //nolint:revive,staticcheck // the error is a part of the answer, and no failure of Peek
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(key, now, age)
	if e == nil {
		return v, nil, Asked, false
	}
	return e.answer.Value, e.answer.Err, e.how(), true
}

// Get returns the answer that is kept unless it is older than age, else that of a question on its way which is not, else
// it asks. ask runs on a goroutine of its own, with the values of ctx, until Config.Timeout has passed or the Memo is
// closed, and keeps nothing of what dies with the caller. Get waits for it until ctx ends. If ask
// panics, all who wait panic. how is Left and err why, where ctx ended.
func (m *Memo[V]) Get(ctx context.Context, key Key, age time.Duration, ask func(context.Context) Answer[V]) (v V, how How, err error) {
	now := time.Now()
	m.mu.Lock()
	if e := m.find(key, now, age); e != nil {
		m.mu.Unlock()
		return e.answer.Value, e.how(), e.answer.Err
	}
	if m.closed {
		m.mu.Unlock()
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		a := ask(ctx)
		return a.Value, Asked, a.Err
	}
	how = Shared
	q := m.questions[key]
	if q == nil {
		q = &question[V]{}
		m.questions[key] = q
	}
	f := q.join
	if f == nil || f.drops != m.drops || age >= 0 && now.Sub(f.asked) > age {
		how = Asked
		f = m.begin(ctx, key, q, now, ask)
	}
	m.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return v, Left, context.Cause(ctx)
	}
	if f.panic != nil {
		panic(f.panic)
	}
	return f.answer.Value, how, f.answer.Err
}

// begin starts a flight of q, which those who come later may join. mu is held.
func (m *Memo[V]) begin(ctx context.Context, key Key, q *question[V], now time.Time, ask func(context.Context) Answer[V]) *flight[V] {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.config.Timeout)
	m.begun++
	f := &flight[V]{key: key, number: m.begun, asked: now, drops: m.drops, subject: m.subject, cancel: cancel, done: make(chan struct{})}
	m.all[f] = struct{}{}
	q.flights++
	q.join = f
	m.running.Go(func() {
		defer m.land(f)
		f.ask(ctx, ask)
	})
	return f
}

// ask runs the question. Whatever ends it early is the answer's panic.
func (f *flight[V]) ask(ctx context.Context, ask func(context.Context) Answer[V]) {
	defer f.cancel()
	f.panic = errors.New("a question ended its goroutine")
	defer func() {
		if v := recover(); v != nil {
			f.panic = fmt.Errorf("%v, in a question of which the answer is kept\n%s", v, debug.Stack())
		}
	}()
	f.answer = ask(ctx)
	f.panic = nil
}

// land keeps the flight's answer if it can be, and lets those who wait have it.
func (m *Memo[V]) land(f *flight[V]) {
	defer close(f.done)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, f)
	q := m.questions[f.key]
	if f.panic == nil {
		m.keep(f, q)
	}
	if q.join == f {
		q.join = nil
	}
	if q.flights--; q.flights == 0 {
		delete(m.questions, f.key)
	}
}

// keep makes an entry of the answer of a flight of q. mu is held.
func (m *Memo[V]) keep(f *flight[V], q *question[V]) {
	if f.answer.Kind == Fleeting || f.number < q.valid {
		return
	}
	q.valid = f.number // also where nothing is kept: an older yes must not outlive that
	if old := m.entries[f.key]; old != nil {
		m.remove(old)
	}
	ends := f.asked
	switch f.answer.Kind {
	case Good:
		ends = ends.Add(m.config.TTL)
	case Bad:
		ends = ends.Add(m.config.NegativeTTL)
	}
	if until := f.answer.Until; !until.IsZero() && until.Before(ends) {
		ends = until
	}
	if now := time.Now(); !now.Before(ends) || m.closed || m.overtaken(f) {
		return
	}
	m.insert(&entry[V]{key: f.key, answer: f.answer, asked: f.asked, ends: ends})
}

// overtaken reports whether what the flight found was dropped since it began. mu is held.
func (m *Memo[V]) overtaken(f *flight[V]) bool {
	since := m.subject - f.subject
	switch {
	case m.emptied > f.drops, since > recent:
		return true
	case f.answer.Subject == "":
		return f.answer.Kind == Bad && since > 0
	}
	for n := f.subject; n < m.subject; n++ {
		if m.dropped[n%recent] == f.answer.Subject {
			return true
		}
	}
	return false
}

// find returns the entry if it is good for another answer. mu is held.
func (m *Memo[V]) find(key Key, now time.Time, age time.Duration) *entry[V] {
	e := m.entries[key]
	switch {
	case e == nil, age >= 0 && now.Sub(e.asked) > age:
		return nil
	case !now.Before(e.ends):
		m.remove(e)
		return nil
	}
	l := m.list(e)
	l.remove(e)
	l.push(e)
	return e
}

func (e *entry[V]) how() How {
	if e.answer.Kind == Bad {
		return BadHit
	}
	return Hit
}

// DropKey forgets the answer of one question.
func (m *Memo[V]) DropKey(key Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[key]; e != nil {
		m.remove(e)
	}
	if q := m.questions[key]; q != nil {
		q.join, q.valid = nil, m.begun+1
	}
}

// DropSubject forgets the answers about one subject, and the bad ones that do not say about whom they are.
func (m *Memo[V]) DropSubject(subject string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drops++
	m.dropped[m.subject%recent] = subject
	m.subject++
	for _, s := range [...]string{subject, ""} {
		for e := m.subjects[s]; e != nil; e = m.subjects[s] {
			m.remove(e)
		}
	}
}

// DropAll forgets everything.
func (m *Memo[V]) DropAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drops++
	m.emptied = m.drops
	m.empty()
}

// empty removes every entry. mu is held.
func (m *Memo[V]) empty() {
	for _, l := range []*list[V]{&m.good, &m.bad} {
		for l.oldest != nil {
			m.remove(l.oldest)
		}
	}
}

// Len returns how many answers are kept; some may have ended.
func (m *Memo[V]) Len() (good, bad int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.good.len, m.bad.len
}

// Close cancels the questions under way, waits until they have ended, and forgets everything. Nothing is kept after it,
// and questions are asked with a context that has ended. It may be called again.
func (m *Memo[V]) Close() {
	m.mu.Lock()
	m.closed = true
	m.empty()
	if m.sweeper != nil {
		m.sweeper.Stop()
	}
	for f := range m.all {
		f.cancel()
	}
	m.mu.Unlock()
	m.running.Wait()
}
