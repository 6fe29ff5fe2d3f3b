package bus

import (
	"slices"
	"strings"

	"github.com/fairlead-ws/fairlead/session"
)

// GroupCount says how many memberships a group has on this node.
type GroupCount struct {
	Group   session.Group
	Members int
}

// Groups returns the groups with members on this node whose names begin with prefix and come behind after, sorted by name
// and at most limit of them. It looks at every group, some at a time, and holds up nobody for long; the groups that come or
// go meanwhile are in the list or not. What it keeps is bounded by
// limit and a sixty-fourth of the groups.
func (b *NATS) Groups(prefix, after string, limit int) []GroupCount {
	return b.hub.groups(prefix, after, limit)
}

// Members returns how many memberships the group has on this node.
func (b *NATS) Members(g session.Group) int { return b.hub.members(g) }

// Groups is [NATS.Groups].
func (b *Local) Groups(prefix, after string, limit int) []GroupCount {
	return b.hub.groups(prefix, after, limit)
}

// Members is [NATS.Members].
func (b *Local) Members(g session.Group) int { return b.hub.members(g) }

func (h *hub) groups(prefix, after string, limit int) []GroupCount {
	var found []GroupCount
	for i := range h.table {
		found = h.table[i].appendGroups(found, prefix, after)
		slices.SortFunc(found, func(a, b GroupCount) int { return strings.Compare(a.Group.String(), b.Group.String()) })
		found = found[:min(len(found), max(limit, 0))]
	}
	return found
}

// appendGroups appends the stripe's groups that the caller of Groups asks for.
func (st *stripe) appendGroups(found []GroupCount, prefix, after string) []GroupCount {
	st.mu.Lock()
	defer st.mu.Unlock()
	for name, g := range st.groups {
		if s := name.String(); g.members > 0 && s > after && strings.HasPrefix(s, prefix) {
			found = append(found, GroupCount{name, g.members})
		}
	}
	return found
}

func (h *hub) members(name session.Group) int {
	st := h.stripe(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	if g := st.groups[name]; g != nil {
		return g.members
	}
	return 0
}
