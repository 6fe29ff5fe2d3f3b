// Package report holds what was measured: figures with their spread and, where one is set, the target they must meet, and
// writes them for people or as JSON.
package report
