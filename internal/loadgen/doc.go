// Package loadgen puts a measured load on a server and reports how it bore it.
//
// Run drives a Target, either in a closed loop (so many requests in flight, the
// next one when an answer is there) or in an open one (requests at given times,
// whatever the answers do). In an open loop a latency counts from the moment
// the request was due, so that a server that stalls cannot hide the requests
// it kept from being sent.
//
// Poster is the Target that speaks HTTP; Score makes one of protocol version 1.
package loadgen
