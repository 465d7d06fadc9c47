// Package client asks DenseReward servers for scores.
//
// A Client is safe for concurrent use and keeps its connections alive. It
// sends images and latents from the caller's memory, without a copy of its
// own. A request that met a full queue, a server that is not ready or that a
// proxy cannot reach, or a connection that broke is sent again, to another
// server if there is one, else after a growing pause, until the timeout of 5
// minutes: long enough for a server to be restarted. Scoring has no side effects,
// so a repeated request is never wrong. What no repetition betters ends at once:
// https to a server without TLS, a certificate that is not trusted, a path that is
// not there, a redirection. The Python client does the same.
//
// Submit has a request answered later, so that rewards overlap the next rollout.
//
// Failures of a whole request are *reward.Error in the error's chain; match
// them with errors.Is and errors.As. Failures of single samples are in the
// response's Errors and cost their neighbours nothing.
package client
