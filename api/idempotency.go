package api

import (
	"container/list"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	idempotencyTTL  = 5 * time.Minute
	idempotencyKeys = 10_000 // at most: about 4 MB
	maxIdempotency  = 128    // characters of a key
)

// idempotency remembers which requests to publish were done, for five minutes from the first, and at most so many of them:
// then the oldest is forgotten. It is this node's alone.
type idempotency struct {
	// Fixed after newIdempotency.
	max     int
	evicted prometheus.Counter

	// Guarded by mu.
	mu    sync.Mutex
	keys  map[string]*list.Element
	order list.List // of *keyed, the oldest first
}

// keyed is what is known of one key.
type keyed struct {
	// Fixed after get.
	key     string
	digest  [sha256.Size]byte
	expires time.Time
	turn    chan struct{} // holds one while a request works

	// Owned by whoever has the turn.
	done  int // messages that are published
	reach string
}

func newIdempotency(limit int, evicted prometheus.Counter) *idempotency {
	return &idempotency{max: limit, evicted: evicted, keys: make(map[string]*list.Element)}
}

// get returns what is known of the key, which is new if nothing is; nil if it was used for something else.
func (s *idempotency) get(key string, digest [sha256.Size]byte) *keyed {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.order.Front(); e != nil && !e.Value.(*keyed).expires.After(now); e = s.order.Front() {
		s.forget(e)
	}
	if e, ok := s.keys[key]; ok {
		if k := e.Value.(*keyed); k.digest == digest {
			return k
		}
		return nil
	}
	if s.order.Len() >= s.max {
		s.forget(s.order.Front())
		s.evicted.Inc()
	}
	k := &keyed{key: key, digest: digest, expires: now.Add(idempotencyTTL), turn: make(chan struct{}, 1)}
	s.keys[key] = s.order.PushBack(k)
	return k
}

// forget takes out one key. mu is held.
func (s *idempotency) forget(e *list.Element) {
	delete(s.keys, s.order.Remove(e).(*keyed).key)
}

// idempotencyKey returns the key of the body or of the header, "" where there is none.
func idempotencyKey(r *http.Request, body string) (string, error) {
	// draft-ietf-httpapi-idempotency-key-header: a quoted string. Most clients leave the quotes out.
	header := r.Header.Get("Idempotency-Key")
	if n := len(header); n > 1 && header[0] == '"' && header[n-1] == '"' {
		header = header[1 : n-1]
	}
	switch {
	case body != "" && header != "" && body != header:
		return "", badRequest("idempotency_key", "the body and the header Idempotency-Key have different keys; want one")
	case body == "":
		body = header
	}
	printable := !strings.ContainsFunc(body, func(c rune) bool { return c < ' ' || c > '~' })
	if len(body) > maxIdempotency || !printable {
		return "", badRequest("idempotency_key", fmt.Sprintf("an idempotency key has at most %d characters of ASCII", maxIdempotency))
	}
	return body, nil
}
