// Package application stands for the application whose people connect: it signs tokens, publishes its keys as a JWKS, and
// says who somebody is when it is asked over HTTP. It runs in the process of bench, so that its time is not the server's.
package application
