package config

import (
	"crypto/rand"
	_ "embed" // for example.toml
	"strings"
)

//go:embed example.toml
var exampleText string

// placeholder stands for a secret in the example's text.
const placeholder = `"SECRET"`

// Example returns a complete configuration with every key, commented. The secrets in it are new each time, so that no
// secret of an example is ever shared.
func Example() string {
	text := exampleText
	for strings.Contains(text, placeholder) {
		text = strings.Replace(text, placeholder, `"`+rand.Text()+rand.Text()+`"`, 1)
	}
	return text
}
