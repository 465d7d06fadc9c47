// Package server answers protocol version 1 over HTTP. Its handler decodes a
// request, checks it, has its pictures judged and encodes the answer.
//
// A Server is an http.Handler. It owns no listener and starts nothing by
// itself: the caller gives it evaluators, limits, a clock and a logger, and
// serves it where it likes.
//
// The body of a request is read into one buffer, whose growth follows what has
// arrived and never what was announced. Pictures sent as uint8 tensors are
// judged where they lie in that buffer; files are decoded when the scheduler
// of package batch has room for them. The buffer is used again when the last
// of its pictures was let go of, which may be later than the answer: an
// evaluator that outlives a deadline still reads.
package server
