// Package e2e tests the program as its users meet it: real processes of fairlead, a NATS server of its own process, SQLite
// and PostgreSQL with the tables of a real Django, and plain sockets as clients.
//
// The tests have the build tag e2e, since they build two programs and take some minutes: `make e2e`. They need a Linux
// with /proc, and PostgreSQL's server programs in PATH or where Debian puts them; as root they run the database as the
// user postgres or nobody.
package e2e
