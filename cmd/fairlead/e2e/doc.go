// Package e2e tests the program as its users meet it: real processes of fairlead, a NATS server of its own process, SQLite,
// PostgreSQL and MariaDB with the tables of a real Django, Django itself with examples/django, whose pages Chromium shows,
// plain sockets as clients, and what stands in the folder deploy: the image, the balancers in front of nodes, the whole of docker-compose.yml, the alerts, the unit.
//
// The tests have the build tag e2e, since they build two programs and take some minutes: `make e2e`. They need a Linux
// with /proc, and programs that .ci/run installs on Debian. As root they run the database as the user postgres or nobody.
package e2e
