// Package jsonwire is protocol version 1 as JSON, for callers without msgpack: the
// same keys, checks and errors.
//
// A request is translated to msgpack, which package wire then decodes, so that a
// rule of the protocol stands in one place. What JSON lacks is written like this:
// bytes as base64, an image file as base64 or a data URI, a tensor as
// {"dtype", "shape", "data"} with base64, or with nested arrays for small ones. In
// responses, numbers that are NaN are null, and what is one number a sample is an
// array.
package jsonwire
