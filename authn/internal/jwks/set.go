package jwks

import (
	"crypto"
	"fmt"
	"slices"
	"time"
)

// set is the usable keys of one fetch. It is never changed.
type set struct {
	keys    []usable
	byID    map[string][]usable
	skipped []error   // the others: why they are of no use
	at      time.Time // when they came
}

type usable struct {
	Key
	algorithms []string
}

// newSet picks the keys that fit one of the algorithms.
func newSet(keys []Key, skipped []error, algorithms []string, fits func(string, crypto.PublicKey) error) *set {
	s := &set{byID: map[string][]usable{}, skipped: skipped}
	for _, k := range keys {
		u := usable{Key: k}
		why := fmt.Errorf("key %.40q is for %.20q", k.ID, k.Algorithm)
		for _, a := range algorithms {
			if k.Algorithm != "" && k.Algorithm != a {
				continue
			}
			if err := fits(a, k.Public); err != nil {
				why = fmt.Errorf("key %.40q: %w", k.ID, err)
				continue
			}
			u.algorithms = append(u.algorithms, a)
		}
		if u.algorithms == nil {
			s.skipped = append(s.skipped, why)
			continue
		}
		s.keys = append(s.keys, u)
		s.byID[k.ID] = append(s.byID[k.ID], u)
	}
	return s
}

// find returns the key. known is false where a fetch could bring it.
func (s *set) find(id []byte, algorithm string) (key crypto.PublicKey, known bool) {
	candidates := s.byID[string(id)]
	if len(id) == 0 {
		if candidates = s.keys; len(candidates) > 1 {
			return nil, true // which of them, no fetch can tell
		}
	}
	for i := range candidates {
		if slices.Contains(candidates[i].algorithms, algorithm) {
			return candidates[i].Public, true
		}
	}
	return nil, len(candidates) > 0
}

// same reports whether both hold the same keys.
func (s *set) same(o *set) bool {
	return o != nil && slices.EqualFunc(s.keys, o.keys, func(a, b usable) bool {
		k, ok := a.Public.(interface{ Equal(crypto.PublicKey) bool })
		return a.ID == b.ID && slices.Equal(a.algorithms, b.algorithms) && ok && k.Equal(b.Public)
	})
}
