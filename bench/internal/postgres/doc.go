// Package postgres runs a PostgreSQL server for as long as a measurement takes: an empty one, in a folder of its own, with
// pg_stat_statements. The programs are those that are installed.
package postgres
