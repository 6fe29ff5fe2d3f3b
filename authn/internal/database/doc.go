// Package database asks the database that an application keeps its users in: SQLite, PostgreSQL, MySQL or MariaDB. It only
// reads. A [DB] is a pool, a [Query] one fixed question, a [Lookup] one by a text key, of which those that come together
// are asked together.
//
// It guarantees that a question ends in time, that a caller who gives up costs nobody else a connection, that a value that
// no column can hold is [ErrValue] and no fault, and that errors hold no password of a DSN.
package database
