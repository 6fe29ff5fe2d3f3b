// Command fairlead is a WebSocket connection manager for clusters: see `fairlead --help`.
package main

import (
	"context"
	"os"
)

func main() {
	err := run(context.Background(), os.Args, os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	os.Exit(report(os.Stderr, err))
}
