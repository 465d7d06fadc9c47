package reward

import (
	"context"
	"errors"
	"fmt"
)

// Error is a failure as it travels: a code that never changes its meaning, the
// HTTP status that goes with it, and a message for people. Two Errors with the
// same code match under errors.Is.
type Error struct {
	code    string
	status  int
	message string
	cause   error
}

// The errors of protocol version 1. The list is append-only: codes are neither
// renamed nor reused. Their statuses are numbers, since net/http, which the leaf would
// bring to every room, has a name for all but one of them.
var (
	// ErrMalformedBody is returned when the body is not msgpack, is cut short,
	// claims more bytes or elements than it holds, repeats a key, or has bytes
	// left over.
	ErrMalformedBody = newError("malformed_body", 400, "the body is not a request of protocol version 1")
	// ErrUnknownField is returned when a map holds a key that the protocol does
	// not define.
	ErrUnknownField = newError("unknown_field", 400, "the request holds an unknown field")
	// ErrMissingField is returned when a field that the request needs is absent.
	ErrMissingField = newError("missing_field", 400, "a required field is absent")
	// ErrInvalidValue is returned when a field has the wrong type, shape, range or
	// name.
	ErrInvalidValue = newError("invalid_value", 400, "a field has an invalid value")
	// ErrUnsupportedDType is returned when a tensor's type is big-endian, not
	// numeric, or not one that its field takes.
	ErrUnsupportedDType = newError("unsupported_dtype", 400, "a tensor has an unsupported type")
	// ErrNotFinite is returned when a number of the request is NaN or infinite, or
	// an image or latent holds one (then for that sample alone).
	ErrNotFinite = newError("not_finite", 400, "a number is NaN or infinite")
	// ErrImageCountMismatch is returned when images, latents, metadata, group
	// names or members are not as many as the prompts.
	ErrImageCountMismatch = newError("image_count_mismatch", 400, "images and prompts differ in number")
	// ErrTooManyImages is returned for more samples than the server takes in one
	// request.
	ErrTooManyImages = newError("too_many_images", 413, "too many images in one request")
	// ErrBodyTooLarge is returned when the body is longer than the server's limit.
	ErrBodyTooLarge = newError("body_too_large", 413, "the body exceeds the server's limit")
	// ErrImageCorrupt is returned when an image file's bytes cannot be decoded.
	ErrImageCorrupt = newError("image_corrupt", 400, "the image cannot be decoded")
	// ErrImageUnsupported is returned when an image file is of a format that the
	// server does not read.
	ErrImageUnsupported = newError("image_unsupported", 415, "the image format is not supported")
	// ErrImageTooLarge is returned when an image's declared or decoded size
	// exceeds the limit.
	ErrImageTooLarge = newError("image_too_large", 413, "the image exceeds the server's limit")
	// ErrGridMismatch is returned when the maps of a group differ in size and its method
	// compares them location by location.
	ErrGridMismatch = newError("grid_mismatch", 400, "images of different sizes need an explicit grid")
	// ErrUnknownEvaluator is returned when the server has no evaluator of that
	// name.
	ErrUnknownEvaluator = newError("unknown_evaluator", 404, "no such evaluator")
	// ErrUnknownVAE is returned when the server has no latent decoder of that
	// name.
	ErrUnknownVAE = newError("unknown_vae", 404, "no such latent decoder")
	// ErrUnsupportedMode is returned when the evaluator does not answer in that
	// mode.
	ErrUnsupportedMode = newError("unsupported_mode", 400, "the evaluator does not answer in this mode")
	// ErrUnsupportedMediaType is returned when the request's Content-Type is not
	// that of the protocol.
	ErrUnsupportedMediaType = newError("unsupported_media_type", 415, "want Content-Type application/msgpack")
	// ErrNotFound is returned for a path that there is not.
	ErrNotFound = newError("not_found", 404, "no such path")
	// ErrMethodNotAllowed is returned when the path does not answer this HTTP
	// method.
	ErrMethodNotAllowed = newError("method_not_allowed", 405, "method not allowed")
	// ErrUnauthorized is returned when the request carries no valid token.
	ErrUnauthorized = newError("unauthorized", 401, "a valid bearer token is required")
	// ErrBodyTimeout is returned when the body did not arrive in time.
	ErrBodyTimeout = newError("body_timeout", 408, "the body did not arrive in time")
	// ErrOverloaded is returned when the queue is full; Retry-After says when to
	// come back.
	ErrOverloaded = newError("overloaded", 429, "the server is overloaded")
	// ErrNotReady is returned when the model is not loaded yet, or the server is
	// shutting down.
	ErrNotReady = newError("not_ready", 503, "the server is not ready")
	// ErrDeadlineExceeded is returned when the request's time ran out before its
	// answer.
	ErrDeadlineExceeded = newError("deadline_exceeded", 504, "the deadline passed")
	// ErrCanceled is returned when the client went away before its answer; nobody
	// reads it.
	ErrCanceled = newError("canceled", 499, "the client went away")
	// ErrEvaluatorFailed is returned when the evaluator could not score this
	// sample or batch.
	ErrEvaluatorFailed = newError("evaluator_failed", 500, "the evaluator failed")
	// ErrInternal is returned for a fault of the server; its log has the request
	// id.
	ErrInternal = newError("internal", 500, "internal error")
	// ErrGroupIncomplete is returned when a group that spans requests was not
	// complete at its deadline; the message lists the members that are missing.
	ErrGroupIncomplete = newError("group_incomplete", 504, "the group is incomplete")
	// ErrGroupConflict is returned when requests of one group disagree about its
	// size, its method or its grid, or a member came twice.
	ErrGroupConflict = newError("group_conflict", 409, "the group's requests disagree")
	// ErrTooManyGroups is returned when too many groups wait for members.
	ErrTooManyGroups = newError("too_many_groups", 429, "too many open groups")
	// ErrAnswerTruncated is returned when a model's answer reached its limit of
	// tokens without an end, so that its scores cannot be told.
	ErrAnswerTruncated = newError("answer_truncated", 500, "the answer has no end within its limit of tokens")
	// ErrPartMissing: the evaluator's answer lacks a score or a map, and the request
	// asked for an error then.
	ErrPartMissing = newError("part_missing", 500, "the answer lacks a score or a map")
	// ErrPixelRange: too many values of an image of floats lie outside [0,1].
	ErrPixelRange = newError("pixel_range", 400, "the image's values are not in [0,1]")
)

