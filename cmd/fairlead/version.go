package main

import (
	"fmt"
	"runtime"

	"github.com/fairlead-ws/fairlead/metrics"
)

type versionCmd struct{}

// Run prints the version, the revision, the Go version and the platform in one line.
func (versionCmd) Run(c *console) error {
	b := metrics.ReadBuild()
	_, err := fmt.Fprintf(c.stdout, "fairlead %s (revision %s, %s, %s/%s)\n", b.Version, b.Revision, b.GoVersion, runtime.GOOS, runtime.GOARCH)
	return err
}
