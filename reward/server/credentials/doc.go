// Package credentials holds what a server knows its clients by and is known by:
// bearer tokens and a TLS certificate, each from files that it follows. After a
// file was spoilt, what it held before stays in force.
package credentials
