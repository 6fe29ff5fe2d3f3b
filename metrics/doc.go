// Package metrics makes the registry that the whole program counts in, and the HTTP handler that shows it.
//
// The metrics themselves stand in the packages whose work they count, in a file metrics.go each. Those packages take a
// prometheus.Registerer in their Config, so that only cmd/fairlead imports this one.
package metrics
