// Package client asks DenseReward servers for scores.
//
// A Client is safe for concurrent use and keeps its connections alive. It
// sends pictures and latents from the caller's memory without copying them
// first, and repeats a request that met a full queue, a server that is not
// ready, or a connection that broke, after a growing pause. Scoring has no
// side effects, so a repeated request is never wrong.
package client
