// Package compat speaks the protocols of others, a file each: what their
// clients send becomes calls of package scoring, and what comes of them becomes
// the answer that they expect. It knows nothing of HTTP but methods and paths:
// package server routes, reads bodies and writes JSON.
//
// A protocol is a function that lists its endpoints, named in Endpoints.
package compat
