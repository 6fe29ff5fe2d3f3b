package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Source is what [Load] reads, besides the defaults.
type Source struct {
	Base   *Config             // the defaults; nil is Default(). Load changes it
	File   string              // a TOML file; "" reads none
	Reader io.Reader           // has the text instead of the file, which is only called File; nil: it is read
	Getenv func(string) string // nil: no environment
	Flags  []Flag
}

// Flag is a value from the command line.
type Flag struct {
	Name  string // as the user wrote it, with its dashes
	Key   string // the path of a key that is in no list
	Value string
}

// Loaded is a configuration with the origins of its values. It is not changed after Load.
type Loaded struct {
	*Config
	file     string
	origins  map[string]Origin // of keys that a layer above the defaults set
	lines    map[string]int    // of the file's keys
	problems Errors
}

// Load reads the layers, each over the one below, and checks the result. The error is a [Errors] that has every mistake,
// or that of reading the file.
func Load(src Source) (*Loaded, error) {
	l := &Loaded{Config: src.Base, file: src.File, origins: map[string]Origin{}}
	if l.Config == nil {
		l.Config = Default()
	}
	if src.File != "" {
		if err := l.readFile(src.File, src.Reader); err != nil {
			return nil, err
		}
	}
	root := reflect.ValueOf(l.Config).Elem()
	if src.Getenv != nil {
		l.readEnv(src.Getenv, "FAIRLEAD", "", root)
	}
	for _, f := range src.Flags {
		if err := l.setFlag(root, f); err != nil {
			return nil, err
		}
	}
	l.readSecrets(root)
	l.validate()
	if err := l.problems.Err(); err != nil {
		return nil, err
	}
	return l, nil
}

// readFile reads the TOML file, or what r has instead of it, into l. Its error is about the file as a whole; mistakes in keys
// become problems.
func (l *Loaded) readFile(name string, r io.Reader) error {
	var b []byte
	var err error
	if r != nil {
		b, err = io.ReadAll(r)
	} else {
		b, err = os.ReadFile(name)
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no configuration file %s: write one from `fairlead config example`, or try `fairlead serve --dev`, which needs none", name)
	} else if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	var tree map[string]any
	if _, err := toml.Decode(string(b), &tree); err != nil {
		if e, ok := errors.AsType[toml.ParseError](err); ok {
			return Errors{{Where: Origin{LayerFile, name, e.Position.Line}.String(), Text: syntaxError(e), Err: err}}
		}
		return fmt.Errorf("configuration file %s: %w", name, err)
	}
	l.lines = keyLines(string(b))
	l.readTable("", tree, reflect.ValueOf(l.Config).Elem())
	return nil
}

// syntaxError says what the TOML parser found. It never quotes the line, which may hold a secret.
func syntaxError(e toml.ParseError) string {
	if e.LastKey == "" {
		return "this is no TOML: " + e.Message
	}
	return fmt.Sprintf("this is no TOML, at or behind the key %s: %s", e.LastKey, e.Message)
}

// readTable writes the keys of a table of the file into the struct v.
func (l *Loaded) readTable(path string, tree map[string]any, v reflect.Value) {
	table := fields(v)
	known := map[string]field{}
	for _, f := range table {
		known[f.name] = f
	}
	for _, name := range sortedKeys(tree) {
		key := join(path, name)
		f, ok := known[name]
		if !ok {
			l.unknownKey(key, name, names(table))
			continue
		}
		l.origins[key] = Origin{LayerFile, l.file, l.lines[key]}
		switch {
		case f.isTable():
			if sub, ok := tree[name].(map[string]any); ok {
				l.readTable(key, sub, f.value)
			} else {
				l.add(key, "is %s; want a table: write [%s] on a line of its own", describe(tree[name]), key)
			}
		case f.isTables():
			l.readTables(key, tree[name], f)
		default:
			if err := f.set(tree[name]); err != nil {
				l.add(key, "%w", err)
			}
		}
	}
}

func (l *Loaded) readTables(key string, raw any, f field) {
	var entries []map[string]any
	switch raw := raw.(type) {
	case []map[string]any:
		entries = raw
	case []any:
		for i, e := range raw {
			m, ok := e.(map[string]any)
			if !ok {
				l.add(key+index(i), "is %s; want a table", describe(e))
			}
			entries = append(entries, m)
		}
	default:
		l.add(key, "is %s; want a list of tables: write [[%s]] for each, with two brackets", describe(raw), key)
	}
	for i, tree := range entries {
		entry := f.newEntry()
		l.origins[key+index(i)] = Origin{LayerFile, l.file, l.lines[key+index(i)]}
		l.readTable(key+index(i), tree, entry)
		f.value.Set(reflect.Append(f.value, entry))
	}
}