func newError(code string, status int, message string) *Error {
	return &Error{code: code, status: status, message: message}
}

// Errors lists every error of the protocol in the order of its definition.
func Errors() []*Error {
	return []*Error{
		ErrMalformedBody, ErrUnknownField, ErrMissingField, ErrInvalidValue,
		ErrUnsupportedDType, ErrNotFinite, ErrImageCountMismatch,
		ErrTooManyImages, ErrBodyTooLarge, ErrImageCorrupt, ErrImageUnsupported,
		ErrImageTooLarge, ErrGridMismatch, ErrUnknownEvaluator, ErrUnknownVAE,
		ErrUnsupportedMode, ErrUnsupportedMediaType, ErrNotFound,
		ErrMethodNotAllowed, ErrUnauthorized, ErrBodyTimeout, ErrOverloaded,
		ErrNotReady, ErrDeadlineExceeded, ErrCanceled, ErrEvaluatorFailed,
		ErrInternal, ErrGroupIncomplete, ErrGroupConflict, ErrTooManyGroups,
		ErrAnswerTruncated, ErrPartMissing, ErrPixelRange,
	}
}

// ErrorByCode is the Error that a code on the wire stands for. A code that
// this version does not know keeps its text and gets the given status.
func ErrorByCode(code string, status int, message string) *Error {
	for _, e := range Errors() {
		if e.code == code {
			return &Error{code: e.code, status: e.status, message: message}
		}
	}
	return &Error{code: code, status: status, message: message}
}

// Code is the stable name of the failure.
func (e *Error) Code() string { return e.code }

// Status is the HTTP status that goes with the code.
func (e *Error) Status() int { return e.status }

// Message is the text for people, without the code.
func (e *Error) Message() string { return e.message }

// Error is the code and the message.
func (e *Error) Error() string { return e.code + ": " + e.message }

// Is reports whether target is an Error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.code == e.code
}

// Unwrap is the error that Wrap kept, which never travels.
func (e *Error) Unwrap() error { return e.cause }

// With is e with another message.
func (e *Error) With(format string, args ...any) *Error {
	return &Error{code: e.code, status: e.status, message: fmt.Sprintf(format, args...)}
}

// Wrap is e, its message unchanged, with a cause for logs and errors.Is. The
// cause stays on this side of the wire: it may name files.
func (e *Error) Wrap(cause error) *Error {
	return &Error{code: e.code, status: e.status, message: e.message, cause: cause}
}

// AsError finds the Error in err's chain, or wraps err in fallback.
func AsError(err error, fallback *Error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return fallback.Wrap(err)
}

// ContextError is AsError that tells a deadline (ErrDeadlineExceeded) and a
// client that left (ErrCanceled) from other failures.
func ContextError(err error, fallback *Error) *Error {
	switch {
	case errors.As(err, new(*Error)):
	case errors.Is(err, context.DeadlineExceeded):
		return ErrDeadlineExceeded
	case errors.Is(err, context.Canceled):
		return ErrCanceled
	}
	return AsError(err, fallback)
}
