// Package server answers protocol version 1 over HTTP. Its handler decodes a
// request, checks it, has its images scored and encodes the answer.
//
// A Server is an http.Handler. It owns no listener and starts nothing by
// itself: the caller gives it evaluators, limits, a clock and a logger, and
// serves it where it likes.
//
// The body of a request is read into one buffer, whose growth follows what has
// arrived and never what was announced. Images sent as uint8 tensors are
// scored where they lie in that buffer; files are decoded when the scheduler
// of package batch has room for them. The buffer is used again when the last
// of its images was let go of, which may be later than the answer: an
// evaluator that outlives a deadline still reads.
//
// What a service needs beside the answers is here and in the folders below, in parts
// that do not know each other: package front (loopback unless told otherwise, a limit
// of connections, timeouts, TLS, drain, readiness), DataRate (slow clients), package
// credentials (tokens and certificates from files that are followed), package
// telemetry (metrics and spans) and DebugHandler. The example puts them together. A
// request passes, from the outside in: its id, the access log and metrics, its span,
// the containment of panics, security headers, the data rate of its body, its token.
package server
