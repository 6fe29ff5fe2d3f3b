// Package fairlead is the root of the module and has no code. The program is in cmd/fairlead; a program in Go that wants
// its own handler embeds the packages gateway, actor, bus, authn and session/journal. docs/design.md tells how they fit together,
// and architecture_test.go beside this file holds who may import whom.
package fairlead
