// Package config holds the configuration of the program fairlead: its keys, their defaults, where their values come
// from, and what may not be.
//
// A value comes from the highest of four layers that sets it: defaults, the TOML file, the environment, the flags.
// [Load] reads all four, remembers for each key which one decided, and returns every mistake at once, each with the place
// where it was made, the key, what is wrong and what would be right.
//
// The environment variable of a key is FAIRLEAD_ and its path in capitals with _ between: FAIRLEAD_LIMITS_PING_INTERVAL.
// Inside [[verifier]] and [[authorizer]] the second part is the name of the entry or its index from 0
// (FAIRLEAD_VERIFIER_JWT_SECRET), inside [[route]] the index (FAIRLEAD_ROUTE_0_ORIGINS). Lists are separated by commas,
// tables are NAME=VALUE pairs separated by commas. An empty variable counts as not set. Variables with the prefix that
// name no key are ignored: Kubernetes makes FAIRLEAD_SERVICE_HOST and its like for a service called fairlead.
//
// A key K that holds a secret has a companion K_file: a file that is read at start, without its last line break. Of the
// two, the one from the higher layer counts; both in one layer are an error. Relative paths start at the working directory.
//
// What only the packages can judge (a path pattern, an origin, a key's strength) is left to their constructors; package
// main puts the key's place to their errors with [Loaded.At].
package config
