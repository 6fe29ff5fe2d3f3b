// Package channels runs the peer that authenticated handshakes are compared with: Django Channels on daphne or uvicorn, with
// the same database. The script run beside it installs them from Debian; gate.py is the site.
package channels
