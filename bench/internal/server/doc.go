// Package server builds, starts and stops the server under measurement, as a process of its own with a configuration file of
// its own, and reads its metrics. It knows the command line, the configuration keys and the exposition format: what any
// operator knows, and no Go package of the server.
package server
