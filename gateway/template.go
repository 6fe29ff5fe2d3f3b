package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead-ws/fairlead/session"
)

// template makes the name of a group out of a path's parameters: "chat_{room}". It is fixed after parseTemplate.
type template []part

// part is a piece of text, or a parameter.
type part struct {
	text  string
	param int // an index among the path's params, or one of the below
}

const (
	plain         = -1 - iota // text
	groupCategory             // {group.category}
	groupID                   // {group.id}
)

// parseTemplate checks a template for paths with params.
func parseTemplate(s string, params []string) (template, error) {
	var t template
	for rest := s; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			i = len(rest)
		}
		if text := rest[:i]; text != "" {
			if _, err := session.ParseGroup(text); err != nil {
				return nil, err
			}
			t = append(t, part{text, plain})
		}
		if rest = rest[i:]; rest == "" {
			break
		}
		name, behind, ok := strings.Cut(rest[1:], "}")
		if rest[0] != '{' || !ok {
			return nil, errors.New("a parameter is written {name}, and here a brace stands alone")
		}
		p, err := findParam(name, params)
		if err != nil {
			return nil, err
		}
		t = append(t, part{name, p})
		rest = behind
	}
	if len(t) == 0 {
		return nil, errors.New("it is empty: write a group's name, or a parameter of the path such as {group}")
	}
	return t, nil
}

func findParam(name string, params []string) (int, error) {
	hasGroup := slices.Contains(params, "group")
	switch {
	case name == "group.category" && hasGroup:
		return groupCategory, nil
	case name == "group.id" && hasGroup:
		return groupID, nil
	}
	if i := slices.Index(params, name); i >= 0 {
		return i, nil
	}
	known := slices.Clone(params)
	if hasGroup {
		known = append(known, "group.category", "group.id")
	}
	if len(known) == 0 {
		return 0, fmt.Errorf("{%s} is no parameter of the path, which has none", name)
	}
	return 0, fmt.Errorf("{%s} is no parameter of the path: it has {%s}", name, strings.Join(known, "}, {"))
}

// expand returns the group that the template makes out of the parameters' values and the {group} of the path. The error is
// errNoCategory or errGroup.
func (t template) expand(values []string, group session.Group) (session.Group, error) {
	if len(t) == 1 && t[0].param >= 0 {
		return checkGroup(values[t[0].param])
	}
	var name strings.Builder
	for _, p := range t {
		switch p.param {
		case plain:
			name.WriteString(p.text)
		case groupCategory, groupID:
			category, id, ok := group.Split()
			if !ok {
				return session.Group{}, errNoCategory
			}
			if p.param == groupID {
				category = id
			}
			name.WriteString(category)
		default:
			name.WriteString(values[p.param])
		}
	}
	return checkGroup(name.String())
}

// checkGroup is [session.ParseGroup] for a text that a client sent, which that one's error would quote.
func checkGroup(name string) (session.Group, error) {
	g, err := session.ParseGroup(name)
	if err != nil {
		return session.Group{}, errGroup
	}
	return g, nil
}
