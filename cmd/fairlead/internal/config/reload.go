package config

import "reflect"

// Changes returns the keys whose values differ between the two configurations: those that a node takes up while it runs, and
// those that count when it is started the next time. A list of tables is one key. Only names are told, no values.
func Changes(from, to *Config) (reload, restart []string) {
	c := changes{}
	c.table("", reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem(), false)
	return c.reload, c.restart
}

// Reloadable returns the keys that a node takes up while it runs, in the order of the configuration. A list of tables is
// one key.
func Reloadable() []string {
	c := changes{all: true}
	v := reflect.ValueOf(Default()).Elem()
	c.table("", v, v, false)
	return c.reload
}

type changes struct {
	all             bool // those that are the same, too
	reload, restart []string
}

func (c *changes) table(path string, from, to reflect.Value, live bool) {
	for i, f := range fields(from) {
		key, live := join(path, f.name), live || from.Type().Field(i).Tag.Get("reload") != ""
		switch other := to.Field(i); {
		case f.isTable():
			c.table(key, f.value, other, live)
		case !c.all && reflect.DeepEqual(f.value.Interface(), other.Interface()):
		case live:
			c.reload = append(c.reload, key)
		default:
			c.restart = append(c.restart, key)
		}
	}
}
