package authn

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// requirement is a claim with the value that it must have: the text of a string, or a JSON literal.
type requirement struct {
	claim, value string
	isString     bool
	any          bool // it only has to be there
}

func requirements(want map[string]any) ([]requirement, error) {
	list := make([]requirement, 0, len(want))
	for _, claim := range slices.Sorted(maps.Keys(want)) {
		r := requirement{claim: claim}
		switch v := want[claim].(type) {
		case string:
			r.value, r.isString, r.any = v, true, v == AnyValue
		case bool:
			r.value = strconv.FormatBool(v)
		case int:
			r.value = strconv.Itoa(v)
		case int64:
			r.value = strconv.FormatInt(v, 10)
		default:
			return nil, fmt.Errorf("the required claim %q has a %T: want a string, a bool or an integer", claim, v)
		}
		list = append(list, r)
	}
	return list, nil
}

func (r *requirement) met(s *scratch) bool {
	raw, ok := s.claims.get(r.claim)
	if r.any {
		return ok && string(raw) != "null"
	}
	if !ok || !r.isString || raw[0] != '"' {
		return ok && !r.isString && string(raw) == r.value
	}
	b, ok := appendUnquoted(s.text[:0], raw)
	return ok && string(b) == r.value
}
