// Package server answers protocol version 1 over HTTP. Its handler decodes a
// request, checks it, has its pictures judged and encodes the answer.
//
// A Server is an http.Handler. It owns no listener and starts nothing by
// itself: the caller gives it evaluators, limits, a clock and a logger, and
// serves it where it likes.
//
// The body of a request is read into one buffer, whose growth follows what has
// arrived and never what was announced. Pictures sent as uint8 tensors are
// judged where they lie in that buffer; files are decoded by as many workers
// as there are cores. The buffer is used again once no evaluator can still
// hold a picture in it, which is known only when every sample was judged
// without an error; otherwise it is left to the garbage collector.
package server
