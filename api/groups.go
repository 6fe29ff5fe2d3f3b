package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/fairlead-ws/fairlead/session"
)

// groupView is a group, as the API shows it.
type groupView struct {
	Group   session.Group `json:"group"`
	Members int           `json:"members"` // on all nodes that answered
}

type groupsQuestion struct {
	Prefix string `json:"prefix,omitempty"`
	After  string `json:"after,omitempty"`
	Limit  int    `json:"limit"`
}

type groupsAnswer struct {
	Groups []groupView `json:"groups"`
	More   bool        `json:"more"`
}

// groupList is the answer to the client.
type groupList struct {
	Groups  []groupView `json:"groups"`
	Next    string      `json:"next,omitempty"`
	Missing []absent    `json:"missing"`
}

// localGroups answers the question for this node.
func (b *Backend) localGroups(_ context.Context, q groupsQuestion) groupsAnswer {
	limit := min(max(q.Limit, 1), maxLimit)
	answer := groupsAnswer{Groups: []groupView{}}
	for _, g := range b.Groups.Groups(q.Prefix, q.After, limit+1) {
		answer.Groups = append(answer.Groups, groupView{g.Group, g.Members})
	}
	if len(answer.Groups) > limit {
		answer.Groups, answer.More = answer.Groups[:limit], true
	}
	return answer
}

// getGroups answers GET /api/v1/groups.
func (a *API) getGroups(_ http.ResponseWriter, r *http.Request) (any, error) {
	params, err := parameters(r, "prefix", "limit", "after")
	if err != nil {
		return nil, err
	}
	q := groupsQuestion{Prefix: params.Get("prefix"), After: params.Get("after")}
	if q.Limit, err = limitOf(params); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"prefix": q.Prefix, "after": q.After} {
		if value == "" {
			continue
		}
		if _, err := session.ParseGroup(value); err != nil {
			return nil, badRequest("group", name+": "+err.Error())
		}
	}
	parts, missing, err := askAll(r.Context(), a, opGroups, q, infallible(a.backend.localGroups))
	if err != nil {
		return nil, err
	}
	return mergeGroups(parts, missing, q.Limit), nil
}

// mergeGroups puts together what the nodes have, in the order of the names.
func mergeGroups(parts []groupsAnswer, missing []absent, limit int) groupList {
	members := make(map[session.Group]int)
	horizon := "" // behind it, a node with more to say may have what comes first, or more members
	for _, part := range parts {
		for _, g := range part.Groups {
			members[g.Group] += g.Members
		}
		if n := len(part.Groups); part.More && n > 0 {
			if last := part.Groups[n-1].Group.String(); horizon == "" || last < horizon {
				horizon = last
			}
		}
	}
	list := groupList{Groups: []groupView{}, Missing: missing}
	for g, n := range members {
		if horizon == "" || g.String() <= horizon {
			list.Groups = append(list.Groups, groupView{g, n})
		}
	}
	slices.SortFunc(list.Groups, func(x, y groupView) int { return strings.Compare(x.Group.String(), y.Group.String()) })
	more := horizon != ""
	if len(list.Groups) > limit {
		list.Groups, more = list.Groups[:limit], true
	}
	if more {
		list.Next = list.Groups[len(list.Groups)-1].Group.String()
	}
	return list
}

type groupQuestion struct {
	Group session.Group `json:"group"`
}

// groupAnswer is what one node has of a group.
type groupAnswer struct {
	Node    string        `json:"node"`
	Epoch   session.Epoch `json:"epoch"`
	Members int           `json:"members"`
}

// groupDetail is the answer to the client.
type groupDetail struct {
	Group   session.Group `json:"group"`
	Members int           `json:"members"`
	Nodes   []groupAnswer `json:"nodes"` // those with members
	Missing []absent      `json:"missing"`
}

// localGroup answers the question for this node.
func (b *Backend) localGroup(_ context.Context, q groupQuestion) groupAnswer {
	self := b.Self()
	return groupAnswer{self.Name, self.Epoch, b.Groups.Members(q.Group)}
}

// getGroup answers GET /api/v1/groups/{group}. A group without members is no error: it is there as soon as somebody joins.
func (a *API) getGroup(_ http.ResponseWriter, r *http.Request) (any, error) {
	if _, err := parameters(r); err != nil {
		return nil, err
	}
	g, err := session.ParseGroup(r.PathValue("group"))
	if err != nil {
		return nil, badRequest("group", err.Error())
	}
	parts, missing, err := askAll(r.Context(), a, opGroup, groupQuestion{g}, infallible(a.backend.localGroup))
	if err != nil {
		return nil, err
	}
	d := groupDetail{Group: g, Nodes: []groupAnswer{}, Missing: missing}
	for _, part := range parts {
		if part.Members > 0 {
			d.Members += part.Members
			d.Nodes = append(d.Nodes, part)
		}
	}
	slices.SortFunc(d.Nodes, func(x, y groupAnswer) int {
		return cmp.Or(strings.Compare(x.Node, y.Node), slices.Compare(x.Epoch[:], y.Epoch[:]))
	})
	return d, nil
}

// nodeList is the answer of GET /api/v1/nodes.
type nodeList struct {
	Nodes []node `json:"nodes"` // by name and epoch
}

// getNodes answers GET /api/v1/nodes: this node, and those that it has heard of lately.
func (a *API) getNodes(_ http.ResponseWriter, r *http.Request) (any, error) {
	if _, err := parameters(r); err != nil {
		return nil, err
	}
	list := nodeList{Nodes: []node{nodeOf(a.backend.Self(), true)}}
	for _, p := range a.backend.Cluster.List() {
		list.Nodes = append(list.Nodes, nodeOf(p, false))
	}
	slices.SortFunc(list.Nodes, func(x, y node) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), slices.Compare(x.Epoch[:], y.Epoch[:]))
	})
	return list, nil
}
