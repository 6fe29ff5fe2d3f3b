package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// field is one key of a table, as the struct's tags describe it.
type field struct {
	name  string // the last part of the key
	only  string // kinds that have it, separated by commas; "" all
	enum  string // values that there are, separated by commas; "" any
	file  string // of a secret: the key of the same table that names a file
	value reflect.Value
}

// fields returns the keys of the table that v, a struct, stands for, in order.
func fields(v reflect.Value) []field {
	list := make([]field, v.NumField())
	for i := range list {
		tag := v.Type().Field(i).Tag
		list[i] = field{tag.Get("toml"), tag.Get("only"), tag.Get("enum"), tag.Get("secret"), v.Field(i)}
	}
	return list
}

// fits reports whether the key belongs to an entry of that kind.
func (f field) fits(kind string) bool { return f.only == "" || contains(f.only, kind) }

func contains(list, s string) bool { return slices.Contains(strings.Split(list, ","), s) }

// entryKind returns the value of kind or from in the table, which decides which keys it has.
func entryKind(table []field) string {
	for _, f := range table {
		if f.name == "kind" || f.name == "from" {
			return f.value.String()
		}
	}
	return ""
}

func names(table []field) []string {
	list := make([]string, len(table))
	for i, f := range table {
		list[i] = f.name
	}
	return list
}

// isTable reports whether the field is a table of its own.
func (f field) isTable() bool { return f.value.Kind() == reflect.Struct }

// isTables reports whether the field is a list of tables.
func (f field) isTables() bool {
	return f.value.Kind() == reflect.Slice && f.value.Type().Elem().Kind() == reflect.Struct
}

// newEntry returns a new element for a list of tables, with its defaults.
func (f field) newEntry() reflect.Value {
	entry := reflect.New(f.value.Type().Elem())
	if d, ok := entry.Interface().(interface{ setDefaults() }); ok {
		d.setDefaults()
	}
	return entry.Elem()
}

// walk calls visit for every key of v that is no table, in order, with its path.
func walk(v reflect.Value, path string, visit func(path string, table []field, f field)) {
	table := fields(v)
	for _, f := range table {
		key := join(path, f.name)
		switch {
		case f.isTable():
			walk(f.value, key, visit)
		case f.isTables():
			for i := range f.value.Len() {
				walk(f.value.Index(i), key+index(i), visit)
			}
		default:
			visit(key, table, f)
		}
	}
}

// allKeys returns the path of every key without indices, for suggestions.
func allKeys() []string {
	sample := &Config{
		Verifiers:   make([]Verifier, 1),
		Authorizers: make([]Authorizer, 1),
		Routes:      []Route{{Credentials: make([]Credential, 1)}},
	}
	var keys []string
	walk(reflect.ValueOf(sample).Elem(), "", func(path string, _ []field, _ field) {
		keys = append(keys, strings.ReplaceAll(path, "[0]", ""))
	})
	return keys
}

// set writes a value as the TOML library decodes it. The error says what would be right.
func (f field) set(raw any) error {
	switch f.value.Interface().(type) {
	case time.Duration:
		s, ok := raw.(string)
		if !ok {
			return fmt.Errorf("is %s; want a duration in quotes, such as \"5s\" or \"1m30s\"", describe(raw))
		}
		return f.setText(s)
	case string:
		s, ok := raw.(string)
		if !ok {
			return fmt.Errorf("is %s; want a text in quotes%s", describe(raw), f.choices())
		}
		return f.setText(s)
	case int:
		n, ok := raw.(int64)
		if !ok {
			return fmt.Errorf("is %s; want a whole number", describe(raw))
		}
		f.value.SetInt(n)
	case bool:
		b, ok := raw.(bool)
		if !ok {
			return fmt.Errorf("is %s; want true or false", describe(raw))
		}
		f.value.SetBool(b)
	case []string:
		list, ok := raw.([]any)
		if !ok {
			return fmt.Errorf("is %s; want a list of texts, such as [\"a\", \"b\"]", describe(raw))
		}
		texts := make([]string, len(list))
		for i, e := range list {
			if texts[i], ok = e.(string); !ok {
				return fmt.Errorf("has %s as entry %d; want only texts in quotes", describe(e), i+1)
			}
		}
		f.value.Set(reflect.ValueOf(texts))
	case map[string]any:
		m, ok := raw.(map[string]any)
		if !ok {
			return fmt.Errorf("is %s; want a table, such as { name = \"value\" }", describe(raw))
		}
		f.value.Set(reflect.ValueOf(m))
	default:
		panic("config: no way to set a " + f.value.Type().String()) // a field of Config was given a new type
	}
	return nil
}

// setText writes a value as the environment and the flags give it.
func (f field) setText(s string) error {
	switch f.value.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("is %q; want a duration such as 500ms, 5s or 1m30s", s)
		}
		f.value.SetInt(int64(d))
	case string:
		if f.enum != "" && !contains(f.enum, s) {
			return fmt.Errorf("is %q; want%s%s", s, f.choices(), didYouMean(nearest(s, strings.Split(f.enum, ","))))
		}
		f.value.SetString(s)
	case int:
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("is %q; want a whole number", s)
		}
		f.value.SetInt(int64(n))
	case bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("is %q; want true or false", s)
		}
		f.value.SetBool(b)
	case []string:
		f.value.Set(reflect.ValueOf(splitList(s)))
	case map[string]any:
		m := map[string]any{}
		for _, pair := range splitList(s) {
			name, value, ok := strings.Cut(pair, "=")
			if name = strings.TrimSpace(name); !ok || name == "" {
				return fmt.Errorf("has %q; want NAME=VALUE pairs with commas between", pair)
			}
			m[name] = strings.TrimSpace(value)
		}
		f.value.Set(reflect.ValueOf(m))
	default:
		panic("config: no way to set a " + f.value.Type().String())
	}
	return nil
}

// choices returns the values that there are, for an error.
func (f field) choices() string {
	if f.enum == "" {
		return ""
	}
	return " " + oneOf(strings.Split(f.enum, ","))
}

// oneOf lists texts as in: "a", "b" or "c".
func oneOf(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = strconv.Quote(s)
	}
	if n := len(quoted); n > 1 {
		return strings.Join(quoted[:n-1], ", ") + " or " + quoted[n-1]
	}
	return strings.Join(quoted, "")
}

func didYouMean(s string) string {
	if s == "" {
		return ""
	}
	return "; did you mean " + strconv.Quote(s) + "?"
}

// describe names a value of the TOML library for an error, without showing texts, which may be secrets.
func describe(raw any) string {
	switch v := raw.(type) {
	case string:
		return "a text"
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return strconv.FormatBool(v)
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	case time.Time:
		return "a date"
	default:
		return fmt.Sprintf("a %T", raw)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