// unknownKey notes a key that nothing reads, with the key that was probably meant: one of the same table, or one of
// another table.
func (l *Loaded) unknownKey(key, name string, siblings []string) {
	l.origins[key] = Origin{LayerFile, l.file, l.lines[key]}
	if n := nearest(name, siblings); n != "" {
		l.add(key, "there is no such key%s", didYouMean(n))
		return
	}
	for _, k := range allKeys() {
		if k[strings.LastIndexByte(k, '.')+1:] == name {
			l.add(key, "there is no such key here; did you mean %s?", k)
			return
		}
	}
	l.add(key, "there is no such key; there are %s", strings.Join(siblings, ", "))
}

// readEnv writes the environment's values into the struct v and reports whether there were any.
func (l *Loaded) readEnv(getenv func(string) string, prefix, path string, v reflect.Value) (found bool) {
	for _, f := range fields(v) {
		key, variable := join(path, f.name), prefix+"_"+envName(f.name)
		switch {
		case f.isTable():
			found = l.readEnv(getenv, variable, key, f.value) || found
		case f.isTables():
			found = l.readEnvTables(getenv, variable, key, f) || found
		default:
			text := getenv(variable)
			if text == "" {
				continue
			}
			found = true
			l.origins[key] = Origin{Layer: LayerEnv, Name: variable}
			if err := f.setText(text); err != nil {
				l.add(key, "%w", err)
			}
		}
	}
	return found
}

// readEnvTables reads the variables of each entry, by index and by name, and makes new entries as long as the variables
// of the next index are there.
func (l *Loaded) readEnvTables(getenv func(string) string, prefix, key string, f field) (found bool) {
	for i := range f.value.Len() {
		entry := f.value.Index(i)
		for _, id := range []string{strconv.Itoa(i), entryName(entry)} {
			if id != "" {
				found = l.readEnv(getenv, prefix+"_"+id, key+index(i), entry) || found
			}
		}
	}
	for i := f.value.Len(); ; i++ {
		entry := f.newEntry()
		if !l.readEnv(getenv, prefix+"_"+strconv.Itoa(i), key+index(i), entry) {
			return found
		}
		found = true
		f.value.Set(reflect.Append(f.value, entry))
	}
}

// entryName returns the name of an entry as it stands in variables, or "" where entries have no names.
func entryName(entry reflect.Value) string {
	if _, ok := entry.Interface().(interface{ envNamed() }); !ok {
		return ""
	}
	return envName(entry.FieldByName("Name").String())
}

func (Verifier) envNamed()   {}
func (Authorizer) envNamed() {}

func envName(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// setFlag writes a flag's value. The error is a mistake in the program: a key that there is not.
func (l *Loaded) setFlag(root reflect.Value, flag Flag) error {
	found := false
	walk(root, "", func(path string, _ []field, f field) {
		if path != flag.Key {
			return
		}
		found = true
		l.origins[path] = Origin{Layer: LayerFlag, Name: flag.Name}
		if err := f.setText(flag.Value); err != nil {
			l.add(path, "%w", err)
		}
	})
	if !found {
		return fmt.Errorf("config: flag %s: no key %q", flag.Name, flag.Key)
	}
	return nil
}

// readSecrets replaces each secret whose _file key counts by that file's content.
func (l *Loaded) readSecrets(root reflect.Value) {
	walk(root, "", func(path string, table []field, f field) {
		if f.file == "" {
			return
		}
		for _, file := range table {
			if file.name == f.file {
				l.readSecret(path, f, join(parent(path), file.name), file)
			}
		}
	})
}

func (l *Loaded) readSecret(key string, secret field, fileKey string, file field) {
	name := file.value.String()
	if name == "" {
		return
	}
	if secret.value.String() != "" {
		own, other := l.origins[key], l.origins[fileKey]
		switch {
		case own.Layer == other.Layer:
			l.add(fileKey, "%s is set as well; want one of them", secret.name)
			return
		case own.Layer > other.Layer:
			file.value.SetString("")
			delete(l.origins, fileKey)
			return
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		l.add(fileKey, "%w", err)
		return
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		l.add(fileKey, "the file %s is empty; want the value of %s in it", name, secret.name)
		return
	}
	secret.value.SetString(text)
	l.origins[key] = l.origins[fileKey]
}
