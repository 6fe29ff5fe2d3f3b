package memo

import (
	"maps"
	"time"
)

// list holds entries by use. Its Memo's lock guards it.
type list[V any] struct {
	newest, oldest *entry[V]
	len, bytes     int
}

// push puts e in front.
func (l *list[V]) push(e *entry[V]) {
	e.older, e.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = e
	} else {
		l.oldest = e
	}
	l.newest = e
	l.len++
	l.bytes += e.answer.Size + overhead
}

// remove takes e out.
func (l *list[V]) remove(e *entry[V]) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		l.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		l.oldest = e.newer
	}
	e.older, e.newer = nil, nil
	l.len--
	l.bytes -= e.answer.Size + overhead
}

func (m *Memo[V]) list(e *entry[V]) *list[V] {
	if e.answer.Kind == Bad {
		return &m.bad
	}
	return &m.good
}

// indexed reports whether e is in the list of its subject: a good answer about nobody changes with nobody.
func (e *entry[V]) indexed() bool { return e.answer.Subject != "" || e.answer.Kind == Bad }

// insert adds e, and makes room for it among its kind. mu is held.
func (m *Memo[V]) insert(e *entry[V]) {
	l, count := m.list(e), m.config.GoodCount
	most, bytes := m.config.MaxGood, m.config.GoodBytes
	if e.answer.Kind == Bad {
		most, bytes, count = m.config.MaxBad, m.config.BadBytes, m.config.BadCount
	}
	if e.answer.Size+overhead > bytes {
		return
	}
	for l.oldest != nil && (l.len >= most || l.bytes+e.answer.Size+overhead > bytes) {
		if e.answer.Kind == Good && time.Now().Before(l.oldest.ends) {
			add(m.config.Evicted, 1)
		}
		m.remove(l.oldest)
	}
	m.entries[e.key] = e
	m.most = max(m.most, len(m.entries))
	if m.sweeper == nil {
		m.sweeper = time.AfterFunc(m.period(), m.sweep)
	}
	l.push(e)
	add(count, 1)
	if e.indexed() {
		first := m.subjects[e.answer.Subject]
		if first != nil {
			first.prev = e
		}
		e.next, e.prev = first, nil
		m.subjects[e.answer.Subject] = e
	}
}

// remove takes e out of everything. mu is held.
func (m *Memo[V]) remove(e *entry[V]) {
	delete(m.entries, e.key)
	m.list(e).remove(e)
	count := m.config.GoodCount
	if e.answer.Kind == Bad {
		count = m.config.BadCount
	}
	add(count, -1)
	if !e.indexed() {
		return
	}
	switch {
	case e.prev != nil:
		e.prev.next = e.next
	case e.next != nil:
		m.subjects[e.answer.Subject] = e.next
	default:
		delete(m.subjects, e.answer.Subject)
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.next, e.prev = nil, nil
}

// period is how long after its end an entry is there at most.
func (m *Memo[V]) period() time.Duration { return max(m.config.TTL, m.config.NegativeTTL, time.Second) }

// sweep removes what has ended, since nobody else may: who connected once and stays never asks again. It comes back as long
// as something is left.
func (m *Memo[V]) sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweeper = nil
	now := time.Now()
	for _, l := range []*list[V]{&m.good, &m.bad} {
		for e := l.oldest; e != nil; {
			next := e.newer
			if !now.Before(e.ends) {
				m.remove(e)
			}
			e = next
		}
	}
	if left := len(m.entries); left < m.most/4 { // a map keeps the room that it once had
		m.most = left
		m.entries, m.subjects = shrunk(m.entries), shrunk(m.subjects)
	}
	if len(m.entries) > 0 {
		m.sweeper = time.AfterFunc(m.period(), m.sweep)
	}
}

// shrunk returns a map with the same entries, and with room for no more.
func shrunk[K comparable, V any](old map[K]V) map[K]V {
	m := make(map[K]V, len(old))
	maps.Copy(m, old)
	return m
}

func add(a Adder, n float64) {
	if a != nil {
		a.Add(n)
	}
}
