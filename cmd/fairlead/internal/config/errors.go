package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a configuration: where it was made, the key, and what is wrong with it and would be right.
type Error struct {
	Where string // "fairlead.toml:12", "environment variable FAIRLEAD_…", "flag --…"; "" for a default
	Key   string // its path, as in route[0].join; "" where the whole is meant
	Text  string // never holds a secret
	Err   error  // the cause, for errors.Is; nil where there is none
	line  int
}

// Error returns the problem in one line.
func (p Error) Error() string {
	s := p.Text
	if p.Key != "" {
		s = p.Key + ": " + s
	}
	if p.Where != "" {
		s = p.Where + ": " + s
	}
	return s
}

// Unwrap returns the cause.
func (p Error) Unwrap() error { return p.Err }

// Errors is all mistakes of a configuration, those of the file in the order of its lines.
type Errors []Error

// Error returns a line for each.
func (ps Errors) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems one by one.
func (ps Errors) Unwrap() []error {
	list := make([]error, len(ps))
	for i, p := range ps {
		list[i] = p
	}
	return list
}

// Err returns ps, sorted, or nil where there are none.
func (ps Errors) Err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.line, b.line), strings.Compare(a.Key, b.Key))
	})
	return ps
}

// Origin is where the value of a key comes from.
type Origin struct {
	Layer Layer
	Name  string // of the file, variable or flag
	Line  int    // in the file; 0 where it is not known
}

// Layer is a source of values. Of two, the greater one decides.
type Layer uint8

// The layers, from the lowest.
const (
	LayerDefault Layer = iota
	LayerFile
	LayerEnv
	LayerFlag
)

// String says where the value comes from: "default", "fairlead.toml:3", "environment variable X", "flag --x".
func (o Origin) String() string {
	switch o.Layer {
	case LayerFile:
		if o.Line == 0 {
			return o.Name
		}
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	case LayerEnv:
		return "environment variable " + o.Name
	case LayerFlag:
		return "flag " + o.Name
	default:
		return "default"
	}
}

// Origin returns where the value of the key comes from. A key inside a table that the file wrote as a whole, or an entry
// of a list, comes from where that does.
func (l *Loaded) Origin(key string) Origin { return l.origins[key] }

// place returns where to look for a mistake in key: its own origin, or that of the nearest table or list around it.
func (l *Loaded) place(key string) (where string, line int) {
	for k := key; k != ""; k = parent(k) {
		if o, ok := l.origins[k]; ok && o.Layer != LayerDefault {
			return o.String(), o.Line
		}
		if n, ok := l.lines[k]; ok {
			return Origin{LayerFile, l.file, n}.String(), n
		}
	}
	return l.file, 0
}

// parent cuts the last part or index off a key's path.
func parent(key string) string { return key[:max(0, strings.LastIndexAny(key, ".["))] }

// At returns err as a mistake in the key, with the place where it was made.
func (l *Loaded) At(key string, err error) Error {
	where, line := l.place(key)
	return Error{Where: where, Key: key, Text: err.Error(), Err: err, line: line}
}

// add notes a mistake in the key.
func (l *Loaded) add(key, format string, args ...any) {
	l.problems = append(l.problems, l.At(key, fmt.Errorf(format, args...)))
}
