package config

import (
	"crypto/rand"
	_ "embed" // for example.toml
	"strings"
)

//go:embed example.toml
var exampleText string

// Example returns a complete configuration with every key, commented. The secret in it is new each time, so that no
// secret of an example is ever shared.
func Example() string {
	return strings.Replace(exampleText, `"SECRET"`, `"`+rand.Text()+rand.Text()+`"`, 1)
}
